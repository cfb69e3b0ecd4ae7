"""Version numbers, and numbers taken for versions, as texts that sort as the versions do."""

import math
import re
from decimal import Decimal
from functools import lru_cache


@lru_cache(maxsize=1_024)
def padded(version: str) -> str:
    """A text that sorts as the version does: numbers padded to five places, 1.0.0 after 1.0.0-beta, without build."""
    parts = re.split("[-.]", re.sub(r"^v|\+.*$", "", version or "0"))
    if len(parts) == 3:
        parts.append("~")
    return "-".join(part.rjust(5) if part.isascii() and part.isdigit() else part for part in parts)


def number_text(value: float) -> str:
    """As JavaScript's String(number); integers become doubles first. Source: ECMAScript, Number::toString."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf if value > 0 else -math.inf
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    if number == 0:
        return "0"
    sign, places, exponent = Decimal(repr(number)).as_tuple()
    assert isinstance(exponent, int)
    n = len(places) + exponent  # The value is 0.digits × 10^n.
    digits = "".join(map(str, places)).rstrip("0")
    if -6 < n <= 0:
        text = "0." + "0" * -n + digits
    elif 0 < n <= 21:
        whole, fraction = digits[:n].ljust(n, "0"), digits[n:]
        text = f"{whole}.{fraction}" if fraction else whole
    else:
        text = digits[0] + ("." + digits[1:] if digits[1:] else "") + f"e{n - 1:+d}"
    return "-" + text if sign else text
