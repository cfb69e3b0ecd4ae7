"""The records of now beside the reference: read after the page has opened, because it reads rollups."""

from datetime import datetime
from typing import Any

from monitoring import comparisons, plots
from monitoring.models import Monitor
from monitoring.slices import ALL
from triageops import wording


def comparison(monitor: Monitor, key: str, now: datetime) -> dict[str, Any]:
    """Effect sizes with what chance alone makes of them."""
    key = key or ALL
    found = comparisons.compare(monitor, key, now)
    if found is None:
        return {"found": None}
    against = "control" if found.is_compared else "reference"
    sizes = [
        ("Population stability index (PSI)", found.psi),
        ("Largest distance of the distribution functions (Kolmogorov–Smirnov)", found.ks),
        (f"Wasserstein distance, in standard deviations of the {against}", found.wasserstein),
    ]
    return {
        "found": found,
        "against": against,
        "chart": plots.comparison_chart(monitor, found),
        "sizes": [
            (
                name,
                wording.number(one.value, 2),
                wording.number(one.null_quantile, 2),
            )
            for name, one in sizes
            if one is not None
        ],
        "quantiles": [
            (f"{100 * one.q:g} %", wording.number(one.reference), wording.number(one.current))
            for one in found.quantiles
        ],
    }
