"""The page of all open incidents: who is needed for what. Its changing part is fetched anew every few seconds."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import get_conditional_response

from monitoring import incidents
from monitoring.admin.inbox_health import Health, health
from monitoring.admin.inbox_lines import LINES_MAX, shown
from monitoring.admin.opening import Admin, person, render, require
from monitoring.models import Incident, MessageKind, Resolution
from monitoring.reading import inbox
from monitoring.reading.inbox import Need
from monitoring.tasks import wake_delivery
from triageops import wording
from triageops.admin import as_uuid

VIEW = ("monitoring.view_incident", "monitoring.change_incident")
_ACT = "monitoring.change_incident"
_TOLD_MAX = 12
_WORDS = {
    MessageKind.TRIGGER: "fires",
    MessageKind.ACKNOWLEDGE: "somebody takes care of it",
    MessageKind.RESOLVE: "over",
    MessageKind.REMINDER: "still fires",
    MessageKind.TEST: "a test",
}


def page(admin: Admin, request: HttpRequest) -> HttpResponse:
    """`?live=1` gives the changing part alone, and 304 where nothing changed."""
    require(request, *VIEW)
    if request.method == "POST":
        _do(admin, request)
        return HttpResponseRedirect(reverse("admin:monitoring_inbox"))
    now = timezone.now()
    user, may_act = person(request), request.user.has_perm(_ACT)
    entries, seen, told = inbox.read(), inbox.seen_by(user), inbox.told(_TOLD_MAX)
    standing = health(now)
    seen_at = None if seen is None else seen.seen_at
    etag = _etag(entries, seen_at, [one.pk for one in told], standing, may_act)
    if "live" in request.GET:
        unchanged = get_conditional_response(request, etag=etag)
        if unchanged is not None:
            return unchanged
    request.__dict__["needing_count"] = sum(one.need == Need.SOMEBODY for one in entries)
    context = _context(entries, seen_at, None if seen is None else seen.last_message_id, told)
    context |= {"health": standing, "may_act": may_act, "etag": etag, "resolutions": _reasons()}
    if "live" in request.GET:
        answer: HttpResponse = TemplateResponse(request, "monitoring/inbox_rows.html", context)
        answer["ETag"], answer["Cache-Control"] = etag, "private, no-cache"
        return answer
    return render(admin, request, "inbox", "Inbox", **context)


def _context(
    entries: Sequence[inbox.Entry],
    seen_at: datetime | None,
    last_message: UUID | None,
    told: Sequence[Any],
) -> dict[str, Any]:
    found = inbox.lines(entries)
    lines = shown(found, seen_at)
    opened = [one for one in entries if one.need != Need.SUSPECTED]
    wanted = sum(one.need == Need.SOMEBODY for one in entries)
    rest = sum(len(line.entries) for line in found[LINES_MAX:])
    suspicions = len(entries) - len(opened)
    unread = sum(seen_at is None or one.opened_at > seen_at for one in opened)
    news = [
        (one, _WORDS[MessageKind(one.kind)], last_message is None or one.pk > last_message) for one in told
    ]
    return {
        "sentence": inbox.sentence(entries),
        "needing": wanted,
        "tone": "harm" if wanted else "look" if opened else "neutral",
        "lines": lines,
        "rest": f"{wording.plural(rest, 'more incident is', 'more incidents are')} open, less urgent than these."
        if rest
        else "",
        "suspicions": wording.plural(suspicions, "suspicion") if suspicions else "",
        "told": news,
        "unread": unread,
        "unread_text": wording.plural(unread, "incident") + " opened since you last read the inbox"
        if unread
        else "",
        "has_news": bool(unread or any(is_new for _, _, is_new in news)),
    }


def _etag(
    entries: Sequence[inbox.Entry],
    seen_at: datetime | None,
    told: Sequence[UUID],
    standing: Health,
    may_act: bool,  # noqa: FBT001
) -> str:
    """Of everything that is shown: the same as long as nothing would look otherwise."""
    known = sorted((str(one.id), *one[1:]) for one in entries)
    text = repr((known, seen_at, told, standing, may_act))
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def _reasons() -> list[tuple[str, str]]:
    return [(one.value, str(one.label)) for one in incidents.PERSONS_RESOLUTIONS]


def _do(admin: Admin, request: HttpRequest) -> None:
    user, given = person(request), request.POST
    if "read" in given:
        inbox.mark_read(user, now=timezone.now())
        return
    require(request, _ACT)
    alone = given.get("acknowledge") or ""
    chosen = [alone] if alone not in {"", "selected"} else given.getlist("incident")
    ids = _ids(chosen)
    if not ids:
        messages.info(request, "Nothing was chosen, or it is over already.")
    elif given.get("acknowledge"):
        _each(
            admin,
            request,
            ids,
            "acknowledged",
            lambda pk: incidents.acknowledge(pk, by=user, now=timezone.now()),
        )
    elif given.get("resolution") in {value for value, _ in _reasons()}:
        reason = Resolution(given["resolution"])
        _each(
            admin,
            request,
            ids,
            "resolved",
            lambda pk: incidents.resolve(pk, reason, by=user, now=timezone.now()),
        )
    else:
        messages.error(request, "Choose why they are over.")


def _ids(chosen: Sequence[str]) -> list[UUID]:
    """Of a story: all of its incidents."""
    found: dict[UUID, None] = {}
    for text in chosen:
        kind, _, rest = text.rpartition(":")
        found |= dict.fromkeys(inbox.story_named(rest) if kind == "story" else [as_uuid(rest)])
    return list(found)


def _each(
    admin: Admin, request: HttpRequest, ids: Sequence[UUID], word: str, act: Callable[[UUID], Incident]
) -> None:
    done, refused = act_on_each(admin, request, ids, word, act)
    if done:
        messages.success(request, f"{wording.plural(done, 'incident was', 'incidents were')} {word}.")
    if refused:
        more = f" And {len(refused) - 1} more." if len(refused) > 1 else ""
        messages.error(request, f"{refused[0]}{more}")


def act_on_each(
    admin: Admin, request: HttpRequest, ids: Sequence[UUID], word: str, act: Callable[[UUID], Incident]
) -> tuple[int, list[str]]:
    """How many were moved, and why others were not; delivery is woken once."""
    done, refused = 0, []
    for incident_id in ids:
        try:
            incident = act(incident_id)
        except Incident.DoesNotExist:
            refused.append("One of them does not exist.")
            continue
        except (incidents.InvalidTransition, incidents.IncidentChanged) as error:
            refused.append(str(error))
            continue
        admin.log_change(request, incident, f"{word.capitalize()}.")
        done += 1
    if done:
        wake_delivery()
    return done, refused
