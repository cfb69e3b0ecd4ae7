import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("feedback", "0003_append_only"),
    ]

    operations = [
        migrations.RunSQL("SET LOCAL lock_timeout = '5s'", migrations.RunSQL.noop),
        migrations.AddField(
            model_name="response",
            name="config_hash",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Of the variant's config that made it, as the assignment gave it.",
                max_length=64,
            ),
        ),
        migrations.AlterField(
            model_name="apikey",
            name="scopes",
            field=django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(
                    choices=[
                        ("responses:write", "record responses"),
                        ("responses:read", "read responses"),
                        ("quality:write", "record quality"),
                        ("quality:read", "read quality"),
                        ("feedback:write", "post feedback and issue feedback tokens"),
                        ("feedback:read", "read feedback"),
                        ("ledger:read", "read the ledger of its own"),
                        ("experiments:assign", "assign units to variants"),
                        ("experiments:read", "read experiments"),
                        ("experiments:write", "define and run experiments"),
                        ("sdk:read", "read the payload of GrowthBook's SDKs, and nothing else"),
                        ("incidents:read", "read monitors and incidents"),
                    ],
                    max_length=32,
                ),
                help_text="What the key may do.",
                size=None,
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("scopes__contains", ["sdk:read"]), _negated=True),
                    ("scopes__contained_by", ["sdk:read"]),
                    _connector="OR",
                ),
                name="api_key_of_sdk_reads_nothing_else",
            ),
        ),
    ]
