"""Silences with Alertmanager's meaning: made, changed, ended, made again."""

from datetime import timedelta
from typing import Any

import pytest

from feedback.models import Scope
from monitoring.labels import INCIDENT, labels_of, matched_labels_of, public_labels_of
from monitoring.models import Flag, MessageKind, MessageStatus, Severity, Silence
from monitoring.quiet import silences, suppression
from monitoring.routing.matchers import InvalidMatcher, Matcher, Operator, parse
from tests.monitoring.callers import client_with, get, patch, post
from tests.monitoring.factories import make_channel, make_monitor
from tests.monitoring.silencing import HOUR, NOW, flags_of, opened, over, silenced, told

pytestmark = pytest.mark.django_db

SUPPRESSED = [(MessageKind.TRIGGER, MessageStatus.SUPPRESSED)]
PENDING = [(MessageKind.TRIGGER, MessageStatus.PENDING)]


def change(
    silence: Silence, *, now: Any = NOW, text: str = 'monitor="helpfulness floor"', **changes: Any
) -> Silence:
    values: dict[str, Any] = {
        "starts_at": silence.starts_at,
        "ends_at": silence.ends_at,
        "comment": silence.comment,
        "created_by": "bo",
    }
    return silences.change(silence.pk, parse(text), now=now, **values | changes)


def test_making_a_silence_applies_to_open_incidents_at_once(django_capture_on_commit_callbacks: Any) -> None:
    incident = opened(make_monitor(channels=(make_channel(),)))
    with django_capture_on_commit_callbacks(execute=True):
        silence = silenced()
    assert told(incident) == SUPPRESSED
    with django_capture_on_commit_callbacks(execute=True):
        silences.end(silence.pk, by="bo", now=NOW + HOUR)
    assert told(incident) == PENDING


def test_start_in_the_past_is_now() -> None:
    assert silenced(starts_at=NOW - HOUR).starts_at == NOW


@pytest.mark.parametrize(
    ("text", "changes", "field"),
    [
        ("", {}, "matchers"),
        ('a=""', {}, "matchers"),
        ('a=~".*"', {}, "matchers"),
        ('a!="x"', {}, "matchers"),
        ('severity=~".+"', {}, "matchers"),
        ('severity=~"critical|error|warning|info"', {}, "matchers"),
        ('alertname=~"..*", a=~".*"', {}, "matchers"),
        ('severity!=""', {}, "matchers"),
        ('a="x"', {"ends_at": NOW}, "ends_at"),
        ('a="x"', {"starts_at": NOW + HOUR, "ends_at": NOW + HOUR}, "ends_at"),
        ('a="x"', {"ends_at": NOW + timedelta(days=400)}, "ends_at"),
        ('a="x"', {"comment": "x" * 1_001}, "comment"),
        ('a="x"', {"comment": "nul\0"}, "comment"),
        ('a="x"', {"created_by": "\ud800"}, "created_by"),
    ],
)
def test_silence_that_cannot_be_meant_is_refused_by_field(
    text: str, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(silences.InvalidSilence) as caught:
        silenced(text, **changes)
    assert caught.value.field == field
    assert not Silence.objects.exists()


def test_one_matcher_that_says_something_is_enough() -> None:
    silenced('a="x", b!="y", c=~".*"')
    assert Silence.objects.count() == 1


def test_pattern_that_would_burn_time_is_refused() -> None:
    with pytest.raises(InvalidMatcher):
        parse('a=~"(a+)+$"')


def test_too_many_silences_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silences, "MOST", 1)
    silenced()
    with pytest.raises(silences.InvalidSilence):
        silenced()


def test_other_end_or_comment_keeps_the_silence() -> None:
    silence = silenced()
    changed = change(silence, ends_at=NOW + 9 * HOUR, comment="longer", now=NOW + HOUR)
    assert (changed.pk, changed.ends_at, changed.comment) == (silence.pk, NOW + 9 * HOUR, "longer")


