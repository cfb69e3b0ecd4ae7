from typing import ClassVar

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

METRICS = (
    ("latency_seconds", "positive", "lower", "s", "Time from the request to the whole answer."),
    ("cost", "positive", "lower", "$", "What the answer cost."),
    ("input_tokens", "count", "none", "tokens", "Tokens of the prompt, cached ones included."),
    ("output_tokens", "count", "none", "tokens", "Tokens of the answer."),
    ("error", "rate", "lower", "", "Share of responses that failed."),
    ("cache_hit", "rate", "none", "", "Share of responses that came from the cache."),
)


def fill(apps: Apps, _editor: BaseDatabaseSchemaEditor) -> None:
    metric = apps.get_model("feedback", "QualityMetric")
    for key, kind, direction, unit, description in METRICS:
        metric.objects.create(key=key, kind=kind, direction=direction, unit=unit, description=description)


def empty(apps: Apps, _editor: BaseDatabaseSchemaEditor) -> None:
    keys = [metric[0] for metric in METRICS]
    apps.get_model("feedback", "QualityMetric").objects.filter(key__in=keys).delete()


class Migration(migrations.Migration):
    dependencies: ClassVar = [("feedback", "0001_initial")]

    operations: ClassVar = [
        migrations.RunPython(fill, empty),
        # Room in each page lets a counter be updated in place, without touching the index.
        migrations.RunSQL(
            "ALTER TABLE feedback_ledgerentry SET (fillfactor = 50)",
            "ALTER TABLE feedback_ledgerentry RESET (fillfactor)",
        ),
    ]
