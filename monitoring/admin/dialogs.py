"""Questions that are asked before something is done."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextareaWidget


class ConfirmForm(BaseDialogForm):
    """Asks once more; nothing to fill in."""


class ReasonForm(BaseDialogForm):
    reason = forms.CharField(
        label="Reason", max_length=500, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3})
    )


def dialog(
    title: str, description: str, button: str, form: type[BaseDialogForm] = ConfirmForm
) -> dict[str, Any]:
    return {"title": title, "description": description, "form_class": form, "form_submit_text": button}


def in_page(act: Callable[..., HttpResponse]) -> Any:
    """Around an action with a dialog: opened in a tab of its own, where it is a part without a page, it leads to its row's."""

    @wraps(act)
    def opened(admin: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method == "GET" and "HX-Request" not in request.headers:
            options = admin.opts
            name = f"admin:{options.app_label}_{options.model_name}_change"
            return HttpResponseRedirect(reverse(name, args=[kwargs["object_id"]]))
        return act(admin, request, *args, **kwargs)

    return opened
