"""Layers and the global holdout: who shares units with whom, who is left alone, and who changed that."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Page, Paginator
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.widgets import UnfoldAdminTextareaWidget

from experiments import layers
from experiments.admin.differences import differences, named
from experiments.admin.opening import person
from experiments.assignment import BASIS_POINTS
from experiments.definition import in_percent
from experiments.forms import HoldoutForm
from experiments.models import UNDER_WAY, Experiment, Holdout, Layer, LayerSlot
from experiments.models.audit import SharedEvent, Subject
from triageops import charts
from triageops.admin import NoDeleteAdmin, ReadOnlyAdmin
from triageops.wording import moment, plural

PER_PAGE = 30


@dataclass(frozen=True)
class Told:
    """One line of the timeline."""

    event: SharedEvent
    who: str
    what: str
    changes: list[str]


def timeline(request: HttpRequest, row: Layer | Holdout) -> dict[str, Any]:
    """Every change of it, the latest first, for the page that shows it."""
    subject = Subject.LAYER if isinstance(row, Layer) else Subject.HOLDOUT
    rows = SharedEvent.objects.filter(subject=subject, key=row.key).select_related("by")
    shown: Page[SharedEvent] = Paginator(rows, PER_PAGE).get_page(request.GET.get("p"))
    told = [
        Told(one, str(one.by or "the system"), named(one.action), differences(_before(one), one.after))
        for one in shown
    ]
    return {"told": told, "shown": shown}


def _before(event: SharedEvent) -> dict[str, Any]:
    """Of what is new, nothing in each field."""
    return event.before or dict.fromkeys(event.after)


class LayerForm(forms.ModelForm[Layer]):
    reason = forms.CharField(
        required=False,
        max_length=500,
        widget=UnfoldAdminTextareaWidget({"rows": 2}),
        help_text="Why you make or change it. Kept in its history with your name.",
    )

    class Meta:
        model = Layer
        fields = ("key", "description")


@dataclass(frozen=True)
class Owner:
    """One experiment's slots as pieces of a bar that is 100 wide."""

    experiment: Experiment
    colour: str
    share: str
    pieces: tuple[tuple[float, float], ...]


def owners(layer: Layer) -> list[Owner]:
    """Who has which slots; `slots` are the taken ones, prefetched with their experiments."""
    slots = list(layer.slots.all())
    found = {slot.experiment_id: slot.experiment for slot in slots}
    colours = charts.hues(one.key for one in found.values())
    return [
        Owner(
            one,
            colours[one.key],
            in_percent(sum(slot.end - slot.first for slot in slots if slot.experiment_id == number)),
            tuple(
                (slot.first / 100, (slot.end - slot.first) / 100)
                for slot in slots
                if slot.experiment_id == number
            ),
        )
        for number, one in found.items()
    ]


