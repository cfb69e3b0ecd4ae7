import django.contrib.postgres.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("feedback", "0007_embeddings")]

    operations = [
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
                        ("monitors:write", "define and run monitors, set markers, change the budget"),
                    ],
                    max_length=32,
                ),
                help_text="What the key may do.",
                size=None,
            ),
        ),
    ]
