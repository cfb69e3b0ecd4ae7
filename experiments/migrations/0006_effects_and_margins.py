"""Effects and margins that nothing can be planned with are refused where they are defined; the tables stay as they are."""

import django.core.validators
from django.db import migrations, models

import experiments.definition


class Migration(migrations.Migration):
    dependencies = [("experiments", "0005_epochs_and_guards")]

    operations = [
        migrations.AlterField(
            model_name="experiment",
            name="minimum_effect",
            field=models.FloatField(
                blank=True,
                help_text="Of the primary metric, in its own unit; what would be worth acting on.",
                null=True,
                validators=[experiments.definition.validate_effect],
                verbose_name="smallest effect of interest",
            ),
        ),
        migrations.AlterField(
            model_name="experimentmetric",
            name="margin",
            field=models.FloatField(
                default=0.0,
                help_text="How much worse does not matter, in the metric's own unit: of a guardrail and of “not inferior”.",
                validators=[
                    django.core.validators.MinValueValidator(0),
                    experiments.definition.validate_margin,
                ],
            ),
        ),
    ]
