"""The ledger: what became of everything that each key sent."""

from django.contrib import admin
from django.db.models import F, Min, QuerySet, Sum, Window
from django.http import HttpRequest
from django.utils.safestring import SafeString

from feedback.models import LedgerEntry
from triageops import wording
from triageops.admin import ReadOnlyAdmin, Tone, badge

_COUNTS = ("received", "stored", "repeated", "rejected")


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    """One line per key, day and kind: the first shard stands for all, with their sums."""

    list_display = ("day", "sender", "kind_of_fact", "received", "stored", "repeated", "rejected", "closes")
    list_display_links = None
    list_filter = ("kind", "api_key")
    list_select_related = ("api_key",)
    ordering = ("-day", "api_key", "kind")
    fields = list_display
    readonly_fields = fields
    show_full_result_count = False
    sortable_by = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[LedgerEntry]:
        lines = [F("api_key"), F("day"), F("kind")]
        sums = {f"{name}_sum": Window(Sum(f"{name}_count"), partition_by=lines) for name in _COUNTS}
        first = Window(Min("shard"), partition_by=lines)
        return (
            super().get_queryset(request).annotate(first_shard=first, **sums).filter(shard=F("first_shard"))
        )

    @admin.display(description="API key")
    def sender(self, line: LedgerEntry) -> str:
        return str(line.api_key)

    @admin.display(description="kind")
    def kind_of_fact(self, line: LedgerEntry) -> str:
        return line.get_kind_display()

    @admin.display(description="received")
    def received(self, line: LedgerEntry) -> str:
        return _count_of(line, "received")

    @admin.display(description="stored")
    def stored(self, line: LedgerEntry) -> str:
        return _count_of(line, "stored")

    @admin.display(description="repeated")
    def repeated(self, line: LedgerEntry) -> str:
        return _count_of(line, "repeated")

    @admin.display(description="rejected")
    def rejected(self, line: LedgerEntry) -> str:
        return _count_of(line, "rejected")

    @admin.display(description="closes")
    def closes(self, line: LedgerEntry) -> SafeString:
        received, *others = (getattr(line, f"{name}_sum") for name in _COUNTS)
        return badge("closes") if received == sum(others) else badge("does not close", Tone.HARM)


def _count_of(line: LedgerEntry, name: str) -> str:
    return wording.count(getattr(line, f"{name}_sum"))
