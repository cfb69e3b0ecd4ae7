"""Which fields the form of a monitor has, in which order, and when each is needed."""

from typing import Any

from monitoring.admin.monitor_form import MonitorForm, parameter_fields, parameter_name
from monitoring.models import ReferenceMode
from monitoring.monitors import registry

_LEARNING = [kind.name for kind in registry.KINDS if kind.learns]
_COMPARING = [kind.name for kind in registry.KINDS if kind.compares]
_RULES = [kind.name for kind in registry.KINDS if registry.is_rule(kind.name)]
_PINNED, _TRAILING, _VARIANT = (mode.value for mode in ReferenceMode)


def _if_learns(*modes: str) -> str:
    mode = f" && {list(modes)}.includes(reference_mode)" if modes else ""
    return f"{_LEARNING}.includes(kind){mode}"


CONDITIONS = {
    **{parameter_name(kind, name): f"kind == '{kind}'" for kind, name in parameter_fields()},
    "reference_mode": _if_learns(),
    "reference_start_at": _if_learns(_PINNED),
    "reference_end_at": _if_learns(_PINNED),
    "reference_days": _if_learns(),
    "reference_gap_hours": _if_learns(_TRAILING),
    "control": f"{_COMPARING}.includes(kind) && reference_mode == '{_VARIANT}'",
    "stale_after_days": _if_learns(_PINNED),
    "alarms_per_30_days": f"!{_RULES}.includes(kind)",
    "weight": f"!{_RULES}.includes(kind)",
}
"""For the page's script, which hides what does not matter; without it everything is shown."""


READ = [("Settings", {"fields": [*MonitorForm.Meta.fields, "parameters"]})]
"""For a person who may only look."""


def fieldsets(*, is_live: bool) -> list[Any]:
    parameters = [parameter_name(kind, name) for kind, name in parameter_fields()]
    change = {
        "fields": ["way", "reason"],
        "description": "This monitor is live. Name, severity, channels and recovery change without this; what is watched, what is "
        "usual and how often it may be wrong do not.",
    }
    return [
        ("What is watched", {"fields": ["seen", "name", "description", "metric", "kind", *parameters]}),
        ("Which records", {"fields": ["where", "split_by", "max_slices", "is_whole_watched", "maturity_hours"]}),
        (
            "What is usual",
            {
                "fields": [
                    "reference_mode", "reference_start_at", "reference_end_at", "reference_days", "reference_gap_hours",
                    "control", "stale_after_days",
                ],
                "description": "What is seen is compared with this. A fixed level, a burn rate and “never” learn nothing, so there is "
                "nothing to choose for them.",
            },
        ),
        (
            "How often it may be wrong",
            {
                "fields": ["alarms_per_30_days", "weight"],
                "description": "A burn rate and “never” are fixed rules: they promise nothing about chance, and take no part of the budget.",
            },
        ),
        ("Who is told", {"fields": ["severity", "channels", "runbook_url"]}),
        ("When it is over", {"fields": ["resolve_after_buckets", "recovery_n_min", "hold_seconds"]}),
        *([("How a change is made", change)] if is_live else []),
    ]  # fmt: skip
