"""The definition in parts that a newcomer understands: the same parts for the form and for the page to read."""

from typing import Any

from experiments.admin import columns

Fieldsets = list[tuple[str | None, dict[str, Any]]]


def _part(title: str, *fields: Any, description: str = "") -> tuple[str, dict[str, Any]]:
    return title, {"fields": fields, "classes": ("tab",), "description": description}


DRAFT: Fieldsets = [
    _part("What and why", "key", "name", "hypothesis", "owner", "seen_version"),
    _part(
        "Who takes part",
        ("unit_kind", "unit_attribute"),
        "coverage_bp",
        "targeting",
        columns.targeted,
        ("layer", "layer_share_bp"),
        "obeys_holdout",
    ),
    _part(
        "How it is decided",
        "design",
        ("alpha", "correction"),
        ("minimum_sample", "planned_sample"),
        ("minimum_effect", "minimum_days"),
        "planned_end_at",
        "auto_ship",
    ),
    _part(
        "Schedule",
        "starts_at",
        "stops_at",
        description="Empty: people start and stop it. The ramp, below, lets it begin slowly.",
    ),
    _part("Rules", "requires_review", "config_schema"),
    _part(
        "Bandit",
        "bandit_floor_bp",
        "bandit_hours",
        description="Only for the design “bandit”, which moves traffic by itself and claims nothing.",
    ),
]

READ: Fieldsets = [
    _part("What and why", "key", "name", "hypothesis", "owner"),
    _part(
        "Who takes part",
        ("unit_kind", "unit_attribute"),
        columns.coverage,
        columns.targeted,
        ("layer", columns.layer_share),
        "obeys_holdout",
    ),
    _part(
        "How it is decided",
        "design",
        (columns.error_rate, "correction"),
        ("minimum_sample", "planned_sample"),
        ("minimum_effect", "minimum_days"),
        columns.planned_end,
        "auto_ship",
    ),
    _part("Schedule", (columns.started, columns.stopped), (columns.starts, columns.stops)),
    _part("Rules", "requires_review", "config_schema", "salt"),
    _part("Bandit", columns.bandit_floor, "bandit_hours"),
]
READ_ONLY = (
    columns.targeted, columns.coverage, columns.layer_share, columns.error_rate, columns.planned_end, columns.started, columns.stopped, columns.starts, columns.stops, "salt",
    columns.bandit_floor,
)  # fmt: skip
