"""Lists that begin with an answer, as every other page does."""

from typing import Any

from django.contrib.admin import ModelAdmin
from django.http import HttpRequest, HttpResponse

from triageops.admin import Tone


class FirstLine(ModelAdmin[Any]):
    """Shown by `monitoring/list_head.html`, before the rows."""

    def first_line(self, request: HttpRequest) -> tuple[str, Tone]:
        raise NotImplementedError

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = dict(extra_context or {})
        if request.method == "GET":
            context["first_line"], context["first_tone"] = self.first_line(request)
        return super().changelist_view(request, context)
