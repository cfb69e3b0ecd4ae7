"""An Alertmanager configuration, pasted or uploaded: first what would come of it, then the button."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextareaWidget

from monitoring.admin.opening import Admin, render
from monitoring.notifying.route_import import Imported, apply_import, counted, plan_import
from monitoring.routing.yaml_text import BYTES_MAX
from triageops import wording
from triageops.rest import Problem


class ImportForm(forms.Form):
    yaml = forms.CharField(
        label="Configuration",
        required=False,
        strip=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 14, "spellcheck": "false"}),
        help_text="The text of alertmanager.yml. Secrets in it are stored with the channels, and nowhere else.",
    )
    file = forms.FileField(
        label="Or as a file", required=False, widget=UnfoldAdminFileFieldWidget, allow_empty_file=True
    )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        file = cleaned.get("file")
        if file is not None:
            if file.size > BYTES_MAX:
                raise forms.ValidationError(f"The file has {file.size} bytes; the most is {BYTES_MAX}.")
            try:
                cleaned["yaml"] = file.read().decode()
            except UnicodeDecodeError:
                raise forms.ValidationError("The file is no text in UTF-8.") from None
        if not cleaned.get("yaml", "").strip():
            raise forms.ValidationError("Paste a configuration, or choose a file.")
        return cleaned


def page(admin: Admin, request: HttpRequest) -> HttpResponse:
    is_post = request.method == "POST"
    form = ImportForm(request.POST, request.FILES) if is_post else ImportForm()
    context: dict[str, Any] = {"sentence": "Take over the routes and receivers of an Alertmanager."}
    if is_post and form.is_valid():
        text = form.cleaned_data["yaml"]
        is_applying = request.POST.get("step") == "apply"
        try:
            done = apply_import(plan_import(text), is_dry_run=not is_applying)
        except Problem as problem:
            form.add_error(None, problem.detail)
        else:
            if is_applying:
                return _applied(request, done)
            context = {"sentence": _sentence(done), "tone": "neutral", "done": done, "text": text}
    return render(admin, request, "route_import", "Import from Alertmanager", form=form, **context)


def _applied(request: HttpRequest, done: Imported) -> HttpResponse:
    messages.success(request, f"Imported: {_counts(done) or 'nothing was new'}.")
    return HttpResponseRedirect(reverse("admin:monitoring_route_changelist"))


def _counts(done: Imported) -> str:
    return ", ".join(f"{what}: {count}" for what, count in counted(done.outcomes))


def _sentence(done: Imported) -> str:
    missing = len(done.plan.unmapped)
    rest = (
        f"{wording.plural(missing, 'part has', 'parts have')} no counterpart here."
        if missing
        else "All of it is mapped."
    )
    if not done.is_changing:
        return f"Everything in it is here already. {rest}"
    return f"Nothing is stored yet. It would make or change {_made(done)}. {rest}"


def _made(done: Imported) -> str:
    counts: dict[str, int] = {}
    for one in done.outcomes:
        if one.act != "kept":
            counts[one.what] = counts.get(one.what, 0) + 1
    return ", ".join(
        wording.plural(count, what, what if what == "hours" else "") for what, count in counts.items()
    )
