"""Whether channels take what they are sent: all of them on one page, and each on its own."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString

from monitoring import endpoints
from monitoring.admin.channel_plots import chart_of, spark
from monitoring.admin.opening import Admin, render, require
from monitoring.models import Channel, DeliveryAudit
from monitoring.reading import channel_health
from monitoring.reading.channel_health import BAD, Condition, Standing, Waiting, condition_of, in_words
from triageops import wording
from triageops.admin import Tone, badge

VIEW = ("monitoring.view_channel", "monitoring.change_channel")
AUDIT_LATE = timedelta(minutes=3)
MOST_FINDINGS = 20
_WORDS = {
    Condition.WORKS: "works",
    Condition.UNUSED: "nothing sent yet",
    Condition.DISABLED: "disabled",
    Condition.RESTING: "left alone",
    Condition.FAILING: "failing",
    Condition.REFUSING: "last message not taken",
    Condition.HELD: "asked us to wait",
    Condition.BEHIND: "messages wait",
}
_TONES = {
    Condition.RESTING: Tone.HARM,
    Condition.FAILING: Tone.LOOK,
    Condition.REFUSING: Tone.HARM,
    Condition.HELD: Tone.LOOK,
    Condition.BEHIND: Tone.LOOK,
    Condition.DISABLED: Tone.LOOK,
}


@dataclass(frozen=True)
class Row:
    """One channel, in words."""

    standing: Standing
    state: SafeString
    said: str
    rate: str
    bars: Sequence[tuple[float, float, float]]

    @property
    def failed(self) -> str:
        last = self.standing.last_failure
        return in_words(last.reason) if last else ""

    @property
    def speed(self) -> str:
        one = self.standing
        if one.median_seconds is None:
            return wording.MISSING
        return f"{wording.seconds(one.median_seconds)} / {wording.seconds(one.p99_seconds)}"


def page(admin: Admin, request: HttpRequest) -> HttpResponse:
    """Live: the page's script fetches it again and swaps what changed."""
    require(request, *VIEW)
    now = timezone.now()
    found = channel_health.read(now)
    audit = DeliveryAudit.objects.first()
    sentence, tone = sentence_of(found, now)
    return render(
        admin,
        request,
        "health",
        "Health of channels",
        sentence=sentence,
        tone=tone,
        rows=[row_of(one, now) for one in found],
        chart=chart_of(found, now),
        audit=audit_of(audit, now),
        live_address=request.get_full_path(),
    )


def of_channel(channel: Channel, now: datetime) -> dict[str, Any]:
    """For the channel's own page; channel: with `health` selected."""
    found = channel_health.read(now, [channel])
    return {"row": row_of(found[0], now), "chart": chart_of(found, now), "own": True}


def row_of(one: Standing, now: datetime) -> Row:
    tone = _TONES.get(one.condition, Tone.NEUTRAL)
    if one.condition == Condition.DISABLED and one.channel.disabled_reason:
        tone = Tone.HARM
    return Row(one, badge(_WORDS[one.condition], tone), said_of(one, now), _rate(one, now), spark(one, now))


def badge_of(condition: Condition) -> SafeString:
    return badge(_WORDS[condition], _TONES.get(condition, Tone.NEUTRAL))


