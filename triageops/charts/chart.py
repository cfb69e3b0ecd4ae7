"""One plot, its colours, and what all plots share."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from triageops.wording import Style

Tone = Literal["neutral", "good", "look", "harm"]
Options = dict[str, Any]

HUES = 9
"""As many as triageops.css has --to-hue-…; more keys share them."""

CONTROL_COLOUR = "var(--to-control)"


@dataclass(frozen=True)
class Chart:
    """One plot with everything that a reader who cannot see it needs.

    `title` says what to conclude; `empty` (when set, nothing is drawn) says what is missing; `columns` and `rows` are
    the table under the plot, as text; a datetime in `rows` is shown in the reader's time. `href` leads to the rows.
    """

    key: str
    title: str
    options: Options = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[object, ...], ...] = ()
    description: str = ""
    style: Style = "number"
    unit: str = ""
    size: Literal["small", "medium", "large"] = "medium"
    empty: str = ""
    href: str = ""
    href_text: str = "Show the rows"

    @property
    def data_id(self) -> str:
        return f"chart-data-{self.key}"

    @property
    def payload(self) -> Options:
        """What the page's script reads."""
        return {"options": self.options, "style": self.style, "unit": self.unit, "title": self.title}


def replaced(chart: Chart, **changes: Any) -> Chart:
    """The same plot with, say, another table under it; one without a picture stays as it is."""
    return chart if chart.empty else replace(chart, **changes)


def hues(keys: Iterable[str], control: str = "") -> dict[str, str]:
    """A colour per key: neutral for the control, else picked by the key's hash, next free one when it is taken.

    So a key has the same colour on every page, unless a page shows it beside another one that hashes alike.
    """
    return {
        key: CONTROL_COLOUR if slot is None else f"var(--to-hue-{slot % HUES})"
        for key, slot in slots_of(keys, control).items()
    }


def slots_of(keys: Iterable[str], control: str) -> dict[str, int | None]:
    slots: dict[str, int | None] = {}
    taken: set[int] = set()
    for key in sorted(set(keys)):
        if key == control:
            slots[key] = None
            continue
        start = len(taken) // HUES * HUES
        slot = start + zlib.adler32(key.encode()) % HUES
        while slot in taken:
            slot = start + (slot + 1) % HUES
        taken.add(slot)
        slots[key] = slot
    return slots


def frame(legend: Sequence[str] = ()) -> Options:
    return {
        "animation": False,
        "grid": {"left": 8, "right": 24, "top": 36, "bottom": 8, "containLabel": True},
        "legend": {"data": list(legend), "show": bool(legend)},
        "tooltip": {"trigger": "axis"},
    }
