"""Numbers and times as people read them: significant digits, units, thousands separators, "3 min ago"."""

import math
from datetime import UTC, datetime
from typing import Literal

from django.utils.html import format_html
from django.utils.safestring import SafeString

Style = Literal["count", "number", "share", "seconds", "money"]
"""What a value is: a count, a plain number, a share in [0, 1], a duration in seconds, an amount in dollars."""

NARROW_SPACE = "\N{NARROW NO-BREAK SPACE}"
MISSING = "–"


def number(value: float | None, digits: int = 3) -> str:
    """`digits` significant digits, never in powers of ten between 1e-6 and 1e15."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size < -6 or size >= 15:
        return f"{value:.{digits - 1}e}"
    rounded = round(value, digits - 1 - size)
    # Rounding may have carried into the next power of ten: 0.9996 has three digits as 1.00.
    size = math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(0, digits - 1 - size)}f}".replace(",", NARROW_SPACE)


def count(value: float | None) -> str:
    """1204 as 1 204, 1 240 000 as 1.24 M."""
    if value is None or not math.isfinite(value):
        return MISSING
    for limit, letter in ((1e9, "G"), (1e6, "M")):
        if abs(value) >= limit:
            return f"{number(value / limit)}{NARROW_SPACE}{letter}"
    return f"{round(value):,}".replace(",", NARROW_SPACE)


def share(value: float | None, digits: int = 3) -> str:
    """0.0412 as 4.12 %."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{number(100 * value, digits)}{NARROW_SPACE}%"


def seconds(value: float | None) -> str:
    """0.042 as 42 ms, 7300 as 2 h 2 min."""
    if value is None or not math.isfinite(value):
        return MISSING
    if abs(value) < 1:
        return f"{number(1000 * value)}{NARROW_SPACE}ms"
    if abs(value) < 60:
        return f"{value:.0f}{NARROW_SPACE}s" if value == round(value) else f"{number(value)}{NARROW_SPACE}s"
    minutes = round(value / 60)
    for size, name, rest_size, rest_name in ((1440, "d", 60, "h"), (60, "h", 1, "min")):
        if minutes >= size:
            rest = minutes % size // rest_size
            return f"{minutes // size}{NARROW_SPACE}{name}" + (
                f" {rest}{NARROW_SPACE}{rest_name}" if rest else ""
            )
    return f"{minutes}{NARROW_SPACE}min"


def money(value: float | None) -> str:
    """An amount in dollars: 412.4 as $412, 0.0213 as $0.0213."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{'-' if value < 0 else ''}${count(abs(value)) if abs(value) >= 1000 else number(abs(value))}"


def styled(value: float | None, style: Style) -> str:
    """`value` written as what it is."""
    writers = {"count": count, "number": number, "share": share, "seconds": seconds, "money": money}
    return writers[style](value)


def interval(low: float | None, high: float | None, style: Style) -> str:
    """Two ends of an interval; empty when there is none."""
    if low is None or high is None:
        return ""
    if style == "share":
        return f"{number(100 * low)} to {share(high)}"
    return f"{styled(low, style)} to {styled(high, style)}"


def plural(n: int, one: str, many: str = "") -> str:
    """1 incident, 2 incidents."""
    return f"{count(n)} {one if n == 1 else many or one + 's'}"


def moment(at: datetime | None, missing: str = "never", *, exact: bool = False) -> SafeString:
    """A time: UTC as it stands; the page's script makes it "3 min ago" (or, exact, the reader's own time), UTC on hover."""
    if at is None:
        return format_html('<span class="to-quiet">{}</span>', missing)
    return format_html(
        '<time datetime="{}" data-style="{}">{} UTC</time>',
        at.isoformat(),
        "exact" if exact else "ago",
        _utc(at),
    )


def due(at: datetime | None, missing: str = "unknown") -> SafeString:
    """A time to come, as "in 3 min"; once it has passed, the page's script says "due now"."""
    if at is None:
        return format_html('<span class="to-quiet">{}</span>', missing)
    return format_html('<time datetime="{}" data-style="due">{} UTC</time>', at.isoformat(), _utc(at))


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