def said_of(one: Standing, now: datetime) -> str:
    """The state in a sentence or two."""
    health, reason = one.health, in_words(one.health.last_reason) if one.health else ""
    count = health.failure_count if health else 0
    because = f" The last reason: {reason.rstrip('.')}." if reason else ""
    in_a_row = f"{wording.plural(count, 'failure')} in a row"
    match one.condition:
        case Condition.DISABLED:
            why = one.channel.disabled_reason.rstrip(".")
            return (
                f"{why}. Its messages wait for up to 24 hours."
                if why
                else "Its messages wait for up to 24 hours."
            )
        case Condition.RESTING if health is not None and health.closed_until is not None:
            rest = wording.seconds((health.closed_until - now).total_seconds() // 1)
            return (
                f"After {in_a_row} its receiver is left alone for {rest} more; then one try decides.{because}"
            )
        case Condition.FAILING:
            return f"{in_a_row}; it is tried again.{because}"
        case Condition.REFUSING:
            never = " It has taken nothing yet." if one.last_success_at is None else ""
            return f"It did not take the last message, which is not sent again.{never}{because}"
        case Condition.HELD if health is not None and health.refilled_at is not None:
            rest = wording.seconds((health.refilled_at - now).total_seconds() // 1)
            return f"Its receiver asked for a pause, which lasts {rest} more.{because}"
        case Condition.BEHIND:
            return "Messages that could be sent wait for longer than two minutes. Does a worker for deliveries run?"
        case Condition.UNUSED:
            return "Nothing was sent yet. A test message shows whether it arrives."
        case _:
            return "Its receiver takes what it is sent."


def sentence_of(found: Sequence[Standing], now: datetime) -> tuple[str, str]:
    if not found:
        return "There is no channel yet: an incident is seen only by those who look here.", "look"
    bad = [one for one in found if one.condition in BAD]
    odd = Counter(one.condition for one in found if _TONES.get(one.condition) and one.condition not in BAD)
    due = sum(one.waiting.due for one in found)
    oldest = min((one.waiting.oldest for one in found if one.waiting.oldest is not None), default=None)
    waits = _waits(due, sum(one.waiting.later for one in found), oldest, now)
    if bad:
        names = ", ".join(f"“{one.channel.name}”" for one in bad[:3]) + (
            " and others" if len(bad) > 3 else ""
        )
        verb = "does" if len(bad) == 1 else "do"
        return (
            f"{len(bad)} of {wording.plural(len(found), 'channel')} {verb} not take messages ({names}); {waits}.",
            "harm",
        )
    if odd:
        told = ", ".join(f"{count} {_SHORT[one]}" for one, count in odd.items())
        return f"No receiver fails. Of {wording.plural(len(found), 'channel')}: {told}; {waits}.", "look"
    who = (
        "The only channel has no failing receiver"
        if len(found) == 1
        else f"None of {len(found)} channels has a failing receiver"
    )
    return f"{who}; {waits}.", "neutral"


def first_line(channels: Iterable[Channel], now: datetime) -> tuple[str, Tone]:
    """Of the list of channels, `health` selected: what is wrong with which."""
    found = [(one, condition_of(one, getattr(one, "health", None), Waiting(), now)) for one in channels]
    if not found:
        return "There is no channel yet: an incident is seen only by those who look here.", Tone.LOOK
    odd, count = [pair for pair in found if _TONES.get(pair[1])], wording.plural(len(found), "channel")
    if not odd:
        return f"Nothing is wrong with {count}.", Tone.NEUTRAL
    names = "; ".join(f"“{one.name}”: {_WORDS[condition]}" for one, condition in odd[:3])
    more = f"; and {len(odd) - 3} more" if len(odd) > 3 else ""
    tone = Tone.HARM if any(condition in BAD for _, condition in odd) else Tone.LOOK
    return f"{len(odd)} of {count} {'needs' if len(odd) == 1 else 'need'} a look ({names}{more}).", tone


def _waits(due: int, later: int, oldest: datetime | None, now: datetime) -> str:
    """later: for others of a group, for hours, or for the next try."""
    on_time = (
        f"{wording.plural(later, 'message')} {'has its' if later == 1 else 'have their'} time still to come"
    )
    if oldest is not None:
        verb = "waits" if due == 1 else "wait"
        said = f"{wording.plural(due, 'message')} {verb}, the oldest for {_since(oldest, now)}"
        return f"{said}, and {on_time}" if later else said
    return f"nothing is due, but {on_time}" if later else "nothing waits"


_SHORT = {
    Condition.DISABLED: "disabled",
    Condition.HELD: "asked us to wait",
    Condition.BEHIND: "with messages that wait for longer than two minutes",
}


def audit_of(audit: DeliveryAudit | None, now: datetime) -> dict[str, Any]:
    """What the audit of deliveries says, in a sentence, with what it found."""
    if audit is None:
        return {"sentence": "No audit of deliveries has run yet; one runs every minute.", "tone": "look"}
    seen = wording.plural(audit.incident_count, "open incident")
    is_late = now - audit.audited_at > AUDIT_LATE
    findings = [one if isinstance(one, dict) else {"text": str(one), "fails": True} for one in audit.findings]
    failing = sum(bool(one.get("fails")) for one in findings)
    tone = "neutral"
    if is_late:
        sentence, tone = f"The audit is late: the last one was {_since(audit.audited_at, now)} ago.", "harm"
    elif failing:
        sentence = f"The audit of {seen} found {wording.plural(failing, 'thing')} that must not be."
        tone = "harm"
    elif findings:
        sentence = f"The audit of {seen} passed, but for {len(findings)} of them no channel is chosen."
        tone = "look"
    else:
        sentence = f"The audit of {seen} passed: for each, a message was delivered or is on its way."
    return {
        "sentence": sentence,
        "tone": tone,
        "findings": findings[:MOST_FINDINGS],
        "more": len(findings[MOST_FINDINGS:]),
        "row": audit,
        "heartbeat": _heartbeat(audit, now),
    }


def _heartbeat(audit: DeliveryAudit, now: datetime) -> str:
    if audit.heartbeat_reason:
        return f"The heartbeat was not sent: {audit.heartbeat_reason}"
    if audit.heartbeat_at is None:
        return "No heartbeat was sent: the deployment names no address for it (TRIAGEOPS_HEARTBEAT_URL)."
    return f"The heartbeat last reached its address {_since(audit.heartbeat_at, now)} ago."


def _rate(one: Standing, now: datetime) -> str:
    """“1 a second, up to 5 at once; 3 may be sent now”."""
    rate = endpoints.rate_of(one.channel)
    text = f"{wording.number(rate.per_second, 2)} a second, up to {rate.burst} at once"
    if one.health is None:
        return text
    one.health.channel = one.channel
    return f"{text}; {int(endpoints.tokens_at(one.health, now))} could be sent now"


def _since(at: datetime, now: datetime) -> str:
    return wording.seconds(max(0, round((now - at).total_seconds())))
