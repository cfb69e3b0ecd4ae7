"""What the list and the page say of one experiment, one function a cell."""

from django.contrib import admin
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from experiments import overview
from experiments.definition import in_percent
from experiments.models import Experiment
from experiments.targeting import described
from triageops.admin import badge
from triageops.wording import count, moment, share


@admin.display(description="state", ordering="state")
def shown_state(experiment: Experiment) -> SafeString:
    return badge(experiment.get_state_display(), overview.tone(experiment.state))


@admin.display(description="variants")
def shown_variants(experiment: Experiment) -> str:
    variants = list(experiment.variants.all())
    return render_to_string("experiments/split.html", {"arms": overview.arms(variants)})


@admin.display(description="units assigned")
def assigned(experiment: Experiment) -> str:
    return count(sum(variant.assigned_count for variant in experiment.variants.all()))


@admin.display(description="in words")
def targeted(experiment: Experiment) -> str:
    return f"Where {described(experiment.targeting)}." if experiment.targeting else "Everybody."


@admin.display(description="coverage")
def coverage(experiment: Experiment) -> str:
    return experiment.coverage_in_percent


@admin.display(description="share of the layer")
def layer_share(experiment: Experiment) -> str:
    return in_percent(experiment.layer_share_bp) if experiment.layer_id else "–"


@admin.display(description="error rate")
def error_rate(experiment: Experiment) -> str:
    return share(experiment.alpha)


@admin.display(description="least share of a variant")
def bandit_floor(experiment: Experiment) -> str:
    return in_percent(experiment.bandit_floor_bp)


@admin.display(description="started", ordering="started_at")
def started(experiment: Experiment) -> SafeString:
    return moment(experiment.started_at, "not yet")


@admin.display(description="stopped", ordering="stopped_at")
def stopped(experiment: Experiment) -> SafeString:
    return moment(experiment.stopped_at, "not yet")


@admin.display(description="starts by itself")
def starts(experiment: Experiment) -> SafeString:
    return moment(experiment.starts_at, "no", exact=True)


@admin.display(description="stops by itself")
def stops(experiment: Experiment) -> SafeString:
    return moment(experiment.stops_at, "no", exact=True)


@admin.display(description="planned end")
def planned_end(experiment: Experiment) -> SafeString:
    return moment(experiment.planned_end_at, "open", exact=True)
