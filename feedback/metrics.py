from collections.abc import Iterator

from django.utils import timezone
from prometheus_client import Counter
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from feedback.models import ApiKey, QualityMetric, RollupCursor
from triageops.observability.metrics import read_at_scrape

FACTS = Counter("triageops_facts_total", "Facts received, by what became of them.", ["kind", "outcome"])


@read_at_scrape
def state() -> Iterator[Metric]:
    cursor = RollupCursor.objects.filter(name="facts").first()
    age = (timezone.now() - cursor.updated_at).total_seconds() if cursor else float("nan")
    yield GaugeMetricFamily(
        "triageops_rollup_age_seconds", "Time since facts were last rolled up.", value=age
    )
    yield GaugeMetricFamily(
        "triageops_quality_metrics_discovered",
        "Metric names that nobody has classified yet.",
        value=QualityMetric.objects.discovered().count(),
    )
    yield GaugeMetricFamily(
        "triageops_api_keys_usable",
        "API keys that may be used.",
        value=ApiKey.objects.usable(timezone.now()).count(),
    )
