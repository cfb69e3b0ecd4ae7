"""Old evaluations are found by their time, to be removed."""

from django.contrib.postgres.indexes import BrinIndex
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations


class Migration(migrations.Migration):
    # An index that is built beside the writers cannot be built in a transaction.
    atomic = False

    dependencies = [("monitoring", "0004_monitors_that_learn")]

    operations = [
        AddIndexConcurrently(
            model_name="driftevaluation",
            index=BrinIndex(fields=["bucket_at"], name="evaluation_bucket_at"),
        )
    ]
