"""The audit: every minute it proves that all who are to be told of an open incident were told, or will be.

What it cannot prove is an incident of its own. Only an audit that passed calls the dead-man's address, whose owner raises the
alarm when those calls stay away: also when this product is dead.
"""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F

from monitoring import endpoints, findings, incidents
from monitoring.channels import registry
from monitoring.channels.sink import Sink
from monitoring.findings import Finding
from monitoring.history import chain
from monitoring.history.locking import locked_open
from monitoring.models import (
    Channel,
    ChannelHealth,
    DeliveryAudit,
    EventKind,
    Incident,
    MessageKind,
    OutboxMessage,
    Severity,
    Source,
)
from monitoring.notifying import messages
from monitoring.notifying.telling import Leg, legs_of, takes_of
from monitoring.outbound import RequestFailed, request
from monitoring.targets import BlockedTarget
from triageops import wording

log = structlog.get_logger(__name__)

ACTOR = "the audit of deliveries"
KEY, CHANNEL_KEY = findings.OWN, "channel:"
SICK_AFTER = endpoints.FAILURES_TO_REST + 5
"""So many failures in a row take a quarter of an hour, and the channel rests for its longest time."""

_KEPT = 100
_HEARTBEAT_SECONDS = 10.0


def audit(now: datetime) -> list[Finding]:
    """Look, write down what is not as it must be, tell it, and call the dead-man's address when there is nothing."""
    count, found = findings.of_all(now)
    if sum(_tell_now(one, now) for one in found if one.kind == findings.UNTOLD):
        count, found = findings.of_all(now)
    if any(one.fails for one in found):
        # Somebody may have been at work between two questions: what is wrong is wrong twice.
        before = {one.about for one in found}
        count, again = findings.of_all(now)
        found = [one for one in again if one.about in before]
    has_passed = not any(one.fails for one in found)
    values = {
        "audited_at": now,
        "incident_count": count,
        "findings": [one.as_json() for one in found[:_KEPT]],
        **({"passed_at": now} if has_passed else {}),
    }
    DeliveryAudit.objects.update_or_create(defaults=values)
    _tell(found, has_passed=has_passed, now=now)
    _tell_channels(now)
    if has_passed:
        log.info("audit.passed", incidents=count)
        _call_heartbeat(now)
    else:
        log.error("audit.failed", incidents=count, findings=len(found))
    return found


def _tell(found: list[Finding], *, has_passed: bool, now: datetime) -> None:
    if has_passed:
        incidents.report_over(Source.SELF, KEY, actor=ACTOR, now=now)
        return
    failing = [one for one in found if one.fails]
    said = " ".join(one.text for one in failing[:3])
    more = f" And {wording.plural(len(failing) - 3, 'finding')} more." if len(failing) > 3 else ""
    incidents.report(
        Source.SELF,
        KEY,
        title="Not everybody is told who should be",
        severity=Severity.CRITICAL,
        labels={"alertname": "TriageOpsDelivery"},
        annotations={"description": f"{said}{more} What to do: docs/runbooks/delivery.md"[:2000]},
        onset_at=now,
        actor=ACTOR,
        now=now,
    )


def _tell_channels(now: datetime) -> None:
    """A channel that cannot be told anything is an incident, told to the others; over when it is well."""
    sick = dict(sick_channels(now))
    for channel, reason in sick.items():
        incident = incidents.report(
            Source.SELF,
            f"{CHANNEL_KEY}{channel.pk}",
            title=f"The channel “{channel.name}” cannot be reached",
            severity=Severity.ERROR,
            labels={"alertname": "TriageOpsChannel", "channel": channel.name},
            annotations={"description": f"{reason} What to do: docs/runbooks/delivery.md"},
            onset_at=now,
            actor=ACTOR,
            now=now,
        )
        _tell_others(incident, channel, now)
    known = Incident.objects.open().filter(source=Source.SELF, slice_key__startswith=CHANNEL_KEY)
    keys = {f"{CHANNEL_KEY}{channel.pk}" for channel in sick}
    for key in known.exclude(slice_key__in=keys).values_list("slice_key", flat=True):
        incidents.report_over(Source.SELF, key, actor=ACTOR, now=now)


