"""How useful alerts were: counts, precision with its interval, and what is suggested."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from feedback.models import Scope
from monitoring.models import Channel, Incident, MessageKind, MessageStatus, Monitor, OutboxMessage
from monitoring.reading import usefulness
from monitoring.reading.noise import MARGIN, ROUTE, Judgements
from tests.monitoring.callers import client_with, get
from tests.monitoring.factories import make_channel, make_monitor

pytestmark = pytest.mark.django_db


def judged(
    monitor: Monitor | None, word: str, *, size: float = 0.1, at: datetime | None = None, **changes: Any
) -> Incident:
    """One that is over, and what was said of it."""
    now = at or timezone.now() - timedelta(days=1)
    values: dict[str, Any] = {
        "monitor": monitor,
        "slice_key": "all",
        "title": "fell",
        "severity": "warning",
        "state": "resolved",
        "resolution": "recovered",
        "onset_at": now,
        "opened_at": now,
        "resolved_at": now,
        "effect": {"difference": -size},
        "usefulness": word,
    }
    return Incident.objects.create(**values | changes)


def told(incident: Incident, channel: Channel, status: str = MessageStatus.DELIVERED) -> OutboxMessage:
    at = incident.opened_at
    return OutboxMessage.objects.create(
        incident=incident, channel=channel, seq=1, kind=MessageKind.TRIGGER, payload={}, dedup_key="x", status=status,
        not_before=at, created_at=at, expires_at=at, delivered_at=at if status == MessageStatus.DELIVERED else None,
    )  # fmt: skip


def test_precision_leaves_out_what_was_expected() -> None:
    found = Judgements(useful=3, noise=1, expected=6)
    assert found.judged == 10
    assert found.precision == 0.75
    # Reference: scipy, the Wilson interval of binomtest for 3 of 4.
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((0.3006418, 0.9544127), abs=1e-6)


@pytest.mark.parametrize(
    ("useful", "noise", "is_noisy"),
    [(0, 4, False), (0, 5, True), (5, 5, False), (3, 7, True), (7, 3, False), (20, 20, True)],
)
def test_noise_counts_only_where_chance_does_not_explain_it(useful: int, noise: int, is_noisy: bool) -> None:
    assert Judgements(useful, noise).is_noisy is is_noisy


def test_noisy_monitor_with_a_margin_is_to_have_a_larger_one() -> None:
    monitor = make_monitor()
    for size in (0.01, 0.02, 0.02, 0.03, 0.03, 0.2):
        judged(monitor, "noise", size=size)
    judged(monitor, "useful", size=0.1)
    found = usefulness.of_monitor(monitor, timezone.now())
    assert found.judgements == Judgements(useful=1, noise=6)
    assert found.suggestion is not None
    assert found.suggestion.action == MARGIN
    assert "6 of 7" in found.suggestion.text
    assert "5 of the 6" in found.suggestion.cost
    assert "0.1" in found.suggestion.cost


def test_noisy_rule_is_to_be_routed_elsewhere() -> None:
    monitor = make_monitor(kind="never", parameters={"above": 0.0}, started_at=None)
    for _ in range(6):
        judged(monitor, "noise")
    found = usefulness.of_monitor(monitor, timezone.now())
    assert found.suggestion is not None
    assert found.suggestion.action == ROUTE


def test_old_planted_and_suspected_incidents_do_not_count() -> None:
    monitor, now = make_monitor(), timezone.now()
    judged(monitor, "noise", at=now - timedelta(days=91))
    judged(monitor, "noise", resolution="faded")
    canary = make_monitor(name="canary", metric="triageops_canary", started_at=None)
    judged(canary, "noise")
    assert usefulness.of_monitor(monitor, now).incident_count == 0
    assert usefulness.read(now).total == Judgements()


def test_channel_is_judged_by_what_was_delivered_to_it() -> None:
    channel, other, monitor = make_channel("team"), make_channel("other"), make_monitor()
    for _ in range(6):
        told(judged(monitor, "noise"), channel)
    told(judged(monitor, "useful", severity="critical"), channel)
    told(judged(monitor, "useful"), other, MessageStatus.DEAD)
    found = usefulness.read(timezone.now())
    assert [one.name for one in found.channels] == ["team"]
    assert found.channels[0].judgements == Judgements(useful=1, noise=6)
    assert found.channels[0].suggestion is not None
    assert "send its warnings to a digest" in found.channels[0].suggestion.text
    assert found.total == Judgements(useful=2, noise=6)
    assert usefulness.of_channel(other, timezone.now()).incident_count == 0


def test_inbox_is_counted_and_nothing_is_suggested_for_it() -> None:
    inbox, monitor = make_channel("inbox", kind="inbox", url=""), make_monitor()
    sink = make_channel("receipt", kind="sink", url="")
    for _ in range(6):
        incident = judged(monitor, "noise")
        told(incident, inbox)
        told(incident, sink)
    found = usefulness.read(timezone.now()).channels
    assert [(one.name, one.judgements.noise, one.suggestion) for one in found] == [("inbox", 6, None)]


def test_usefulness_page_shows_precision_and_suggestion(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    monitor = make_monitor()
    for _ in range(6):
        told(
            judged(monitor, "noise"),
            make_channel() if not Channel.objects.exists() else Channel.objects.get(),
        )
    address = reverse("admin:monitoring_usefulness")
    admin_client.get(address)
    with django_assert_max_num_queries(10):
        shown = admin_client.get(address).content.decode()
    assert "0 of 6 judged incidents were useful" in shown
    assert "Raise the margin of this monitor" in shown


def test_usefulness_over_rest_needs_its_scope_and_gives_intervals() -> None:
    judged(make_monitor(), "useful")
    found = get(client_with(Scope.INCIDENTS_READ), "usefulness")
    assert found["total"]["precision"] == 1.0
    assert found["monitors"][0]["judgements"]["interval"]["low"] == pytest.approx(0.2065, abs=1e-3)
    get(client_with(Scope.ROUTING_READ), "usefulness", 403)
