"""Admin bases: facts are read-only, nothing is deleted by hand, big tables are never counted in full.

    @admin.register(Response)
    class ResponseAdmin(ReadOnlyAdmin):        # look, don't touch
        paginator = EstimatedPaginator         # tables that grow without bound
        show_full_result_count = False

    @admin.register(Experiment)
    class ExperimentAdmin(NoDeleteAdmin):      # add and change, never delete
        inlines = [VariantInline]              # a NoDelete/ReadOnly inline: unfold.admin.TabularInline + the mixin below

A method of a ModelAdmin that changes state is an unfold `@action`; it calls one function of the app's job module and
writes the log entry with `self.log_change(request, row, message)`. Times in lists: `moment(row.started_at)`; states:
`badge("late", Tone.LOOK)`.
"""

import json
from enum import StrEnum
from functools import cached_property
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from triageops import wording
from triageops.wording import moment

__all__ = [
    "EstimatedPaginator",
    "NoDeleteAdmin",
    "NoDeletePermission",
    "ReadOnlyAdmin",
    "ReadOnlyPermission",
    "Tone",
    "as_uuid",
    "badge",
    "moment",
]


class Tone(StrEnum):
    """What a colour means, the same on every page; a word always stands beside it."""

    NEUTRAL = "neutral"
    GOOD = "good"
    LOOK = "look"
    HARM = "harm"


_ICONS = {Tone.GOOD: "check_circle", Tone.LOOK: "error", Tone.HARM: "cancel"}


def badge(word: str, tone: Tone = Tone.NEUTRAL) -> SafeString:
    """A state as a word on a coloured ground, with an icon of its own, so that it is never told by colour alone."""
    icon = _ICONS.get(tone)
    if icon is None:
        return format_html('<span class="to-badge to-neutral">{}</span>', word)
    return format_html(
        '<span class="to-badge to-{}"><span class="material-symbols-outlined" aria-hidden="true">{}</span>{}</span>',
        tone.value,
        icon,
        word,
    )


def as_uuid(text: object) -> UUID:
    """The id in an address; where somebody typed something else, the nil id, which no row has."""
    try:
        return UUID(str(text))
    except ValueError:
        return UUID(int=0)


class Count(int):
    """A number of rows that writes itself with separators; a guess says so."""

    is_guess = False

    def __str__(self) -> str:
        return f"about {wording.count(self)}" if self.is_guess else wording.count(self)


class EstimatedPaginator(Paginator[Any]):
    """Counts exactly up to `exact_limit` rows; above, the planner's guess stands in, and late pages are not offered.

    An exact count matters below one page only: the admin reads a table whole when it believes that it fits there.
    """

    exact_limit = 10_000
    page_limit = 200

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        if not isinstance(rows, QuerySet):
            return len(rows)
        # order_by() and values() keep the count on an index; the slice stops it.
        found = Count(rows.order_by().values("pk")[: self.exact_limit + 1].count())
        if found > self.exact_limit:
            found = Count(max(found, planned_rows(rows)))
            found.is_guess = True
        return found

    @cached_property
    def num_pages(self) -> int:
        return min(super().num_pages, self.page_limit)


def planned_rows(rows: QuerySet[Any]) -> int:
    """How many rows PostgreSQL expects; it reads statistics only, so the answer may be off by a tenth or more."""
    plan = json.loads(rows.order_by().values("pk").explain(format="json"))
    return int(plan[0]["Plan"]["Plan Rows"])


class NoDeletePermission:
    """Rows end by a change of state, so that what they explain stays explained."""

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class ReadOnlyPermission(NoDeletePermission):
    """Rows are facts: the API and the workers write them, people read them."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class NoDeleteAdmin(NoDeletePermission, ModelAdmin):
    """Add and change, never delete."""

    list_per_page = 50
    compressed_fields = True
    warn_unsaved_form = True


class ReadOnlyAdmin(ReadOnlyPermission, ModelAdmin):
    """Look, don't touch."""

    list_per_page = 50
    compressed_fields = True

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changelist = super().get_changelist_instance(request)
        if not self.show_full_result_count:
            # The theme offers "Show all" when the two differ, and one that was never counted differs.
            changelist.full_result_count = changelist.result_count
        return changelist


admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(DjangoUserAdmin[User], ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "first_name", "last_name", "is_active", "is_superuser", "last_login")
    list_filter = ("is_active", "is_superuser")


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    pass
