"""What could be watched: for everything that came in, a monitor with sensible settings and what it would see."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction

from experiments.models import Variant
from feedback.models import QualityMetric
from feedback.shapes import RESERVED_METRICS
from feedback.stats import Usage, Window, watchable
from monitoring import backtests, budget, sources
from monitoring.candidates import Suggestion, candidates
from monitoring.foresight import previews, sight
from monitoring.models import Channel, FleetBudget, Monitor
from monitoring.monitors.kind import InvalidParameters, Metric, Unwatchable

LEARNT_FROM = timedelta(days=28)


def propose(now: datetime) -> list[Suggestion]:
    """All that is not watched yet, the most telling first; what has to be classified before comes last."""
    used = {one.key: one for one in watchable(Window(now - LEARNT_FROM, now))}
    definitions = {one.key: one for one in QualityMetric.objects.all()}
    existing = list(Monitor.objects.all())
    watched = _watched(existing)
    drafts = candidates(used, definitions, _variant_count())
    fresh = [one for one in drafts if (one.metric, one.kind) not in watched and _is_fit(one, definitions)]
    if not fresh:
        return []
    shown = previews([one.metric for one in fresh], now)
    seen = [replace(one, preview=shown[one.metric]) for one in fresh if shown[one.metric].n]
    return _with_sight(seen, [row for row in existing if row.is_watching], used, definitions)


def create(keys: Iterable[str], *, by: User | None, now: datetime) -> list[Monitor]:
    """Make the chosen monitors, which learn and are backtested; those that exist by now are left out."""
    wanted = set(keys)
    # Reads weeks of rollups, so before the lock that every start and pause needs.
    proposed = [one for one in propose(now) if one.key in wanted and not one.blocked]
    with transaction.atomic():
        # Two people who ask at once do so one after the other, and the second finds what the first made.
        FleetBudget.objects.get_or_create(name="fleet")
        FleetBudget.objects.select_for_update().get(name="fleet")
        watched = _watched(Monitor.objects.all())
        chosen = [one for one in proposed if (one.metric, one.kind) not in watched]
        channels = list(Channel.objects.enabled().of_people())
        taken = set(Monitor.objects.values_list("name", flat=True))
        made = [_made(one, taken, channels) for one in chosen]
        for monitor in made:
            backtests.start(backtests.ask(monitor, by=by, now=now))
    return made


def _watched(existing: Iterable[Monitor]) -> set[tuple[str, str]]:
    """Metric and kind of what watches all records."""
    return {(row.metric, row.kind) for row in existing if not row.where}


def _made(suggestion: Suggestion, taken: set[str], channels: Sequence[Channel]) -> Monitor:
    name, number = suggestion.name, 2
    while name in taken:
        name, number = f"{suggestion.name} ({number})", number + 1
    taken.add(name)
    monitor = Monitor(name=name, description=suggestion.why, **suggestion.settings)
    monitor.clean()
    monitor.save()
    monitor.channels.set(channels)
    return monitor


def _variant_count() -> int:
    """Of the running experiment that has most."""
    keys = Variant.objects.filter(experiment__state="running").values_list("experiment_id", flat=True)
    found = list(keys)
    return max((found.count(one) for one in set(found)), default=0)


def _is_fit(suggestion: Suggestion, definitions: Mapping[str, QualityMetric]) -> bool:
    """Whether the kind can watch the metric as it is defined."""
    if suggestion.blocked:
        return True
    row = Monitor(**suggestion.settings)
    try:
        row.kind_read().check(_metric(suggestion.metric, definitions))
    except (Unwatchable, InvalidParameters):
        return False
    return True


def _metric(key: str, definitions: Mapping[str, QualityMetric]) -> Metric:
    is_own = key in definitions and key not in RESERVED_METRICS
    return sources.metric_of(definitions[key]) if is_own else sources.source_named(key).metric


def _with_sight(
    found: Sequence[Suggestion],
    watching: Sequence[Monitor],
    used: Mapping[str, Usage],
    definitions: Mapping[str, QualityMetric],
) -> list[Suggestion]:
    """With what each would see if all were created: they share the budget with each other."""
    rows = {one.key: Monitor(**one.settings) for one in found if not one.blocked}
    budget.split(budget.fleet_budget(), [*watching, *rows.values()])
    result = []
    for one in found:
        if one.key in rows:
            ripe = one.preview.n if one.preview.ripe_n is None else one.preview.ripe_n
            known = used[one.metric].n if one.metric in used else ripe
            seen = sight(rows[one.key], _metric(one.metric, definitions), one.preview, known)
            result.append(replace(one, seen=seen))
        else:
            result.append(one)
    return result
