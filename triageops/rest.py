"""What all REST endpoints share: problem+json (RFC 9457) and cursor pagination."""

import math
from collections.abc import Sequence
from typing import Any

import structlog
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions, pagination
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings

log = structlog.get_logger(__name__)

TYPE_PREFIX = "/problems/"
"""Problem types are relative references; docs/api.md explains each."""

CONTENT_TYPE = "application/problem+json"

_API = ("/api/v1/", "/api/features/", "/ofrep/", "/alertmanager/")


def is_api(request: HttpRequest) -> bool:
    """Whether a program asks, which has no session and reads no pages."""
    return request.path_info.startswith(_API)


class Problem(Exception):
    """A refusal that the client can understand: `type` is stable, `fix` says what to do."""

    type = "refused"
    title = "Refused"
    status = 400

    def __init__(
        self, detail: str, *, field: str | None = None, fix: str | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.fix = fix
        self.members = members
        self.headers: dict[str, str] = {}

    def as_dict(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "type": TYPE_PREFIX + self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.field is not None:
            body["field"] = self.field
        if self.fix is not None:
            body["fix"] = self.fix
        return body | self.members


class InvalidInput(Problem):
    """One field, or the body as a whole, is not what it must be."""

    type = "invalid-input"
    title = "The input is not valid"


class NotFound(Problem):
    type = "not-found"
    title = "There is no such thing"
    status = 404


class Conflict(Problem):
    """The request is well-formed but contradicts what is stored."""

    type = "conflict"
    title = "This contradicts what is stored"
    status = 409


class TooLarge(Problem):
    type = "too-large"
    title = "The body is too large"
    status = 413


class UnsupportedMediaType(Problem):
    type = "unsupported-media-type"
    title = "This content type is not understood"
    status = 415


class Broken(Problem):
    """An error of ours."""

    type = "internal-error"
    title = "The server failed"
    status = 500


class Unavailable(Problem):
    """The database cannot be reached; nothing was stored that was not acknowledged."""

    type = "unavailable"
    title = "The database cannot be reached"
    status = 503

    def __init__(self) -> None:
        super().__init__("Nothing was stored by this call.", fix="Send it again in a moment; that is safe.")
        self.headers["Retry-After"] = "1"


def problem_response(problem: Problem) -> JsonResponse:
    response = JsonResponse(problem.as_dict(), status=problem.status, content_type=CONTENT_TYPE)
    for name, value in problem.headers.items():
        response[name] = value
    return response


def _first_error(detail: Any, path: str = "") -> tuple[str | None, str]:
    """Field and message of the first error in DRF's nested lists and dicts."""
    if isinstance(detail, dict):
        name, inner = next(iter(detail.items()))
        own = "" if name == api_settings.NON_FIELD_ERRORS_KEY else str(name)
        return _first_error(inner, ".".join(part for part in (path, own) if part))
    if isinstance(detail, list):
        index = next((i for i, item in enumerate(detail) if item), 0)
        inside = path if not isinstance(detail[index], dict) else f"{path}[{index}]"
        return _first_error(detail[index], inside)
    return path or None, str(detail)


def _as_problem(error: Exception, allowed: Sequence[str] = ()) -> Problem | None:
    """allowed: the methods that the address knows."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Http404):
        return NotFound("Nothing is stored under this address.")
    if isinstance(error, OperationalError | InterfaceError):
        log.error("database.unreachable", error=type(error).__name__)
        return Unavailable()
    if isinstance(error, ValidationError | DataError | RecursionError) or "cannot contain NUL" in str(error):
        # What nobody checked before it came to the database or to a parser.
        return InvalidInput("A value in this call cannot be understood or stored.", fix="See /api/docs.")
    if isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if not isinstance(error, exceptions.APIException):
        return None
    return _of_framework(error, allowed)


_TITLES = {
    "method-not-allowed": "Method not allowed",
    "not-acceptable": "Not acceptable",
    UnsupportedMediaType.type: UnsupportedMediaType.title,
}
"""Where the framework's own texts have places to be filled in."""

_FIXES = {
    "parse-error": "Send JSON in UTF-8.",
    "authentication-failed": "Send a key that an admin made: Authorization: Bearer tri_….",
    "not-authenticated": "Send a key that an admin made: Authorization: Bearer tri_….",
    "permission-denied": "Use a key that has this scope.",
    "method-not-allowed": "See /api/docs.",
    "not-acceptable": "Accept application/json.",
    UnsupportedMediaType.type: "Send Content-Type: application/json.",
    "throttled": "Wait as long as Retry-After says.",
    "required": "Send it.",
    "null": "Send a value, or leave it out.",
    "blank": "Send a text that is not empty.",
    "invalid-choice": "Use one of these.",
}
"""By the kind of problem, or of what is wrong with a field."""


def _of_framework(error: exceptions.APIException, allowed: Sequence[str]) -> Problem:
    field, detail = _first_error(error.detail)
    is_about_input = isinstance(error, exceptions.ValidationError)
    code = _first_error(error.get_codes())[1].replace("_", "-")
    problem = Problem(detail, field=field if is_about_input else None)
    problem.status = error.status_code
    problem.type = InvalidInput.type if is_about_input else code
    problem.title = (
        InvalidInput.title if is_about_input else _TITLES.get(problem.type, str(error.default_detail))
    )
    problem.fix = _FIXES.get(code, "Correct this value; see /api/docs." if is_about_input else None)
    if isinstance(error, exceptions.MethodNotAllowed) and allowed:
        problem.fix = f"Use one of: {', '.join(allowed)}."
        problem.headers["Allow"] = ", ".join(allowed)
    wait = getattr(error, "wait", None)
    if wait is not None:
        problem.headers["Retry-After"] = str(max(1, math.ceil(wait)))
    header = getattr(error, "auth_header", None)
    if header:
        problem.headers["WWW-Authenticate"] = header
    return problem


def problem_handler(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """DRF's exception handler: every refusal of the API has the same shape."""
    problem = _as_problem(error, getattr(context.get("view"), "allowed_methods", ()))
    if problem is None:
        log.error("request.failed", exc_info=error)
        problem = Broken("This is our fault; the log knows more under the id in X-Request-ID.")
    return problem_response(problem)


@csrf_exempt
def no_such_address(request: HttpRequest, address: str) -> JsonResponse:
    """What the API says where it has nothing."""
    return problem_response(
        NotFound(
            f"There is nothing at /api/{address}.", fix="Addresses have no slash at their end; see /api/docs."
        )
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """What is said when a view that is no part of DRF fails; Django has logged why."""
    said = "This is our fault; the log knows more under the id in X-Request-ID."
    if request.path_info.startswith("/ofrep/"):
        return JsonResponse({"errorDetails": said}, status=Broken.status)
    return problem_response(Broken(said)) if is_api(request) else defaults.server_error(request)


class JsonOnly(BaseContentNegotiation):
    """The API speaks JSON; what a client accepts is not asked, so a wrong Accept header never loses data."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type


class CursorPagination(pagination.CursorPagination):
    """Newest first; `next` is the whole address of the following page, null on the last."""

    page_size = 100
    page_size_query_param = "page_size"
    max_page_size = 1000
    ordering = "-id"

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any] | None:
        foreign = InvalidInput(
            "This cursor is not one of ours.", field="cursor", fix="Use `next` as it was given."
        )
        try:
            cursor = self.decode_cursor(request)
        except exceptions.NotFound:
            # What the framework says of text that it cannot read.
            raise foreign from None
        position = str(cursor.position) if cursor and cursor.position is not None else None
        if position is not None:
            name = self.get_ordering(request, queryset, view)[0].lstrip("-")
            field = queryset.model._meta.get_field(name)
            try:
                is_good = "\0" not in position and field.get_prep_value(field.to_python(position)) is not None
            except (ValueError, ValidationError):
                is_good = False
            if not is_good:
                raise foreign
        found: list[Any] | None = super().paginate_queryset(queryset, request, view)
        return found

    def get_page_size(self, request: Request) -> int:
        text = request.query_params.get(self.page_size_query_param)
        if text is None:
            return self.page_size
        if not text.isdecimal() or not 1 <= int(text) <= self.max_page_size:
            raise InvalidInput(
                f"page_size={text!r} is not understood.",
                field=self.page_size_query_param,
                fix=f"Send a number from 1 to {self.max_page_size}.",
            )
        return int(text)

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.get_next_link(), "previous": self.get_previous_link()})


def check_query(query: QueryDict, known: frozenset[str]) -> None:
    """Refuse query parameters that an endpoint does not know: a misspelt filter must not return everything."""
    for name in query:
        if name not in known:
            raise InvalidInput(
                f"The query parameter {name!r} is not known.",
                field=name,
                fix=f"Use one of: {', '.join(sorted(known))}.",
            )
