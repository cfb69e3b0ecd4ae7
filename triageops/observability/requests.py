"""A request id for every request, and one log line for each that failed or was slow."""

import logging
import re
import time
from collections.abc import Callable

import structlog
from django.http import HttpRequest, HttpResponse
from uuid_utils import uuid7

log = structlog.get_logger(__name__)
_lines = logging.getLogger(__name__)

_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,128}")
_SLOW_SECONDS = 1.0
_FAILED_STATUS = 500


class RequestContextMiddleware:
    """Takes the caller's X-Request-ID when it is a plain word, else makes one; binds it to the log context."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if _ACCEPTED.fullmatch(given) else str(uuid7())
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        began = time.perf_counter()
        response = self.get_response(request)
        seconds = time.perf_counter() - began
        match = request.resolver_match
        response["X-Request-ID"] = request_id
        is_notable = response.status_code >= _FAILED_STATUS or seconds > _SLOW_SECONDS
        if is_notable or _lines.isEnabledFor(logging.DEBUG):
            (log.warning if is_notable else log.debug)(
                "request.finished",
                method=request.method,
                route=match.route if match else "",
                status=response.status_code,
                seconds=round(seconds, 4),
            )
        return response
