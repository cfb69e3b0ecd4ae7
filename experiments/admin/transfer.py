"""Definitions that go from one place to another: copies, exports, imports; and what may be edited after the start."""

import json
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.forms import modelform_factory
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from experiments import drafts
from experiments.admin.opening import CHANGE, Admin, back, opened, person, render, tell
from experiments.forms import CloneForm, ImportForm, LaterForm
from experiments.models import Experiment
from triageops.rest import Problem

ADD = "experiments.add_experiment"


def clone(admin: Admin, request: HttpRequest, object_id: str) -> HttpResponse:
    experiment = opened(admin, request, object_id, ADD)
    form = CloneForm(request.POST or None, initial={"key": f"{experiment.key}-2"[:128]})
    if request.method == "POST" and form.is_valid():
        try:
            made = drafts.clone(experiment, form.cleaned_data["key"], by=person(request), now=timezone.now())
        except Problem as refused:
            form.add_error("key", " ".join(filter(None, (refused.detail, refused.fix))))
        else:
            admin.log_addition(request, made, f"Copied from {experiment.key}.")
            messages.success(
                request, f"{made.key} is a draft with the same definition, and a salt of its own."
            )
            return back(made)
    return render(admin, request, "clone", experiment, "Clone", form=form)


def details(admin: Admin, request: HttpRequest, object_id: str) -> HttpResponse:
    """What is no promise: the name, the plan, the end; editable as long as the experiment is not archived."""
    experiment = opened(admin, request, object_id, CHANGE)
    fields = partial(admin.formfield_for_dbfield, request=request)
    form_class = modelform_factory(Experiment, form=LaterForm, formfield_callback=fields)
    form = form_class(request.POST or None, instance=experiment)
    if request.method == "POST" and form.is_valid():
        changed = {name: form.cleaned_data[name] for name in form.changed_data}
        seen = request.POST.get("version", "")
        experiment.version = int(seen) if seen.isdecimal() and len(seen) < 10 else -1
        try:
            drafts.edit(experiment, changed, by=person(request), now=timezone.now())
        except Problem as refused:
            tell(request, refused)
        else:
            admin.log_change(request, experiment, f"Changed {', '.join(changed) or 'nothing'}.")
            messages.success(request, "Saved.")
        return back(experiment)
    return render(admin, request, "details", experiment, "Edit details", form=form)


def export(admin: Admin, request: HttpRequest, object_id: str) -> HttpResponse:
    """The definition as a file."""
    experiment = opened(admin, request, object_id)
    text = json.dumps(drafts.exported(experiment), indent=2, ensure_ascii=False)
    return HttpResponse(
        text,
        content_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{experiment.key}.json"'},
    )


def import_(admin: Admin, request: HttpRequest) -> HttpResponse:
    if not request.user.has_perm(ADD):
        raise PermissionDenied
    form = ImportForm(request.POST or None, request.FILES or None)
    problem: Problem | None = None
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            made = drafts.imported(given["read"], by=person(request), now=timezone.now(), key=given["key"])
        except Problem as refused:
            problem = refused
        else:
            admin.log_addition(request, made, "Imported.")
            messages.success(request, f"{made.key} is a draft now; look it through before you start it.")
            return back(made)
    context: dict[str, Any] = {
        **admin.admin_site.each_context(request),
        "title": "Import an experiment",
        "opts": admin.opts,
        "form": form,
        "problem": problem,
        "media": admin.media,
    }
    return TemplateResponse(request, "experiments/import.html", context)
