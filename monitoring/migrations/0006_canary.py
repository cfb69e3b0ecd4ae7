"""What the self-check and the canary remember: one row each."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0005_evaluation_bucket_at")]

    operations = [
        migrations.CreateModel(
            name="SelfCheck",
            fields=[
                (
                    "name",
                    models.CharField(
                        default="self-check", editable=False, max_length=16, primary_key=True, serialize=False
                    ),
                ),
                ("watched_at", models.DateTimeField()),
                (
                    "steady_since",
                    models.DateTimeField(
                        help_text="Since then without a break: before that, the whole product was at rest, and no check was late."
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=Q(name="self-check"), name="self_check_one_row")
                ]
            },
        ),
        migrations.CreateModel(
            name="Canary",
            fields=[
                (
                    "name",
                    models.CharField(
                        default="canary", editable=False, max_length=16, primary_key=True, serialize=False
                    ),
                ),
                (
                    "recorded_at",
                    models.DateTimeField(help_text="Start of the last bucket that has values.", null=True),
                ),
                ("due_at", models.DateTimeField(help_text="When the next drift is to be planted.")),
                (
                    "planted_at",
                    models.DateTimeField(
                        help_text="Start of the first drifted bucket; empty: none is planted.", null=True
                    ),
                ),
                (
                    "found_at",
                    models.DateTimeField(
                        help_text="When the last planted drift had been delivered.", null=True
                    ),
                ),
                (
                    "seconds_to_detect",
                    models.FloatField(help_text="From the start of that drift to its delivery.", null=True),
                ),
            ],
            options={
                "verbose_name_plural": "canary",
                "constraints": [models.CheckConstraint(condition=Q(name="canary"), name="canary_one_row")],
            },
        ),
    ]
