"""Slices: which records belong together, and how one combination of labels is written."""

from collections.abc import Mapping

from django.conf import settings

from feedback.stats import DIMENSIONS

ALL, OTHER = "all", "other"
"""Keys of the slice that is everything, and of the one that pools what is beyond max_slices."""

SMALLEST_NAMED_GROUP = 20
"""Messages name no group with fewer records than this: a small one may be one person."""


def dimensions() -> tuple[str, ...]:
    """What a monitor may be cut by; of the attributes, which come last, by one at a time."""
    return (*DIMENSIONS, *settings.SLICE_ATTRIBUTES)


def slice_key(labels: Mapping[str, str]) -> str:
    """One text for one combination of labels, whatever characters they hold."""
    return (
        ",".join("=".join(_quoted(part) for part in (name, labels[name])) for name in sorted(labels)) or ALL
    )


def described(labels: Mapping[str, str], key: str = "") -> str:
    """For people: “variant claude-2, language es”."""
    named = [f"{name} {value or '(none)'}" for name, value in sorted(labels.items())]
    if key == OTHER:
        named.append("all further groups together")
    return ", ".join(named)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("=", "\\=").replace(",", "\\,")