def sick_channels(now: datetime) -> Iterable[tuple[Channel, str]]:
    """Channels that are gone, switched off while something waits, of a kind that is not known, or that rest again and again."""
    for channel in Channel.objects.filter(is_enabled=False):
        waiting = OutboxMessage.objects.undecided().filter(channel=channel, expires_at__gt=now).count()
        if channel.disabled_reason:
            yield channel, f"{channel.disabled_reason.rstrip('.')}."
        elif waiting:
            yield channel, f"It is disabled, and {wording.plural(waiting, 'message')} wait for it."
    kinds = [kind.name for kind in registry.KINDS]
    for channel in Channel.objects.enabled().of_people().exclude(kind__in=kinds):
        yield channel, f"“{channel.kind}” is no kind of channel that this version knows."
    resting = ChannelHealth.objects.filter(
        channel__is_enabled=True, failure_count__gte=SICK_AFTER, closed_until__isnull=False
    )
    for health in resting.select_related("channel"):
        yield (
            health.channel,
            f"{wording.count(health.failure_count)} failures in a row; the last: {health.last_reason}.",
        )


def _tell_now(finding: Finding, now: datetime) -> bool:
    """An open incident of which nobody was told, and whom a route, a monitor or a channel chooses by now."""
    with transaction.atomic():
        incident = locked_open(UUID(finding.incident))
        if incident is None or incident.messages.exists():
            return False
        legs = legs_of(incident, MessageKind.TRIGGER, now=now)
        if not legs:
            return False
        details = {"told": [leg.channel.name for leg in legs], "why": "nobody was chosen when it was opened"}
        event = chain.append(incident, EventKind.REROUTED, now=now, details=details)
        messages.write(incident, MessageKind.TRIGGER, legs, now=now, event=event)
    log.warning("incident.rerouted", incident_id=finding.incident, told=len(legs))
    return True


def _tell_others(incident: Incident, sick: Channel, now: datetime) -> None:
    """Where only the sick channel would hear of it, every other one does; once."""
    with transaction.atomic():
        locked = locked_open(incident.pk)
        if locked is None or locked.messages.exclude(channel=sick).exists():
            return
        others = Channel.objects.enabled().exclude(pk=sick.pk).exclude(kind=Sink.name)
        wanted = [one for one in others if MessageKind.TRIGGER in takes_of(one)]
        if not wanted:
            return
        because = f"the channel {sick.name} cannot be told itself"[:300]
        details = {"channel": sick.name, "told": [one.name for one in wanted]}
        event = chain.append(locked, EventKind.UNDELIVERED, now=now, details=details)
        legs = [Leg(one, because, now) for one in wanted]
        messages.write(locked, MessageKind.TRIGGER, legs, now=now, event=event)


def _call_heartbeat(now: datetime) -> None:
    """Say to the dead-man's address that all is well; what keeps it from being reached is written down, and it raises the alarm."""
    if not settings.HEARTBEAT_URL:
        return
    reason = ""
    try:
        answer = request(
            "POST",
            settings.HEARTBEAT_URL,
            b"",
            {},
            timeout_seconds=_HEARTBEAT_SECONDS,
            is_trusted=True,
        )
        if not 200 <= answer.status < 300:
            reason = f"answered {answer.status}"
    except BlockedTarget as error:
        reason = f"address refused: {error}"
    except RequestFailed as error:
        reason = error.reason
    rows = DeliveryAudit.objects.all()
    rows.update(heartbeat_reason=reason[:300], heartbeat_at=F("heartbeat_at") if reason else now)
    if reason:
        log.error("heartbeat.failed", reason=reason)
