"""The rows of the list of silences: what each holds back, and whom nobody could tell of it."""

from dataclasses import dataclass, field
from datetime import datetime

from monitoring.admin.silence_form import Named
from monitoring.labels import matched_labels_of
from monitoring.models import Incident, Silence, SilenceMirror
from monitoring.quiet import causes, silences
from monitoring.routing.matchers import InvalidMatcher, Matcher, as_text, matches_all
from triageops import wording

MOST_ENDED, MOST_NAMED = 50, 5


@dataclass
class Row:
    """One silence of the list. held: what it holds back now, with `more` beside it. only: the one incident that it is about."""

    silence: Silence
    text: str
    matchers: list[Matcher] = field(default_factory=list)
    held: list[Named] = field(default_factory=list)
    more: int = 0
    only: Incident | None = None
    unmirrored: list[str] = field(default_factory=list)


def rows(now: datetime) -> tuple[list[Row], list[Row], list[Row]]:
    standing = [_row(one) for one in Silence.objects.filter(ends_at__gt=now).order_by("ends_at")]
    active = [row for row in standing if row.silence.starts_at <= now]
    pending = [row for row in standing if row.silence.starts_at > now]
    pending.sort(key=lambda row: row.silence.starts_at)
    if active:
        _add_held(active)
        _add_unmirrored(active)
    ended = [_row(one) for one in Silence.objects.expired(now).order_by("-ends_at")[:MOST_ENDED]]
    _add_only([*standing, *ended])
    return active, pending, ended


def _row(silence: Silence) -> Row:
    try:
        matchers = silences.matchers_of(silence)
    except InvalidMatcher as error:
        return Row(silence, f"cannot be read: {error}")
    return Row(silence, as_text(matchers), matchers)


def _add_only(rows: list[Row]) -> None:
    wanted = {row.silence.pk: pk for row in rows if (pk := silences.incident_in(row.matchers)) is not None}
    known = Incident.objects.in_bulk(set(wanted.values())) if wanted else {}
    for row in rows:
        row.only = known.get(wanted.get(row.silence.pk))


def _add_held(rows: list[Row]) -> None:
    incidents = [
        (one, matched_labels_of(one)) for one in causes.unresolved().open().genuine().order_by("-id")
    ]
    for row in rows:
        found = [one for one, labels in incidents if row.matchers and matches_all(row.matchers, labels)]
        row.held = [Named.of(one) for one in found[:MOST_NAMED]]
        row.more = len(found[MOST_NAMED:])


def _add_unmirrored(rows: list[Row]) -> None:
    by_id = {row.silence.pk: row for row in rows}
    for mirror in (
        SilenceMirror.objects.exclude(reason="").filter(silence__in=by_id).select_related("channel")
    ):
        by_id[mirror.silence_id].unmirrored.append(f"{mirror.channel.name}: {mirror.reason}")


def sentence(active: list[Row]) -> str:
    if not active:
        return "Nothing is silenced now."
    held = {one.incident.pk for row in active for one in row.held}
    count = wording.plural(len(active), "silence")
    holds = "holds" if len(active) == 1 else "hold"
    if not held:
        return f"{count} {holds} now, and no open incident matches."
    more = any(row.more for row in active)
    return f"{count} {holds} back {'more than ' if more else ''}{wording.plural(len(held), 'open incident')} now."
