"""What a plan rests on, in words."""

from experiments.models import Experiment, ExperimentMetric, MetricType
from experiments.planning.population import Population
from triageops.wording import share


def design_effect_note(metric: ExperimentMetric) -> str:
    """What the plan stands on, for quantiles: their own variance is not known before."""
    if metric.kind == MetricType.QUANTILE:
        return "Planned as if for the mean: a quantile needs more units, the more the further out it is."
    return ""


def population_notes(experiment: Experiment, found: Population) -> list[str]:
    """Whom the plan speaks of, and what of it could not be checked."""
    kind = experiment.get_unit_kind_display()
    notes = []
    if found.other_kind_share:
        notes.append(
            f"Left out: {share(found.other_kind_share)} of the units, known not to be of the kind “{kind}”."
        )
    if found.unknown_kind_share:
        notes.append(
            f"Of {share(found.unknown_kind_share)} of the units the kind is not recorded; they are taken for “{kind}”. "
            "A response tells the kind of its unit only through its experiment"
            + (f" or its attribute {experiment.unit_attribute}." if experiment.unit_attribute else ".")
        )
    if found.missing:
        names = " and ".join(found.missing)
        notes.append(
            f"The targeting could not be checked: {names} {'was' if len(found.missing) == 1 else 'were'} not recorded "
            "with the responses. Planned from all units; fewer take part, and it takes longer."
        )
    if found.fitting_share is not None:
        notes.append(
            f"The targeting fits {share(found.fitting_share)} of these units, by their last response."
        )
        if found.bare_share:
            notes.append(
                f"{share(found.bare_share)} of them lack an attribute that it asks for, as recorded; for the targeting that "
                "is no value."
            )
    return notes
