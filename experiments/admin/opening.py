"""What every page of one experiment begins with: the row, who may do what, and the frame around it."""

from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from experiments import overview
from experiments.models import Experiment, Variant
from triageops.rest import Problem

Admin = ModelAdmin[Experiment]

CHANGE = "experiments.change_experiment"
APPROVE = "experiments.approve_experiment"
VIEW = ""
"""Whoever may see the list."""


def opened(admin: Admin, request: HttpRequest, object_id: str, permission: str = VIEW) -> Experiment:
    """The experiment with its counted variants. Raises Http404 and PermissionDenied."""
    may = request.user.has_perm(permission) if permission else admin.has_view_permission(request)
    if not may:
        raise PermissionDenied
    if not object_id.isdecimal() or len(object_id) > 18:
        raise Http404
    rows = Experiment.objects.select_related("layer", "owner", "review_requested_by")
    found = rows.prefetch_related(Prefetch("variants", Variant.objects.counted())).filter(pk=object_id)
    experiment = found.first()
    if experiment is None:
        raise Http404
    return experiment


def address(name: str, experiment: Experiment) -> str:
    return reverse(f"admin:experiments_experiment_{name}", args=(experiment.pk,))


def back(experiment: Experiment, name: str = "change") -> HttpResponseRedirect:
    return HttpResponseRedirect(address(name, experiment))


def person(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


def tell(request: HttpRequest, refused: Problem) -> None:
    """A refusal, with what to do about it."""
    messages.error(request, " ".join(filter(None, (refused.detail, refused.fix))))


def render(
    admin: Admin, request: HttpRequest, template: str, experiment: Experiment, title: str, **context: Any
) -> HttpResponse:
    variants = list(experiment.variants.all())
    frame = {
        **admin.admin_site.each_context(request),
        "title": f"{title} · {experiment.key}",
        "opts": admin.opts,
        "experiment": experiment,
        "original": experiment,
        "has_view_permission": True,
        "sentence": overview.sentence(experiment, variants, timezone.now()),
        "tone": overview.tone(experiment.state),
        "page": address("change", experiment),
        "links": links(experiment),
        "media": admin.media,
    }
    return TemplateResponse(request, f"experiments/{template}.html", frame | context)


def links(experiment: Experiment) -> list[tuple[str, str, str]]:
    """(name, title, address) of the pages of one experiment, for the row of links."""
    titles = (
        ("change", "Overview"),
        ("power", "Power"),
        ("epochs", "Epochs"),
        ("forced", "Forced units"),
        ("audit", "Audit"),
        ("ask", "How clients ask"),
    )
    return [(name, title, address(name, experiment)) for name, title in titles]
