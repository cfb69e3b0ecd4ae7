from django.db import migrations, models

import feedback.models


class Migration(migrations.Migration):
    dependencies = [
        ("feedback", "0005_response_unit"),
    ]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
        migrations.AddField(
            model_name="qualitymetric",
            name="good_from",
            field=models.FloatField(
                blank=True,
                help_text="Values from here on (or up to here, where lower is better) count as good; empty: 0.5 for rates,"
                " the middle of the bounds for bounded scores.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="rollupcursor",
            name="again_until",
            field=models.DateTimeField(
                help_text="What lies before this is counted anew, and was seen already.", null=True
            ),
        ),
        migrations.AlterField(
            model_name="rollupcursor",
            name="closed_until",
            field=models.DateTimeField(
                help_text="Facts: no rollup gets a visible_at before this any more."
                " Agreement: all buckets before this are in."
            ),
        ),
        migrations.AlterField(
            model_name="rollupcursor",
            name="tx",
            field=feedback.models.TransactionIdField(
                help_text="Facts: all of transactions before this one are in."
            ),
        ),
        # Longer text needs no rewriting of rows or indexes.
        migrations.AlterField(
            model_name="rollup",
            name="metric",
            field=models.CharField(
                help_text="Key of a quality metric, or agreement:<key> (feedback/agreement.py).",
                max_length=80,
            ),
        ),
    ]
