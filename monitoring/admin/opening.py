"""What every page that is no form of one row begins with."""

from typing import Any

from django.contrib.admin import ModelAdmin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Count, IntegerField, Subquery, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.template.response import TemplateResponse

from monitoring.reading.inbox import needing_somebody

Admin = ModelAdmin[Any]


def few(number: float) -> str:
    """A number of alarms, in two digits; nobody needs to tell a hundredth from less."""
    return "less than 0.01" if 0 < number < 0.01 else f"{float(f'{number:.2g}'):g}"


def require(request: HttpRequest, *permissions: str) -> None:
    """Any of them is enough. Raises PermissionDenied."""
    if not any(request.user.has_perm(one) for one in permissions):
        raise PermissionDenied


def person(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


def render(admin: Admin, request: HttpRequest, template: str, title: str, **context: Any) -> TemplateResponse:
    frame = {
        **admin.admin_site.each_context(request),
        "title": title,
        "media": admin.media,
        "has_view_permission": True,
    }
    return TemplateResponse(request, f"monitoring/{template}.html", frame | context)


def needing_count() -> Coalesce:
    """How many incidents need somebody, for a query that is made anyway; `keep_count` gives it to the sidebar."""
    every = needing_somebody().order_by().values(every=Value(1))
    counted = Subquery(every.annotate(count=Count("pk")).values("count"))
    return Coalesce(counted, 0, output_field=IntegerField())


def keep_count(request: HttpRequest, row: Any) -> None:
    """row: annotated with needing_count."""
    if row is not None:
        request.__dict__["needing_count"] = row.needing_count