@admin.register(Layer)
class LayerAdmin(NoDeleteAdmin):
    form = LayerForm
    list_display = ("key", "shown_slots", "free", "description")
    search_fields = ("key",)
    fields = ("key", "description", "reason")
    list_before_template = "experiments/layer_list_head.html"
    change_form_outer_before_template = "experiments/layer_head.html"
    change_form_outer_after_template = "experiments/layer_timeline.html"

    class Media:
        css = {"all": ("experiments/experiments.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Layer]:
        taken = LayerSlot.objects.taken().order_by("first").select_related("experiment")
        layers: QuerySet[Layer] = super().get_queryset(request)
        return layers.prefetch_related(Prefetch("slots", taken))

    def get_readonly_fields(self, request: HttpRequest, obj: Layer | None = None) -> tuple[str, ...]:
        # Exported experiments name it by its key.
        return ("key",) if obj is not None else ()

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *places: Any, **options: Any
    ) -> HttpResponse:
        layer: Layer | None = context["original"]
        if layer is not None:
            mine = owners(layer)
            rest = layer.experiments.exclude(pk__in=[one.experiment.pk for one in mine])
            context |= {"owners": mine, "free": _free(layer), "others": rest.order_by("-id")[:50]}
            context |= timeline(request, layer)
        return super().render_change_form(request, context, *places, **options)

    def save_model(
        self,
        request: HttpRequest,
        obj: Layer,
        form: LayerForm,
        change: bool,  # noqa: FBT001
    ) -> None:
        layers.save(obj, by=person(request), now=timezone.now(), reason=form.cleaned_data["reason"])

    @admin.display(description="who has it")
    def shown_slots(self, layer: Layer) -> str:
        return render_to_string("experiments/slots.html", {"owners": owners(layer), "free": _free(layer)})

    @admin.display(description="free")
    def free(self, layer: Layer) -> str:
        return _free(layer)


def _free(layer: Layer) -> str:
    return in_percent(BASIS_POINTS - sum(slot.end - slot.first for slot in layer.slots.all()))


@admin.register(Holdout)
class HoldoutAdmin(ReadOnlyAdmin):
    """One row; its list is its page."""

    class Media:
        css = {"all": ("experiments/experiments.css",)}

    def get_urls(self) -> list[URLPattern]:
        share = path(
            "share/", self.admin_site.admin_view(self.change_share), name="experiments_holdout_share"
        )
        return [share, *super().get_urls()]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        holdout = _holdout()
        changed = moment(holdout.changed_at, exact=True) if holdout.pk else ""
        return self._page(request, "holdout", holdout, changed=changed, **timeline(request, holdout))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        return self.changelist_view(request)

    def change_share(self, request: HttpRequest) -> HttpResponse:
        """The number, then what it does and the question."""
        if not request.user.has_perm("experiments.change_holdout"):
            raise PermissionDenied
        holdout = _holdout()
        form = HoldoutForm(request.POST or None, holdout=holdout)
        if not form.is_valid():
            return self._page(request, "holdout_share", holdout, form=form)
        share_bp = form.cleaned_data["share_bp"]
        if request.POST.get("step") == "confirm":
            reason = form.cleaned_data["reason"]
            holdout = layers.hold_out(share_bp, by=person(request), now=timezone.now(), reason=reason)
            self.log_change(request, holdout, f"Share {in_percent(share_bp)}. {reason}".strip())
            messages.success(request, f"The holdout is {in_percent(share_bp)} of all units from now on.")
            return HttpResponseRedirect(reverse("admin:experiments_holdout_changelist"))
        for field in form.fields.values():
            field.widget = field.hidden_widget()
        effects = effects_of_share(holdout, share_bp)
        return self._page(request, "holdout_share", holdout, form=form, effects=effects)

    def _page(self, request: HttpRequest, template: str, holdout: Holdout, **context: Any) -> HttpResponse:
        frame = {
            **self.admin_site.each_context(request),
            "title": "Global holdout",
            "opts": self.opts,
            "holdout": holdout,
            "share": in_percent(holdout.share_bp),
            "may_change": request.user.has_perm("experiments.change_holdout"),
            "media": self.media,
        }
        return TemplateResponse(request, f"experiments/{template}.html", frame | context)


def _holdout() -> Holdout:
    """Without a row nobody is held out; the first change makes it, with its audit."""
    return Holdout.objects.first() or Holdout()


def effects_of_share(holdout: Holdout, share_bp: int) -> list[str]:
    """What a new share does, before it is confirmed."""
    obeying = Experiment.objects.filter(obeys_holdout=True)
    under_way = obeying.filter(state__in=UNDER_WAY).count()
    before = holdout.share_bp
    if share_bp > before:
        who = "Who is held out stays held out, and others join them."
    else:
        who = "Some who are held out now may take part again: what they missed so far can then no longer be compared."
    return [
        f"Experiments that start from now on leave {in_percent(share_bp)} of all units alone, instead of "
        f"{in_percent(before)}. {who}",
        f"{plural(under_way, 'experiment', 'experiments')} under way {'keeps' if under_way == 1 else 'keep'} the holdout "
        "of the start: nobody moves, and no analysis restarts.",
        "Held-out units get every control's config.",
    ]
