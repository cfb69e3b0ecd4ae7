"""The canary: once a day a drift is planted among made-up values, and has to arrive at a channel as an incident.

Values go straight into the rollups (feedback/synthetic.py); from there on everything is as for people's monitors: check,
evidence, incident, outbox, delivery. The channel only takes the message, so nobody is woken. What was not delivered in time
says that the product itself is blind, and every channel is told.
"""

from datetime import datetime, timedelta
from typing import Any
from zlib import crc32

import numpy as np
import structlog
from django.conf import settings
from django.db import transaction

from feedback import synthetic
from feedback.models import Direction, MetricKind, QualityMetric
from feedback.rollups import closing_at
from feedback.stats import closed_until
from monitoring import lifecycle, selfcheck
from monitoring.channels.sink import Sink
from monitoring.models import (
    CANARY_METRIC,
    PLANTED,
    Canary,
    Channel,
    Incident,
    MessageKind,
    MessageStatus,
    Monitor,
    OutboxMessage,
    Severity,
    Signal,
)
from monitoring.models.monitor import WATCHING
from monitoring.problems import Problem
from triageops import wording

log = structlog.get_logger(__name__)

NAME, RECEIPT, CHAIN = "canary: planted drift", "canary: receipt", "(chain)"
ENDPOINT = "triageops.canary"
DAY = timedelta(days=1)
VALUES, HEALTHY, DRIFTED, SPREAD = 50, 0.9, 0.4, 0.05
"""Of one bucket: how many made-up values, their mean when all is well, when not, and their standard deviation."""

SETTLING_BUCKETS = 3
"""Healthy ones before a drift is planted."""
LONGEST_PLANTED = timedelta(hours=2)

_PARAMETERS = {"level": 0.8, "margin": 0.05}
_DESCRIPTION = (
    "Once a day a drift is planted among made-up values, to prove that one would be found and told. "
    "Switch it off with TRIAGEOPS_CANARY; people's channels never hear of what was planted."
)


def tend(now: datetime) -> int:
    """Write the present bucket and see what became of the planted drift; how many values were written.

    Nothing happens while another worker is at it, and before the rollups ran for the first time.
    """
    if not settings.CANARY:
        _rest()
        return 0
    if closed_until() is None:
        return 0
    monitor = prepared(now)
    count = _record(now)
    _see(monitor, now)
    return count


def prepared(now: datetime) -> Monitor:
    """The canary's monitor, watching; whatever is missing is made."""
    monitor = Monitor.objects.filter(metric=CANARY_METRIC).first()
    if monitor is not None and monitor.state in WATCHING:
        return monitor
    with transaction.atomic():
        Canary.objects.get_or_create(defaults={"due_at": now + _settling()})
        Canary.objects.select_for_update().get()
        values: dict[str, Any] = {
            "kind": MetricKind.BOUNDED,
            "direction": Direction.HIGHER,
            "low": 0.0,
            "high": 1.0,
        }
        QualityMetric.objects.update_or_create(
            key=CANARY_METRIC, defaults={**values, "description": "Made up, to prove that drift is found."}
        )
        receipt, _ = Channel.objects.get_or_create(
            name=RECEIPT, defaults={"kind": Sink.name, "url": "", "secret": "", "takes_experiments": False}
        )
        monitor, is_new = Monitor.objects.get_or_create(
            metric=CANARY_METRIC,
            defaults={
                "name": NAME,
                "description": _DESCRIPTION,
                "kind": "slo_guard",
                "parameters": _PARAMETERS,
                "where": {"endpoint": ENDPOINT},
                # A number of its own: it takes nothing of the budget of all monitors together.
                "alarms_per_30_days": 0.1,
                "severity": Severity.INFO,
            },
        )
        if is_new:
            monitor.channels.set([receipt])
        if monitor.state not in WATCHING:
            lifecycle.activate(monitor, now=now, without_backtest="it watches made-up values")
    return monitor


def values_of(at: datetime, mean: float) -> list[float]:
    """The same for the same bucket, whoever makes them."""
    random = np.random.default_rng(crc32(at.isoformat().encode()))
    made = np.clip(random.normal(mean, SPREAD, VALUES), 0.0, 1.0)
    return [float(value) for value in made]


