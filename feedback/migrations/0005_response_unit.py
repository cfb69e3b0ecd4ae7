from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # Responses go on coming in while the index is made.
    atomic = False

    dependencies = [("feedback", "0004_config_hash")]

    operations = [
        AddIndexConcurrently(
            model_name="response",
            index=models.Index(
                condition=models.Q(("unit", ""), _negated=True),
                fields=["unit", "occurred_at"],
                name="response_unit",
            ),
        ),
    ]
