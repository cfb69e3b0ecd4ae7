"""Whether those who should be told are told: the line below the inbox."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, Q

from monitoring.models import Channel, DeliveryAudit
from monitoring.reading.channel_health import in_words
from monitoring.reading.sentences import capital
from triageops import wording

_LATE = timedelta(minutes=5)
_FAILURES = 3
_MOST = 5


@dataclass(frozen=True)
class Health:
    """tone: “good”, “look”, “harm” or “neutral”. at: of the audit. troubles: what is wrong, in sentences."""

    text: str
    tone: str
    at: datetime | None = None
    troubles: Sequence[str] = ()


def health(now: datetime) -> Health:
    """Two queries."""
    audit = DeliveryAudit.objects.first()
    troubles = [*_of_channels(now)]
    if audit is None:
        return Health("Deliveries have not been audited yet.", "neutral", None, troubles)
    if now - audit.audited_at > _LATE:
        text = "Nobody has audited deliveries lately, so what is told may be late; last"
        return Health(text, "harm", audit.audited_at, troubles)
    findings = [_said(one) for one in audit.findings]
    if findings:
        return Health(
            "Not every open incident is told as it should be; audited",
            "harm",
            audit.audited_at,
            [*findings[:_MOST], *troubles],
        )
    text = "Every open incident was told, or is about to be; audited"
    return Health(text, "look" if troubles else "good", audit.audited_at, troubles)


def _of_channels(now: datetime) -> list[str]:
    is_left_alone = Q(health__closed_until__gt=now) | Q(health__failure_count__gte=_FAILURES)
    never_since = Q(health__last_success_at=None) | Q(
        health__last_success_at__lt=F("health__last_failure_at")
    )
    is_refused = Q(health__failure_count=0, health__last_failure_at__isnull=False) & never_since
    rows = (
        Channel.objects.of_people()
        .annotate(
            failures=F("health__failure_count"),
            closed_until=F("health__closed_until"),
            failed=F("health__last_reason"),
        )
        .filter(
            Q(is_enabled=False) & ~Q(disabled_reason="") | Q(is_enabled=True) & (is_left_alone | is_refused)
        )
    )
    return [_trouble(one) for one in rows[:_MOST]]


def _trouble(channel: Channel) -> str:
    if not channel.is_enabled:
        return f"Channel “{channel}” was disabled: {channel.disabled_reason.rstrip('.')}."
    failures, reason = channel.failures, channel.failed  # type: ignore[attr-defined]
    why = in_words(reason).rstrip(".") or "no answer"
    if not failures:
        return f"Channel “{channel}” did not take its last message, which is not sent again: {why}."
    return f"Channel “{channel}” failed {wording.plural(failures, 'time')} in a row: {why}."


def _said(finding: object) -> str:
    if isinstance(finding, dict):
        text = str(finding.get("text") or finding.get("said") or finding.get("detail") or finding)
    else:
        text = str(finding)
    return capital(text)