def _record(now: datetime) -> int:
    """Write the bucket that is open at `now`, once."""
    at = _bucket_of(now)
    with transaction.atomic():
        row = Canary.objects.select_for_update(skip_locked=True).first()
        if row is None or (row.recorded_at is not None and row.recorded_at >= at):
            return 0
        if row.recorded_at is not None and at - row.recorded_at > 2 * _bucket():
            # The product was at rest: what was planted before proves nothing any more, either way.
            row.planted_at, row.due_at = None, max(row.due_at, at + _settling())
        if (
            row.planted_at is None
            and row.due_at <= at
            and not Incident.objects.open().filter(PLANTED).exists()
        ):
            row.planted_at = at
            log.info("canary.planted", at=at.isoformat())
        is_drifted = row.planted_at is not None and at - row.planted_at < LONGEST_PLANTED
        synthetic.record(CANARY_METRIC, ENDPOINT, values_of(at, DRIFTED if is_drifted else HEALTHY), at)
        row.recorded_at = at
        row.save(update_fields=["recorded_at", "planted_at", "due_at"])
    return VALUES


def _see(monitor: Monitor, now: datetime) -> None:
    with transaction.atomic():
        row = Canary.objects.select_for_update(skip_locked=True).first()
        if row is None:
            return
        delivered_at = _delivered_at(row.planted_at) if row.planted_at is not None else None
        if delivered_at is not None and row.planted_at is not None:
            seconds = (delivered_at - row.planted_at).total_seconds()
            row.found_at, row.seconds_to_detect = delivered_at, seconds
            row.due_at, row.planted_at = row.planted_at + DAY, None
            row.save(update_fields=["found_at", "seconds_to_detect", "due_at", "planted_at"])
            transaction.on_commit(lambda: log.info("canary.found", seconds=round(seconds)))
    if delivered_at is not None:
        for found in Incident.objects.open().filter(monitor=monitor, slice_key=CHAIN):
            selfcheck.end_common(found, now)
    elif now - row.due_at > timedelta(seconds=settings.CANARY_LIMIT_SECONDS):
        _complain(monitor, row, now)


def _complain(monitor: Monitor, row: Canary, now: datetime) -> None:
    """Tell everybody, unless they know; then plant anew as soon as possible, so that it is known when all is well again."""
    Canary.objects.filter(due_at=row.due_at).update(planted_at=None, due_at=now + _settling())
    known = Incident.objects.open().filter(
        signal=Signal.CHECK, slice_key__in=[CHAIN, *selfcheck.COMMON.values()]
    )
    if known.exists():
        return
    waited = wording.seconds((now - row.due_at).total_seconds())
    problem = Problem(
        "blind",
        Severity.CRITICAL,
        row.due_at,
        f"a planted drift was not delivered within {waited}: real ones may not be noticed either",
        "Somewhere between rollups, checks, incidents and deliveries the chain is broken.",
    )
    if selfcheck.open_common(monitor, CHAIN, problem, now):
        log.error("canary.missed", seconds=round((now - row.due_at).total_seconds()))


def _delivered_at(planted_at: datetime) -> datetime | None:
    """When the first message of the drift planted then had arrived."""
    told = OutboxMessage.objects.filter(
        incident__in=Incident.objects.filter(PLANTED, opened_at__gte=planted_at),
        kind=MessageKind.TRIGGER,
        status=MessageStatus.DELIVERED,
        channel__kind=Sink.name,
    )
    return told.order_by("delivered_at").values_list("delivered_at", flat=True).first()


def _rest() -> None:
    for monitor in Monitor.objects.active().filter(metric=CANARY_METRIC):
        lifecycle.pause(monitor)


def _bucket() -> timedelta:
    return timedelta(seconds=settings.BUCKET_SECONDS)


def _settling() -> timedelta:
    return SETTLING_BUCKETS * _bucket()


def _bucket_of(at: datetime) -> datetime:
    return closing_at(at + timedelta(seconds=settings.LATENESS_SECONDS))