def test_other_matchers_end_it_and_make_a_new_one() -> None:
    silence = silenced()
    changed = change(silence, text='monitor="other"', now=NOW + HOUR)
    silence.refresh_from_db()
    assert changed.pk != silence.pk
    assert (silence.ends_at, silence.ended_by) == (NOW + HOUR, "bo")
    assert (changed.starts_at, changed.ends_at) == (NOW + HOUR, NOW + 2 * HOUR)


def test_pending_silence_may_begin_at_another_time() -> None:
    silence = silenced(starts_at=NOW + HOUR)
    changed = change(silence, starts_at=NOW + HOUR / 2)
    assert (changed.pk, changed.starts_at) == (silence.pk, NOW + HOUR / 2)


def test_ended_silence_that_is_changed_becomes_a_new_one() -> None:
    silence = silenced()
    later = NOW + 5 * HOUR
    changed = change(silence, ends_at=later + HOUR, now=later)
    assert changed.pk != silence.pk
    silence.refresh_from_db()
    assert (silence.ends_at, silence.ended_by) == (NOW + 2 * HOUR, "")


def test_refused_change_leaves_the_silence_as_it_was() -> None:
    silence = silenced()
    with pytest.raises(silences.InvalidSilence):
        change(silence, text='a!="x"')
    silence.refresh_from_db()
    assert silence.ends_at == NOW + 2 * HOUR


def test_ended_twice_is_said_and_a_pending_one_never_begins() -> None:
    silence = silenced(starts_at=NOW + HOUR)
    ended = silences.end(silence.pk, by="bo", now=NOW)
    assert (ended.starts_at, ended.ends_at) == (NOW, NOW)
    with pytest.raises(silences.SilenceOver):
        silences.end(silence.pk, by="bo", now=NOW)


def test_ended_silence_is_made_again() -> None:
    silence = silenced()
    silences.end(silence.pk, by="bo", now=NOW + HOUR)
    new = silences.again(silence.pk, length=2 * HOUR, created_by="cy", now=NOW + HOUR)
    assert new.matchers == silence.matchers
    assert (new.starts_at, new.ends_at, new.created_by) == (NOW + HOUR, NOW + 3 * HOUR, "cy")


def test_silence_of_one_incident_matches_it_and_not_its_neighbour() -> None:
    monitor = make_monitor(channels=(make_channel(),))
    incident = opened(monitor, key="variant=a", labels={"variant": "a"})
    neighbour = opened(monitor, key="variant=b", labels={"variant": "b"})
    silences.make(
        silences.exactly(incident), starts_at=NOW, ends_at=NOW + HOUR, comment="c", created_by="ada", now=NOW
    )
    suppression.tend(NOW)
    assert (told(incident), told(neighbour)) == (SUPPRESSED, PENDING)


def test_silence_of_one_incident_leaves_others_with_its_labels_alone() -> None:
    monitor = make_monitor(channels=(make_channel(),))
    incident = opened(monitor)
    silences.make(
        silences.exactly(incident), starts_at=NOW, ends_at=NOW + HOUR, comment="c", created_by="ada", now=NOW
    )
    slice_of_it = opened(monitor, key="variant=a", labels={"variant": "a"})
    over(incident, now=NOW)
    later = opened(monitor, severity=Severity.CRITICAL)
    suppression.tend(NOW)
    assert (told(slice_of_it), told(later)) == (PENDING, PENDING)


def test_silence_of_one_incident_holds_when_its_labels_change() -> None:
    monitor = make_monitor(channels=(make_channel(),))
    incident = opened(monitor)
    silences.make(
        silences.exactly(incident), starts_at=NOW, ends_at=NOW + HOUR, comment="c", created_by="ada", now=NOW
    )
    monitor.name = "renamed"
    monitor.save()
    suppression.tend(NOW)
    assert flags_of(incident) == {Flag.SILENCED}


