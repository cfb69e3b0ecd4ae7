"""Refusals as Alertmanager's API v2 sends them: a text in JSON."""

import json
from typing import Any

from django.http import HttpResponse, JsonResponse
from drf_spectacular.utils import extend_schema
from rest_framework.views import APIView

from monitoring.routing.matchers import InvalidMatcher
from monitoring.serializers.alertmanager import Unprocessable
from triageops.rest import problem_handler


class Refused(Exception):
    """What the answer is instead. body: a text, or an object where the real one sends that."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = body


def _handler(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    if isinstance(error, Refused):
        return JsonResponse(error.body, status=error.status, safe=False)
    if isinstance(error, InvalidMatcher):
        return JsonResponse(f"bad matcher: {error}", status=400, safe=False)
    if isinstance(error, Unprocessable):
        return JsonResponse({"code": error.code, "message": error.detail}, status=422)
    answer = problem_handler(error, context)
    if answer is None:
        return None
    text = JsonResponse(json.loads(answer.content)["detail"], status=answer.status_code, safe=False)
    for name in ("WWW-Authenticate", "Retry-After", "Allow"):
        if name in answer:
            text[name] = answer[name]
    return text


@extend_schema(exclude=True)
class AlertmanagerView(APIView):
    def get_exception_handler(self) -> Any:
        return _handler
