"""What one change changed, as lines to read: only the differences, with the name of the variant or metric they belong to."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from experiments.definition import in_percent

Rows = Mapping[str, Mapping[str, Any]]

_PARTS = {"variants": "variant", "metrics": "metric"}
_SILENT = frozenset({"version", "owner", "approved_version", "forced", "ramp", *_PARTS})


_ACTIONS = {
    "change_weights": "new weights",
    "change_coverage": "new coverage",
    "revise": "new version",
    "force": "force a unit",
    "unforce": "no longer force a unit",
    "kill": "kill switch",
}


def named(action: str) -> str:
    """What was done, in words."""
    return _ACTIONS.get(action, action.replace("_", " "))


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """In plain words; of a new experiment, what it began with."""
    if not before:
        return list(_beginning(after))
    found = [
        _line(name, before.get(name), value)
        for name, value in after.items()
        if name not in _SILENT and value != before.get(name)
    ]
    if before.get("owner") != after.get("owner"):
        found.append("another owner")
    if before.get("approved_version") != after.get("approved_version"):
        found.append("approved" if after.get("approved_version") else "the approval is void")
    for name, word in _PARTS.items():
        found += _of_rows(word, _by_key(before.get(name)), _by_key(after.get(name)))
    if before.get("ramp") != after.get("ramp"):
        found.append(f"ramp: {_ramp(before.get('ramp'))} → {_ramp(after.get('ramp'))}")
    found += _of_forced(before.get("forced") or {}, after.get("forced") or {})
    return found


def _beginning(after: Mapping[str, Any]) -> Iterator[str]:
    variants = ", ".join(
        f"{key} {in_percent(row['weight_bp'])}"
        for key, row in _by_key(after.get("variants")).items()
        if "weight_bp" in row
    )
    yield f"variants: {variants or 'none yet'}"
    metrics = ", ".join(f"{key} ({row.get('role')})" for key, row in _by_key(after.get("metrics")).items())
    if metrics:
        yield f"metrics: {metrics}"


def _by_key(rows: Any) -> Rows:
    return {str(row["key"]): row for row in rows or [] if isinstance(row, dict) and "key" in row}


def _of_rows(word: str, before: Rows, after: Rows) -> Iterator[str]:
    for key, row in after.items():
        former = before.get(key)
        if former is None:
            weight = f", {in_percent(row['weight_bp'])}" if "weight_bp" in row else ""
            yield f"{word} {key}: added{weight}"
            continue
        for name, value in row.items():
            if value == former.get(name):
                continue
            if name == "config":
                yield from _of_config(f"{word} {key}", former.get(name) or {}, value or {})
            else:
                yield f"{word} {key}: {_said(name, former.get(name))} → {_shown(name, value)}"
    for key in before:
        if key not in after:
            yield f"{word} {key}: removed"


def _of_config(whose: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted({*before, *after}):
        if name not in after:
            yield f"{whose}: config {name} removed"
        elif name not in before:
            yield f"{whose}: config {name} = {_shown(name, after[name])}"
        elif before[name] != after[name]:
            yield f"{whose}: config {name} {_shown('', before[name])} → {_shown('', after[name])}"


def _of_forced(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for unit, variant in after.items():
        if before.get(unit) != variant:
            yield f"unit {unit}: forced to {variant}, not analysed"
    for unit in before:
        if unit not in after:
            yield f"unit {unit}: no longer forced"


def _ramp(rows: Any) -> str:
    steps = [
        f"{in_percent(row['coverage_bp'])} after {row['after_hours']:g} h and {row['after_units']} units"
        for row in rows or []
    ]
    return ", ".join(steps) or "none"


def _line(name: str, before: Any, after: Any) -> str:
    return f"{_name(name)}: {_shown(name, before)} → {_shown(name, after)}"


def _said(name: str, value: Any) -> str:
    return f"{_name(name)} {_shown(name, value)}"


def _name(name: str) -> str:
    return name.removesuffix("_bp").replace("_", " ")


def _shown(name: str, value: Any) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name.endswith("_bp") and isinstance(value, int):
        return in_percent(value)
    if name.endswith("_at") and isinstance(value, str):
        return f"{value[:16].replace('T', ' ')} UTC"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
