"""Template filters over triageops.wording: {{ value|share }}, {{ at|moment }}."""

from datetime import datetime

from django import template
from django.utils.safestring import SafeString

from triageops import wording

register = template.Library()

register.filter("count", wording.count)
register.filter("significant", wording.number)
register.filter("share", wording.share)
register.filter("seconds", wording.seconds)
register.filter("money", wording.money)


@register.filter
def moment(at: datetime | None, missing: str = "never") -> SafeString:
    """A time that the page's script turns into "3 min ago" in the reader's own zone."""
    return wording.moment(at, missing)


@register.filter
def due(at: datetime | None, missing: str = "unknown") -> SafeString:
    """A time to come."""
    return wording.due(at, missing)


@register.filter
def cell(value: object) -> object:
    """A table's cell: times as times, everything else as it is."""
    return wording.moment(value, exact=True) if isinstance(value, datetime) else value
