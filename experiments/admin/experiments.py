"""A draft is a form; after the start it is a page to read, with the buttons that move it."""

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Count, Prefetch, QuerySet
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import action
from unfold.enums import ActionVariant

from experiments import audit, lifecycle, overview
from experiments.admin.inlines import EventInline, VariantInline
from experiments.audit import Change
from experiments.forms import ExperimentForm, MoveForm
from experiments.lifecycle import Transition
from experiments.models import Experiment, State, Variant
from triageops.admin import NoDeleteAdmin, badge
from triageops.rest import Conflict
from triageops.wording import count, moment

_DEFINITION = ("key", "name", "hypothesis", "owner", "unit_kind")


@admin.register(Experiment)
class ExperimentAdmin(NoDeleteAdmin):
    form = ExperimentForm
    inlines = (VariantInline, EventInline)
    list_display = ("key", "name", "shown_state", "shown_variants", "started", "assigned")
    list_filter = ("state", "unit_kind")
    search_fields = ("key", "name")
    list_before_template = "experiments/experiment_list_head.html"
    change_form_outer_before_template = "experiments/experiment_head.html"
    readonly_fields = ("coverage", "started", "stopped", "salt")
    actions_detail = ("start", "stop")

    class Media:
        css = {"all": ("experiments/experiments.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Experiment]:
        experiments: QuerySet[Experiment] = super().get_queryset(request)
        return experiments.prefetch_related(Prefetch("variants", Variant.objects.counted()))

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Experiment | None:
        found: Experiment | None = super().get_object(request, object_id, from_field)
        if found is not None and request.method == "POST" and connection.in_atomic_block:
            # Locked until the commit, so that the form compares its version with the one that it will replace.
            locked = Experiment.objects.select_for_update(no_key=True)
            found.refresh_from_db(fields=["version", "state"], from_queryset=locked)
        return found

    def get_inlines(self, request: HttpRequest, obj: Experiment | None) -> tuple[Any, ...]:
        return self.inlines if obj is not None else (VariantInline,)

    def get_fieldsets(
        self, request: HttpRequest, obj: Experiment | None = None
    ) -> list[tuple[str | None, dict[str, Any]]]:
        if obj is None or obj.is_draft:
            return [(None, {"fields": (*_DEFINITION, "coverage_bp", "seen_version")})]
        return [(None, {"fields": (*_DEFINITION, "coverage", "started", "stopped", "salt")})]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"owner": request.user.pk} | super().get_changeform_initial_data(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # The theme asks with an id instead of a row for its buttons; those have a permission of their own.
        is_open = not isinstance(obj, Experiment) or obj.is_draft
        return is_open and bool(super().has_change_permission(request))

    def has_move_permission(self, request: HttpRequest, object_id: object = None) -> bool:
        return request.user.has_perm("experiments.change_experiment")

    def get_actions_detail(self, request: HttpRequest, object_id: object) -> list[Any]:
        pk = str(object_id)
        state = pk.isdecimal() and Experiment.objects.filter(pk=pk).values_list("state", flat=True).first()
        names = {f"experiments_experiment_{move.action}" for move in lifecycle.allowed(state or "")}
        return [one for one in super().get_actions_detail(request, object_id) if one.action_name in names]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *places: Any, **options: Any
    ) -> HttpResponse:
        obj: Experiment | None = context["original"]
        if obj is not None:
            context |= self._overview(obj)
        return super().render_change_form(request, context, *places, **options)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        rows = Experiment.objects.order_by().values_list("state").annotate(Count("pk"))
        context = {"sentence": overview.sentence_of_all(dict(rows))} | (extra_context or {})
        return super().changelist_view(request, context)

    def save_model(
        self,
        request: HttpRequest,
        obj: Experiment,
        form: ModelForm[Experiment],
        change: bool,  # noqa: FBT001
    ) -> None:
        request.experiment_before = audit.snapshot(Experiment.objects.get(pk=obj.pk)) if change else {}  # type: ignore[attr-defined]
        if change:
            obj.version += 1
        super().save_model(request, obj, form, change)

    def save_related(
        self,
        request: HttpRequest,
        form: ModelForm[Experiment],
        formsets: Any,
        change: bool,  # noqa: FBT001
    ) -> None:
        super().save_related(request, form, formsets, change)
        by = request.user if isinstance(request.user, User) else None
        audit.write(
            Change(form.instance),
            "edit" if change else "create",
            by=by,
            now=timezone.now(),
            reason="",
            before=request.experiment_before,  # type: ignore[attr-defined]
        )

    def response_post_save_add(self, request: HttpRequest, obj: Experiment) -> HttpResponse:
        return HttpResponseRedirect(_page_of(obj))

    def response_post_save_change(self, request: HttpRequest, obj: Experiment) -> HttpResponse:
        return HttpResponseRedirect(_page_of(obj))

    @action(
        description="Start",
        url_path="start",
        icon="play_arrow",
        variant=ActionVariant.PRIMARY,
        permissions=["move"],
    )
    def start(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._move(request, object_id, lifecycle.START, lifecycle.start, overview.effects_of_start)

    @action(
        description="Stop", url_path="stop", icon="stop", variant=ActionVariant.DANGER, permissions=["move"]
    )
    def stop(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._move(request, object_id, lifecycle.STOP, lifecycle.stop, overview.effects_of_stop)

    def _move(
        self,
        request: HttpRequest,
        object_id: str,
        transition: Transition,
        move: Callable[..., Experiment],
        effects: Callable[[Experiment, Sequence[Variant]], list[str]],
    ) -> HttpResponse:
        """Shows what the transition does and asks; on POST does it."""
        experiment = self.get_object(request, object_id)
        if experiment is None:
            raise Http404
        form = MoveForm(request.POST or None, initial={"version": experiment.version})
        if request.method == "POST" and form.is_valid():
            self._try(request, experiment, form, transition, move)
            return HttpResponseRedirect(_page_of(experiment))
        if experiment.state not in transition.sources:
            messages.error(request, f"The experiment is {experiment.state}; it cannot {transition.action}.")
            return HttpResponseRedirect(_page_of(experiment))
        variants = list(experiment.variants.all())
        missing = lifecycle.missing_for_start(experiment, variants) if transition is lifecycle.START else []
        context = {
            **self.admin_site.each_context(request),
            "title": f"{transition.action.capitalize()} {experiment.key}",
            "opts": self.opts,
            "experiment": experiment,
            "verb": transition.action,
            "missing": missing,
            "effects": [] if missing else effects(experiment, variants),
            "arms": overview.arms(variants),
            "form": form,
            "page": _page_of(experiment),
            "media": self.media,
        }
        return TemplateResponse(request, "experiments/move.html", context)

    def _try(
        self,
        request: HttpRequest,
        experiment: Experiment,
        form: MoveForm,
        transition: Transition,
        move: Callable[..., Experiment],
    ) -> None:
        # The version that the person saw; lifecycle refuses when it is not the current one.
        experiment.version = form.cleaned_data["version"]
        reason = form.cleaned_data["reason"]
        by = request.user if isinstance(request.user, User) else None
        try:
            moved = move(experiment, by=by, now=timezone.now(), reason=reason)
        except Conflict as refused:
            messages.error(request, " ".join(filter(None, (refused.detail, refused.fix))))
            return
        self.log_change(request, moved, f"{transition.action.capitalize()}. {reason}".strip())
        messages.success(request, f"The experiment {moved.key} is {moved.state}.")

    def _overview(self, experiment: Experiment) -> dict[str, Any]:
        variants = list(experiment.variants.all())
        href = reverse("admin:experiments_assignment_changelist") + f"?experiment__id__exact={experiment.pk}"
        is_draft = experiment.state == State.DRAFT
        return {
            "sentence": overview.sentence(experiment, variants, timezone.now()),
            "missing": lifecycle.missing_for_start(experiment, variants) if is_draft else [],
            "chart": None if is_draft else overview.split_chart(experiment, variants, href),
            "has_no_units": experiment.is_running and not any(arm.assigned_count for arm in variants),
        }

    @admin.display(description="state", ordering="state")
    def shown_state(self, experiment: Experiment) -> SafeString:
        return badge(experiment.state)

    @admin.display(description="variants")
    def shown_variants(self, experiment: Experiment) -> str:
        variants = list(experiment.variants.all())
        return render_to_string("experiments/split.html", {"arms": overview.arms(variants)})

    @admin.display(description="coverage")
    def coverage(self, experiment: Experiment) -> str:
        return experiment.coverage_in_percent

    @admin.display(description="started", ordering="started_at")
    def started(self, experiment: Experiment) -> SafeString:
        return moment(experiment.started_at, "not yet")

    @admin.display(description="stopped", ordering="stopped_at")
    def stopped(self, experiment: Experiment) -> SafeString:
        return moment(experiment.stopped_at, "not yet")

    @admin.display(description="units assigned")
    def assigned(self, experiment: Experiment) -> str:
        return count(sum(variant.assigned_count for variant in experiment.variants.all()))


def _page_of(experiment: Experiment) -> str:
    return reverse("admin:experiments_experiment_change", args=(experiment.pk,))
