"""Questions that are asked before something is done."""

from typing import Any

from django import forms
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
