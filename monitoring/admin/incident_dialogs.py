"""What is asked before an incident is moved."""

from django import forms
from django.shortcuts import get_object_or_404
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from monitoring import incidents
from monitoring.admin.monitor_dialogs import BaselineForm
from monitoring.models import Incident, Monitor
from triageops.admin import as_uuid


class AcknowledgeForm(BaseDialogForm):
    """Asks once more; nothing to fill in."""


class ResolveForm(BaseDialogForm):
    resolution = forms.ChoiceField(
        label="Why",
        choices=[(value.value, value.label) for value in incidents.PERSONS_RESOLUTIONS],
        widget=UnfoldAdminSelectWidget,
    )
    note = forms.CharField(
        label="Note", max_length=1000, required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3})
    )


class IncidentBaselineForm(BaselineForm):
    """Of the monitor that found the incident."""

    def found(self) -> Monitor:
        incident = get_object_or_404(Incident.objects.of_monitors(), pk=as_uuid(self.object_id))
        return get_object_or_404(Monitor.objects.select_related("reference"), pk=incident.monitor_id)
