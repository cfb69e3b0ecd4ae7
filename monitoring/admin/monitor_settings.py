"""The settings of a monitor as lines to read."""

import dataclasses

from monitoring.models import Monitor, ReferenceMode
from monitoring.monitors import registry
from monitoring.notifying.payloads import RULE_TEXT, budget_text
from monitoring.sources import title_of


def settings_of(monitor: Monitor) -> list[tuple[str, str]]:
    """Titles and values, without what is not set."""
    own = monitor.alarms_per_30_days
    rows = [
        ("Why", monitor.description),
        ("Metric", title_of(monitor.metric)),
        ("Kind", monitor.get_kind_display()),
        ("Parameters", _parameters(monitor)),
        ("Which records", _labels(monitor.where) or "all"),
        (
            "Split by",
            f"{', '.join(monitor.split_by)}; at most {monitor.max_slices}" if monitor.split_by else "",
        ),
        ("Age of responses", "" if monitor.maturity_hours is None else f"{monitor.maturity_hours:g} hours"),
        ("What is usual", _reference(monitor)),
        (
            "Budget",
            RULE_TEXT
            if registry.is_rule(monitor.kind)
            else f"a share of the common one, by a weight of {monitor.weight:g}"
            if own is None
            else f"its own: {budget_text(own)}",
        ),
        ("Severity", monitor.get_severity_display()),
        (
            "It is over",
            f"after {monitor.resolve_after_buckets} good judgements of {monitor.recovery_n_min} records or more, over "
            f"{monitor.hold_seconds} seconds or more",
        ),
        ("Runbook", monitor.runbook_url),
    ]
    return [(title, value) for title, value in rows if value]


def _labels(labels: dict[str, str]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in labels.items())


def _parameters(monitor: Monitor) -> str:
    """With defaults, where they are not said."""
    try:
        kind = registry.kind_named(monitor.kind)
    except LookupError:
        return _labels(monitor.parameters)
    told = []
    for field in dataclasses.fields(kind):
        value = monitor.parameters.get(field.name, field.default)
        if value is not None and value is not dataclasses.MISSING:
            text = (
                f"{value:g}"
                if isinstance(value, int | float)
                else field.metadata["choices"].get(value, value)
            )
            told.append(f"{field.name.replace('_', ' ')} {text}")
    return ", ".join(told)


def _reference(monitor: Monitor) -> str:
    try:
        if not registry.kind_named(monitor.kind).learns:
            return ""
    except LookupError:
        return ""
    if monitor.reference_mode == ReferenceMode.VARIANT:
        return f"what {_labels(monitor.control)} shows at the same time"
    if monitor.reference_mode == ReferenceMode.TRAILING:
        return f"the last {monitor.reference_days} days, up to {monitor.reference_gap_hours} hours ago"
    if monitor.reference_start_at and monitor.reference_end_at:
        return f"from {monitor.reference_start_at:%Y-%m-%d %H:%M} to {monitor.reference_end_at:%Y-%m-%d %H:%M} UTC"
    return f"{monitor.reference_days} days that stay"