def test_incident_that_is_over_is_not_silenced() -> None:
    incident = opened(make_monitor())
    silence = silences.make(
        silences.exactly(incident), starts_at=NOW, ends_at=NOW + HOUR, comment="c", created_by="ada", now=NOW
    )
    over(incident, now=NOW)
    incident.refresh_from_db()
    with pytest.raises(silences.IncidentOver):
        silences.exactly(incident)
    with pytest.raises(silences.IncidentOver):
        silences.again(silence.pk, length=HOUR, created_by="ada", now=NOW + HOUR)


def test_label_of_one_incident_leaves_the_product_nowhere() -> None:
    incident = opened(make_monitor())
    assert INCIDENT not in {**labels_of(incident), **public_labels_of(incident)}
    assert matched_labels_of(incident)[INCIDENT] == str(incident.pk)


def test_hostile_values_are_matched_as_they_are() -> None:
    value = 'a"b\\c,d}{=~\n<script>ü'
    monitor = make_monitor(channels=(make_channel(),))
    silence = silences.make(
        [Matcher("variant", Operator.EQUAL, value)],
        starts_at=NOW,
        ends_at=NOW + HOUR,
        comment="c",
        created_by="ada",
        now=NOW,
    )
    assert silences.matchers_of(silence)[0].value == value
    assert told(opened(monitor, key="odd", labels={"variant": value})) == SUPPRESSED


def test_silence_by_rest_is_made_listed_changed_and_ended() -> None:
    client = client_with(Scope.INCIDENTS_READ, Scope.INCIDENTS_WRITE)
    body = {"matchers": 'monitor="x", variant=~"a|b"', "seconds": 3600, "comment": "being repaired"}
    made = post(client, "silences", body, 201)
    assert (made["state"], made["created_by"]) == ("active", "API key “ci”")
    assert made["text"] == 'monitor="x", variant=~"a|b"'
    path = f"silences/{made['id']}"
    assert patch(client, path, {"comment": "longer", "seconds": 7200})["id"] == made["id"]
    assert patch(client, path, {"matchers": [{"name": "monitor", "value": "y"}]})["id"] != made["id"]
    assert get(client, path)["state"] == "expired"
    [active] = get(client, "silences?state=active")["results"]
    assert post(client, f"silences/{active['id']}/end")["state"] == "expired"
    assert post(client, f"silences/{active['id']}/end")["state"] == "expired"
    assert get(client, "silences?state=active")["results"] == []
    assert len(get(client, "silences")["results"]) == 2


@pytest.mark.parametrize(
    ("change_", "field"),
    [
        ({"matchers": "severity"}, "matchers"),
        ({"matchers": 'a=~"(a+)+$"'}, "matchers"),
        ({"matchers": 7}, "matchers"),
        ({"matchers": 'a!="b"'}, "matchers"),
        ({"seconds": 0}, "seconds"),
        ({"ends_at": "2030-01-01T00:00:00Z"}, "seconds"),
        ({"comment": ""}, "comment"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_silence_by_rest_refuses_by_field(change_: dict[str, Any], field: str) -> None:
    client = client_with(Scope.INCIDENTS_WRITE)
    body = {"matchers": 'a="b"', "seconds": 60, "comment": "c"} | change_
    assert post(client, "silences", body, 400)["field"] == field


def test_silence_by_rest_needs_the_scope() -> None:
    post(client_with(Scope.INCIDENTS_READ), "silences", {}, 403)
    get(client_with(Scope.INCIDENTS_WRITE), "silences", 403)


def test_incident_is_silenced_by_rest() -> None:
    client = client_with(Scope.INCIDENTS_WRITE)
    incident = opened(make_monitor(channels=(make_channel(),)))
    made = post(client, f"incidents/{incident.pk}/silence", {"seconds": 600, "comment": "c"}, 201)
    only = {"name": "incident_id", "value": str(incident.pk), "isRegex": False, "isEqual": True}
    assert made["matchers"] == [only]
    post(client, f"incidents/{Silence().pk}/silence", {"seconds": 600, "comment": "c"}, 404)
    over(incident, now=NOW)
    post(client, f"incidents/{incident.pk}/silence", {"seconds": 600, "comment": "c"}, 409)
