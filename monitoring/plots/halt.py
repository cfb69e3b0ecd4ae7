"""The effect on which an experiment was halted."""

from monitoring.evidence import Evidence
from monitoring.models import Incident
from triageops import charts


def halt_chart(incident: Incident, evidence: Evidence) -> charts.Chart:
    """With its interval."""
    is_share = evidence.style == "share"
    factor = 100 if is_share else 1
    effect, low, high = (
        None if value is None else factor * value for value in (evidence.effect, evidence.low, evidence.high)
    )
    unit = f"{evidence.metric}, {evidence.variant or 'variant'} minus {evidence.control or 'control'}"
    shown_unit = "points" if is_share else evidence.unit
    return charts.intervals(
        key="halt",
        title=incident.title,
        rows=[charts.Effect(evidence.variant or "variant", effect, low, high)],
        style="number" if is_share else evidence.style,
        unit=f"{unit} ({shown_unit})" if shown_unit else unit,
        empty="The halt came with an effect without an interval.",
    )
