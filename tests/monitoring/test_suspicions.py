"""Evidence that is not enough is seen on pages and told to nobody."""

import pytest

from monitoring import checks, lifecycle
from monitoring.models import EventKind, Incident, IncidentState, OutboxMessage, Resolution
from tests.monitoring.factories import add_bucket, close, make_channel, make_monitor, now_after

pytestmark = pytest.mark.django_db


def run(last: int) -> int:
    close(last)
    return checks.run_due(now_after(last))


def kinds(incident: Incident) -> list[str]:
    return list(incident.events.order_by("seq").values_list("kind", flat=True))


def until_suspected() -> tuple[Incident, int]:
    """A mean a little too low, bucket by bucket, until it is a suspicion; the number of that bucket."""
    for number in range(60):
        add_bucket(number, 0.735, n=40)
        run(number)
        found = Incident.objects.first()
        if found is not None:
            return found, number
    raise AssertionError("never suspected")


def test_suspicion_is_seen_and_told_to_nobody_until_it_is_an_incident() -> None:
    make_monitor(channels=(make_channel(),))
    incident, number = until_suspected()
    assert (incident.state, kinds(incident)) == (IncidentState.SUSPECT, [EventKind.SUSPECTED])
    assert "may have changed" in incident.title
    assert not incident.is_open
    assert not Incident.objects.open().exists()
    assert not OutboxMessage.objects.exists()
    for later in range(number + 1, number + 30):
        add_bucket(later, 0.6)
        run(later)
        incident.refresh_from_db()
        if incident.is_open:
            break
    assert (incident.state, kinds(incident)) == (IncidentState.FIRING, ["suspected", "opened"])
    assert incident.evidence["label"]
    assert incident.title == "helpfulness is below 0.8"
    assert incident.opened_at == now_after(later)
    message = OutboxMessage.objects.get()
    assert (message.seq, message.payload["state"]) == (2, "firing")


def test_suspicion_that_passes_fades_and_nobody_hears_of_it() -> None:
    make_monitor(channels=(make_channel(),))
    incident, number = until_suspected()
    for later in range(number + 1, number + 60):
        add_bucket(later, 0.95)
        run(later)
        incident.refresh_from_db()
        if incident.state == IncidentState.RESOLVED:
            break
    assert incident.resolution == Resolution.FADED
    assert not Incident.objects.told().exists()
    assert not OutboxMessage.objects.exists()


def test_suspicion_ends_with_the_question_that_raised_it() -> None:
    monitor = make_monitor(channels=(make_channel(),))
    incident, number = until_suspected()
    assert lifecycle.ask_anew(monitor, now=now_after(number)) == 0
    incident.refresh_from_db()
    assert incident.resolution == Resolution.FADED
    assert not OutboxMessage.objects.exists()
