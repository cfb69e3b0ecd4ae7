"""The page that answers “why was I, or was I not, told?”."""

from collections.abc import Sequence
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.safestring import SafeString

from monitoring.admin.deliveries import status_badge
from monitoring.admin.opening import Admin, keep_count, needing_count, render, require
from monitoring.admin.read_along import keep_attempts, with_attempts
from monitoring.labels import labels_of
from monitoring.models import Channel, Incident, OutboxMessage
from monitoring.notifying import routes
from monitoring.reading import why_told
from monitoring.reading.incident_sentences import comments_of, flag_sentence
from monitoring.reading.why_told import Answer, Asked, Fate
from triageops.admin import Tone, badge

_TONES = {Fate.TOLD: Tone.GOOD, Fate.WAITING: Tone.LOOK, Fate.HELD: Tone.LOOK, Fate.FAILED: Tone.HARM}
_MESSAGES_MAX = 500


def page(admin: Admin, request: HttpRequest, incident_id: UUID) -> HttpResponse:
    """`?channel=` for one channel, `?who=` for a name or an address."""
    require(request, "monitoring.view_incident", "monitoring.change_incident")
    rows = Incident.objects.select_related("monitor").annotate(needing_count=needing_count())
    incident = get_object_or_404(rows, pk=incident_id)
    keep_count(request, incident)
    channels = list(Channel.objects.of_people())
    asked = Asked(routes.tree(), labels_of(incident), incident.opened_at)
    named = () if incident.monitor is None else incident.monitor.channels.values_list("pk", flat=True)
    every = why_told.answers(incident, channels, messages_of(incident), asked, named)
    flags = list(incident.flags.all())
    comments = comments_of(flags)
    chosen, said = _chosen(every, request.GET.get("channel", ""), request.GET.get("who", "").strip())
    return render(
        admin,
        request,
        "told",
        "Why was I told, or not?",
        incident=incident,
        sentence=why_told.headline(every),
        tone="harm" if any(one.fate == Fate.FAILED for one in every) else "neutral",
        channels=channels,
        channel=request.GET.get("channel", ""),
        who=request.GET.get("who", "").strip(),
        said=said,
        answers=[(one, _badge(one), [(row, status_badge(row)) for row in one.messages]) for one in chosen],
        flags=[(flag_sentence(one, comments), one) for one in flags],
        labels=sorted(asked.labels.items()),
        has_routes=asked.root is not None,
    )


def messages_of(incident: Incident) -> list[OutboxMessage]:
    rows = OutboxMessage.objects.filter(incident=incident).select_related("channel", "route")
    found = list(with_attempts(rows.order_by("channel__name", "seq"))[:_MESSAGES_MAX])
    keep_attempts(found)
    return found


def _chosen(every: Sequence[Answer], channel: str, who: str) -> tuple[Sequence[Answer], str]:
    """The answers that were asked for, and what to say where there is none."""
    if channel:
        found = [one for one in every if str(one.channel.pk) == channel]
        return (found, "") if found else (every, "There is no such channel.")
    if not who:
        return every, ""
    found = [one for one in every if _is_meant(one.channel, who)]
    if found:
        return found, ""
    return (
        [],
        f"No channel is called “{who}” or has this address among its recipients, so it could not be told.",
    )


def _is_meant(channel: Channel, who: str) -> bool:
    wanted = who.casefold()
    addresses = {one.strip().casefold() for one in channel.recipients.replace("\n", ",").split(",")}
    return wanted in addresses or wanted in channel.name.casefold()


def _badge(answer: Answer) -> SafeString:
    return badge(str(answer.fate), _TONES.get(answer.fate, Tone.NEUTRAL))
