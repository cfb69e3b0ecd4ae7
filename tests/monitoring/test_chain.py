"""The sealed log: any change of what was written breaks it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from monitoring import incidents
from monitoring.history import chain
from monitoring.history.chain import START, IncidentChanged, Sealed
from monitoring.models import EventKind, Incident, IncidentEvent, Resolution
from tests.monitoring.factories import make_incident, make_monitor

T0 = datetime(2026, 3, 1, 13, 0, tzinfo=UTC)


def sealed(incident: Incident) -> list[Sealed]:
    return [Sealed.of(one) for one in incident.events.order_by("seq")]


def lived() -> Incident:
    """Opened, commented, acknowledged and resolved."""
    incident = make_incident(make_monitor())
    chain.write(incident, EventKind.OPENED, 1, now=T0, details={"effect": {"low": 0.1 + 0.2, "n": 1e22}})
    person = User.objects.create_user("eve")
    incidents.comment(incident.pk, "„schau“ \u0000 naïve 🙂", by=person, now=T0)
    incidents.acknowledge(incident.pk, by=person, now=T0 + timedelta(seconds=1))
    incidents.resolve(incident.pk, Resolution.FIXED, actor="PagerDuty: Eve", now=T0 + timedelta(seconds=2))
    return Incident.objects.get(pk=incident.pk)


@pytest.mark.django_db
def test_chain_of_an_incident_is_intact_after_a_round_through_the_database() -> None:
    incident = lived()
    found = chain.verify(sealed(incident))
    assert (found.is_intact, found.event_count, found.broken_at) == (True, incident.version, None)
    assert found.head == incident.events.get(seq=incident.version).hash != START


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        {"details": {"note": "something else"}},
        {"at": T0 + timedelta(microseconds=1)},
        {"kind": "resolved"},
        {"by": 77},
        {"actor": "mallory"},
        {"incident": "00000000-0000-0000-0000-000000000000"},
    ],
)
def test_chain_with_a_changed_event_is_broken_there(change: dict[str, Any]) -> None:
    events = sealed(lived())
    events[1] = replace(events[1], **change)
    found = chain.verify(events)
    assert (found.is_intact, found.broken_at) == (False, 2)


@pytest.mark.django_db
@pytest.mark.parametrize("place", [0, 1, 2])
def test_chain_without_an_event_is_broken(place: int) -> None:
    events = sealed(lived())
    del events[place]
    found = chain.verify(events)
    assert (found.is_intact, found.reason) == (False, f"event {place + 1} is missing")


@pytest.mark.django_db
def test_chain_seals_events_that_are_older_than_it() -> None:
    incident = make_incident(make_monitor())
    IncidentEvent.objects.create(incident=incident, seq=1, kind=EventKind.OPENED, at=T0, details={"a": 1})
    incidents.comment(incident.pk, "later", now=T0)
    events = sealed(incident)
    assert (events[0].hash, bool(events[1].hash)) == ("", True)
    assert chain.verify(events).is_intact
    events[0] = replace(events[0], details={"a": 2})
    assert chain.verify(events).broken_at == 2


@pytest.mark.django_db
def test_event_of_an_incident_that_was_changed_meanwhile_is_refused() -> None:
    incident = make_incident(make_monitor())
    other = Incident.objects.get(pk=incident.pk)
    chain.append(other, EventKind.COMMENTED, now=T0)
    with pytest.raises(IncidentChanged):
        chain.append(incident, EventKind.COMMENTED, now=T0)


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=5),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(_json)
def test_canonical_text_survives_json(value: Any) -> None:
    assert chain.canonical(json.loads(json.dumps(value))) == chain.canonical(value)


@pytest.mark.django_db
@pytest.mark.parametrize("number", [1.0, 1e22, 1e300, 1e-7, 0.1 + 0.2, -0.0, 2**53, 2**53 + 1, 5e-324])
def test_canonical_text_survives_postgres(number: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb::text", [json.dumps({"x": number})])
        (text,) = cursor.fetchone()
    assert chain.canonical(json.loads(text)) == chain.canonical({"x": number})
