"""An epoch begins at a resume; who owns an experiment cannot be removed unseen. The tables stay as they are."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("experiments", "0007_second_person_and_shared_audit"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterField(
            model_name="allocationepoch",
            name="kind",
            field=models.CharField(
                choices=[
                    ("start", "start"),
                    ("sticky", "new weights for newcomers"),
                    ("minimal_move", "new weights, fewest moved"),
                    ("rerandomise", "dealt anew"),
                    ("revision", "new version of a variant"),
                    ("coverage", "new coverage"),
                    ("bandit", "new weights of the bandit"),
                    ("resume", "resumed after a halt"),
                ],
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="experiment",
            name="owner",
            field=models.ForeignKey(
                blank=True,
                help_text="Whom to ask.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AlterField(
            model_name="experiment",
            name="requires_review",
            field=models.BooleanField(
                default=False,
                help_text="Somebody other than the requester must approve the start, every change of variants, weights and coverage, forced units, and shipping.",
            ),
        ),
    ]
