"""Who got which variant: rows to look up, never to edit."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from experiments.models import Assignment, Variant
from triageops.admin import EstimatedPaginator, ReadOnlyAdmin
from triageops.wording import moment

_EXPERIMENT = "experiment__id__exact"


class VariantFilter(admin.SimpleListFilter):
    """The variants of the experiment that the list is narrowed to; absent before, since keys repeat."""

    title = "variant"
    parameter_name = "variant"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Assignment]
    ) -> list[tuple[str, str]]:
        experiment = request.GET.get(_EXPERIMENT, "")
        if not experiment.isdecimal():
            return []
        return [(str(row.pk), row.key) for row in Variant.objects.filter(experiment_id=int(experiment))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Assignment]) -> QuerySet[Assignment]:
        value = self.value()
        return queryset.filter(variant_id=int(value)) if value and value.isdecimal() else queryset


@admin.register(Assignment)
class AssignmentAdmin(ReadOnlyAdmin):
    list_display = ("unit", "experiment", "variant", "bucket", "epoch", "generation", "assigned")
    list_filter = ("experiment", VariantFilter)
    list_select_related = ("experiment", "variant")
    list_before_template = "experiments/assignment_list_head.html"
    fields = ("unit", "experiment", "variant", "bucket", "epoch", "generation", "assigned")
    readonly_fields = ("assigned",)
    search_fields = ("unit",)
    search_help_text = "The whole unit, exactly as the client sends it."
    paginator = EstimatedPaginator
    show_full_result_count = False
    sortable_by = ()

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Assignment], search_term: str
    ) -> tuple[QuerySet[Assignment], bool]:
        # Whole and as it is: that is one step in the index, where a part of a unit would read the table.
        return (queryset.filter(unit=search_term) if search_term else queryset), False

    @admin.display(description="assigned")
    def assigned(self, row: Assignment) -> SafeString:
        return moment(row.assigned_at)
