import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from demo import service
from experiments.models import Experiment
from feedback.models import QualityMetric
from monitoring.models import Channel, Monitor

pytestmark = pytest.mark.django_db(transaction=True)
URL = "http://127.0.0.1:9999/alerts"


def set_up(url: str = URL) -> dict[str, Any]:
    said = StringIO()
    call_command("demo_setup", receiver=url, stdout=said)
    found: dict[str, Any] = json.loads(said.getvalue())
    return found


def test_setup_outside_the_demo_is_refused_and_changes_nothing(settings: Any) -> None:
    settings.IS_DEMO = False
    with pytest.raises(CommandError, match="not the demo"):
        set_up()
    assert not Experiment.objects.exists()


def test_setup_makes_the_three_variants_of_the_experiment_and_starts_it(settings: Any) -> None:
    settings.IS_DEMO = True
    found = set_up()
    experiment = Experiment.objects.get(key=service.EXPERIMENT)
    assert experiment.is_running
    variants = experiment.variants.values_list("key", "weight_bp", "is_control", "config__model")
    assert list(variants) == [
        ("gpt-4", 5000, True, "gpt-4"),
        ("claude-2", 3000, False, "claude-2"),
        ("llama2-70b", 2000, False, "llama2-70b"),
    ]
    assert set(service.MODELS) == {key for key, *_ in variants}
    assert found["began_at"] == experiment.started_at.isoformat()  # type: ignore[union-attr]


def test_setup_watches_helpfulness_by_variant_and_tells_the_receiver(settings: Any) -> None:
    settings.IS_DEMO = True
    found = set_up()
    monitor = Monitor.objects.get(pk=found["monitor_id"])
    monitor.clean()
    assert (monitor.metric, monitor.split_by, monitor.state) == ("helpfulness", ["variant"], "active")
    level = monitor.parameters["level"]
    good = min(model.helpfulness for model in service.MODELS.values())
    assert service.WORSE_HELPFULNESS < level < good
    assert [channel.url for channel in monitor.channels.all()] == [URL]


def test_setup_repeated_changes_the_address_only(settings: Any) -> None:
    settings.IS_DEMO = True
    first = set_up()
    Monitor.objects.update(severity="info")
    QualityMetric.objects.filter(key="helpfulness").update(description="mine")
    assert set_up("http://127.0.0.1:9998/alerts") == first
    assert Channel.objects.get().url == "http://127.0.0.1:9998/alerts"
    assert Monitor.objects.get().severity == "info"
    assert QualityMetric.objects.get(key="helpfulness").description == "mine"
