"""A draft is a form; after the start it is a page to read, with the buttons that move it."""

from functools import partial
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Count, Prefetch, QuerySet, prefetch_related_objects
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from unfold.widgets import UnfoldAdminSplitDateTimeWidget

from experiments import audit, lifecycle, overview
from experiments.admin import changes, columns, moves, pages, power, requests, results, transfer
from experiments.admin.fieldsets import DRAFT, READ, READ_ONLY, Fieldsets
from experiments.admin.inlines import (
    MetricInline,
    MetricTable,
    RampInline,
    RampTable,
    VariantInline,
    VariantTable,
)
from experiments.admin.listing import LayerFilter, OwnerFilter, StateFilter
from experiments.admin.opening import APPROVE, CHANGE, back, links
from experiments.audit import Change
from experiments.forms import ExperimentForm
from experiments.models import Experiment, Variant
from triageops.admin import NoDeleteAdmin

PAGES = {
    "weights": changes.weights,
    "coverage": changes.coverage,
    "revise": changes.revise,
    "decide": requests.decide,
    "epochs": pages.epochs,
    "forced": pages.forced,
    "audit": pages.audit,
    "ask": pages.ask,
    "clone": transfer.clone,
    "export": transfer.export,
    "details": transfer.details,
    "results": results.live,
    "look": results.look,
    "numbers": results.numbers,
    "power": power.page,
}


@admin.register(Experiment)
class ExperimentAdmin(NoDeleteAdmin):
    form = ExperimentForm
    list_display = (
        "key", columns.shown_state, columns.shown_variants, "layer", "owner", columns.started, columns.assigned,
    )  # fmt: skip
    list_filter = (StateFilter, LayerFilter, OwnerFilter)
    search_fields = ("key", "name")
    list_before_template = "experiments/experiment_list_head.html"
    change_form_outer_before_template = "experiments/experiment_head.html"
    readonly_fields = READ_ONLY

    class Media:
        css = {"all": ("experiments/experiments.css",)}
        js = ("triageops/live.js",)

    def get_urls(self) -> list[URLPattern]:
        own = {move.name: partial(moves.page, move=move) for move in moves.MOVES} | PAGES
        of_one = [
            path(
                f"<path:object_id>/{name}/",
                self.admin_site.admin_view(partial(page, self)),
                name=f"experiments_experiment_{name}",
            )
            for name, page in own.items()
        ]
        imported = path(
            "import/",
            self.admin_site.admin_view(partial(transfer.import_, self)),
            name="experiments_experiment_import",
        )
        return [imported, *of_one, *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Experiment]:
        experiments: QuerySet[Experiment] = super().get_queryset(request)
        related = experiments.select_related("layer", "owner", "review_requested_by")
        return related.prefetch_related(Prefetch("variants", Variant.objects.counted()))

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Experiment | None:
        found: Experiment | None = super().get_object(request, object_id, from_field)
        if found is not None and request.method == "POST" and connection.in_atomic_block:
            # Locked until the commit, so that the form compares its version with the one that it will replace.
            locked = Experiment.objects.select_for_update(no_key=True)
            found.refresh_from_db(fields=["version", "state"], from_queryset=locked)
        if found is not None:
            prefetch_related_objects([found], "metrics", "ramp")
        return found

    def get_inlines(self, request: HttpRequest, obj: Experiment | None) -> tuple[Any, ...]:
        if obj is None or self.has_change_permission(request, obj):
            return (VariantInline, MetricInline, RampInline)
        return (VariantTable, MetricTable, *([RampTable] if obj.ramp.all() else []))

    def get_fieldsets(self, request: HttpRequest, obj: Experiment | None = None) -> Fieldsets:
        return DRAFT if obj is None or self.has_change_permission(request, obj) else READ

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"owner": request.user.pk} | super().get_changeform_initial_data(request)

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        if db_field.name in {"starts_at", "stops_at", "planned_end_at"}:
            options["label"] = f"{db_field.verbose_name.removesuffix(' at').capitalize()} (UTC)"
            options["widget"] = UnfoldAdminSplitDateTimeWidget
        return super().formfield_for_dbfield(db_field, request, **options)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_open = not isinstance(obj, Experiment) or obj.is_draft
        return is_open and bool(super().has_change_permission(request))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *places: Any, **options: Any
    ) -> HttpResponse:
        obj: Experiment | None = context["original"]
        if obj is not None:
            context |= self._overview(request, obj)
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
            # Read anew: what the page has prefetched is what was there before.
            Change(Experiment.objects.get(pk=form.instance.pk)),
            "edit" if change else "create",
            by=by,
            now=timezone.now(),
            reason="",
            before=request.experiment_before,  # type: ignore[attr-defined]
        )

    def response_post_save_add(self, request: HttpRequest, obj: Experiment) -> HttpResponse:
        return back(obj)

    def response_post_save_change(self, request: HttpRequest, obj: Experiment) -> HttpResponse:
        return back(obj)

    def _overview(self, request: HttpRequest, experiment: Experiment) -> dict[str, Any]:
        variants = list(experiment.variants.all())
        is_draft = experiment.is_draft
        may_change = request.user.has_perm(CHANGE)
        return {
            "experiment": experiment,
            "sentence": overview.sentence(experiment, variants, timezone.now()),
            "tone": overview.tone(experiment.state),
            "buttons": moves.buttons(experiment, request.user),
            "changes": moves.change_buttons(experiment) if may_change else [],
            "may_change": may_change,
            "may_add": self.has_add_permission(request),
            "may_approve": request.user.has_perm(APPROVE),
            "links": links(experiment),
            "here": "change",
            "missing": lifecycle.missing_for_start(experiment, variants) if is_draft else [],
            "recommended": lifecycle.recommended_for_start(experiment) if is_draft else [],
            "waiting": requests.waiting(experiment, request),
            **results.results_context(request, experiment),
        }
