"""Messages are found by their group, their batch, and by what holds them back."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # An index that is built beside the writers cannot be built in a transaction.
    atomic = False

    dependencies = [("monitoring", "0008_suspicions")]

    operations = [
        AddIndexConcurrently(
            model_name="incident",
            index=models.Index(
                name="incident_unresolved", fields=["state"], condition=~models.Q(state="resolved")
            ),
        ),
        AddIndexConcurrently(
            model_name="incident",
            index=models.Index(name="incident_of_the_same", fields=["source", "slice_key", "-id"]),
        ),
        AddIndexConcurrently(
            model_name="outboxmessage",
            index=models.Index(name="message_group_flush", fields=["channel", "group_key", "-not_before"]),
        ),
        AddIndexConcurrently(
            model_name="outboxmessage",
            index=models.Index(
                name="message_ended",
                fields=["channel", "-delivered_at"],
                condition=models.Q(kind="resolve", status="delivered"),
            ),
        ),
        AddIndexConcurrently(
            model_name="outboxmessage",
            index=models.Index(
                name="message_batch", fields=["batch"], condition=models.Q(batch__isnull=False)
            ),
        ),
        AddIndexConcurrently(
            model_name="outboxmessage",
            index=models.Index(
                name="message_suppressed", fields=["channel"], condition=models.Q(status="suppressed")
            ),
        ),
    ]
