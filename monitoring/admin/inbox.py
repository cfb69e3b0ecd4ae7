"""The page of all open incidents: who is needed for what. Its changing part is fetched anew every few seconds."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import get_conditional_response

from monitoring import incidents
from monitoring.admin import resolving
from monitoring.admin.acting import act_and_say
from monitoring.admin.inbox_health import Health, health
from monitoring.admin.inbox_lines import LINES_MAX, shown
from monitoring.admin.opening import Admin, person, render, require
from monitoring.admin.resolving import ACT
from monitoring.models import MessageKind, OutboxMessage
from monitoring.reading import inbox
from monitoring.reading.inbox import Need
from triageops import wording
from triageops.admin import as_uuid

VIEW = ("monitoring.view_incident", "monitoring.change_incident")
_TOLD_MAX, _TOLD_READ = 12, 60
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
        return _do(admin, request)
    now = timezone.now()
    user, may_act = person(request), request.user.has_perm(ACT)
    entries, seen, told = inbox.read(), inbox.seen_by(user), inbox.told(_TOLD_READ)
    standing = health(now)
    seen_at = None if seen is None else seen.seen_at
    etag = _etag(entries, seen_at, [one.pk for one in told], standing, may_act)
    if "live" in request.GET:
        unchanged = get_conditional_response(request, etag=etag)
        if unchanged is not None:
            return unchanged
    request.__dict__["needing_count"] = sum(one.need == Need.SOMEBODY for one in entries)
    context = _context(entries, seen_at, None if seen is None else seen.last_message_id, told)
    context |= {"health": standing, "may_act": may_act, "etag": etag}
    if "live" in request.GET:
        answer: HttpResponse = TemplateResponse(request, "monitoring/inbox_rows.html", context)
        answer["ETag"], answer["Cache-Control"] = etag, "private, no-cache"
        return answer
    return render(admin, request, "inbox", "Inbox", **context)


def _context(
    entries: Sequence[inbox.Entry],
    seen_at: datetime | None,
    last_message: UUID | None,
    told: Sequence[OutboxMessage],
) -> dict[str, Any]:
    found = inbox.lines(entries)
    lines = shown(found, seen_at)
    opened = [one for one in entries if one.need != Need.SUSPECTED]
    wanted = sum(one.need == Need.SOMEBODY for one in entries)
    rest = sum(len(line.entries) for line in found[LINES_MAX:])
    suspicions = len(entries) - len(opened)
    unread = sum(seen_at is None or one.opened_at > seen_at for one in opened)
    news = _news(told, last_message)
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
        "unread_text": _unread_text(unread, seen_at),
        "has_news": bool(unread or any(one.is_new for one in news)),
    }


@dataclass
class News:
    """Messages of one kind, to one channel, about one alert, one after the other: said once. count: how many."""

    message: OutboxMessage
    word: str
    about: str
    is_new: bool
    count: int = 1

    @property
    def more(self) -> str:
        return f"and {wording.count(self.count - 1)} more like it" if self.count > 1 else ""


def _news(told: Sequence[OutboxMessage], last_message: UUID | None) -> list[News]:
    found: list[News] = []
    for one in told:
        labels = one.payload.get("routing_labels") or {}
        about = str(labels.get("alertname") or one.payload.get("title", ""))
        word, is_new = _WORDS[MessageKind(one.kind)], last_message is None or one.pk > last_message
        last = found[-1] if found else None
        if last and (last.message.channel_id, last.word, last.about, last.is_new) == (
            one.channel_id,
            word,
            about,
            is_new,
        ):
            last.count += 1
        elif len(found) < _TOLD_MAX:
            found.append(News(one, word, about, is_new))
        else:
            break
    return found


def _unread_text(unread: int, seen_at: datetime | None) -> str:
    if not unread:
        return ""
    if seen_at is None:
        return f"You have not marked the inbox as read yet: {wording.plural(unread, 'incident')} in it."
    return wording.plural(unread, "incident") + " opened since you last read the inbox"


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


def _do(admin: Admin, request: HttpRequest) -> HttpResponse:
    user, given = person(request), request.POST
    if "read" in given:
        inbox.mark_read(user, now=timezone.now())
        return HttpResponseRedirect(reverse("admin:monitoring_inbox"))
    require(request, ACT)
    alone = given.get("acknowledge") or ""
    chosen = [alone] if alone not in {"", "selected"} else given.getlist("incident")
    ids, folded = _ids(chosen)
    if not ids:
        messages.info(request, "Nothing was chosen, or it is over already.")
    elif given.get("acknowledge"):
        acknowledge = partial(incidents.acknowledge, by=user, now=timezone.now())
        act_and_say(admin, request, ids, "acknowledged", acknowledge)
    elif "resolve" in given:
        return resolving.ask(admin, request, ids, back="inbox", folded=folded)
    return HttpResponseRedirect(reverse("admin:monitoring_inbox"))


def _ids(chosen: Sequence[str]) -> tuple[list[UUID], int]:
    """Of a story: all of its incidents. And how many of all were not chosen one by one."""
    found: dict[UUID, None] = {}
    single = {as_uuid(text) for text in chosen if not text.startswith("story:")}
    for text in chosen:
        kind, _, rest = text.rpartition(":")
        found |= dict.fromkeys(inbox.story_named(rest) if kind == "story" else [as_uuid(rest)])
    return list(found), len(found.keys() - single)
