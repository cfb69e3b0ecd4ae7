"""OFREP, by plain functions: it is asked for every answer of an application, and DRF would cost as much as the rest."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import APIException

from experiments import allocation, asking, catalogue, ofrep
from experiments.allocation import Asked, checked_unit
from experiments.ofrep import ErrorCode, Refused
from feedback.authentication import admitted, check_scope, secret_in
from feedback.intake import written
from feedback.models import Scope
from triageops.rest import InvalidInput, NotFound, Unavailable, problem_handler

_MAX_BYTES = 1_048_576


def _answer(body: object, status: int = 200) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(body), content_type="application/json", status=status)


def _refused(key: str | None, code: ErrorCode, details: str, status: int = 400) -> HttpResponse:
    named = {} if key is None else {"key": key}
    return _answer(named | {"errorCode": code.value, "errorDetails": details}, status)


def _guarded(
    request: HttpRequest, key: str | None, evaluate: Callable[[Mapping[str, Any]], HttpResponse]
) -> HttpResponse:
    """The answer of `evaluate` to the request's context; each refusal has the status and body that OFREP asks for."""
    if request.method != "POST":
        response = _refused(key, ErrorCode.GENERAL, "This address takes POST.", 405)
        response["Allow"] = "POST"
        return response
    try:
        check_scope(admitted(secret_in(request.META), timezone.now()), Scope.EXPERIMENTS_ASSIGN)
        if int(request.META.get("CONTENT_LENGTH") or 0) > _MAX_BYTES:
            return _refused(key, ErrorCode.GENERAL, f"The body is larger than {_MAX_BYTES} bytes.", 413)
        return written(lambda: evaluate(ofrep.context_of(request.body)))
    except Refused as refused:
        return _refused(key, refused.code, refused.details)
    except NotFound as problem:
        return _answer(ofrep.unknown(key or "", problem), problem.status)
    except APIException as error:
        return _denied(key, error)
    except (OperationalError, InterfaceError, Unavailable) as error:
        problem_handler(error, {})  # logs it
        response = _refused(key, ErrorCode.GENERAL, f"{Unavailable.title}.", Unavailable.status)
        response["Retry-After"] = "1"
        return response


def _denied(key: str | None, error: APIException) -> HttpResponse:
    """401, 403 or 429."""
    response = _refused(key, ErrorCode.GENERAL, str(error.detail), error.status_code)
    wait = getattr(error, "wait", None)
    if wait is not None:
        # Whole seconds: clients read no other form of it reliably.
        response["Retry-After"] = str(max(1, math.ceil(wait)))
    if error.status_code == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


@csrf_exempt
def evaluate(request: HttpRequest, key: str) -> HttpResponse:
    """One flag for one context."""

    def answer(context: Mapping[str, Any]) -> HttpResponse:
        definition = allocation.known(key)
        try:
            asked = asking.asked_in_context(definition, context)
        except InvalidInput as problem:
            raise ofrep.refusal(problem, definition) from None
        decision = allocation.decide([asked], now=timezone.now())[0]
        return _answer(ofrep.success(definition, asked.unit, decision))

    return _guarded(request, key, answer)


@csrf_exempt
def evaluate_all(request: HttpRequest) -> HttpResponse:
    """All flags for one context; 304 with no body when the client has them."""

    def answer(context: Mapping[str, Any]) -> HttpResponse:
        body = msgspec.json.encode({"flags": _flags(context)})
        etag = ofrep.etag_of(body)
        if ofrep.is_known(etag, request.META.get("HTTP_IF_NONE_MATCH", "")):
            response = HttpResponse(status=304)
            del response["Content-Type"]
        else:
            response = HttpResponse(body, content_type="application/json")
        response["ETag"] = etag
        return response

    return _guarded(request, None, answer)


def _flags(context: Mapping[str, Any]) -> list[ofrep.Body]:
    """A success or a failure for each published flag, by key. Raises Refused without a unit."""
    if not context.get("id"):
        raise Refused(ErrorCode.TARGETING_KEY_MISSING, "The context has no targetingKey.")
    try:
        checked_unit(context["id"])
    except InvalidInput as problem:
        raise ofrep.refusal(problem) from None
    found: dict[str, ofrep.Body] = {}
    questions: list[Asked] = []
    for definition in catalogue.definitions().values():
        if not ofrep.is_published(definition):
            continue
        try:
            questions.append(asking.asked_in_context(definition, context))
        except InvalidInput as problem:
            refused = ofrep.refusal(problem, definition)
            found[definition.key] = ofrep.failure(definition.key, refused.code, refused.details)
    decisions = allocation.decide(questions, now=timezone.now())
    for asked, decision in zip(questions, decisions, strict=True):
        found[decision.experiment] = ofrep.success(asked.definition, asked.unit, decision)
    return [found[key] for key in sorted(found)]


@csrf_exempt
def no_such_address(request: HttpRequest, address: str) -> HttpResponse:
    said = f"There is nothing at /ofrep/{address}; flags are at /ofrep/v1/evaluate/flags."
    return _answer({"errorCode": ErrorCode.GENERAL.value, "errorDetails": said}, 404)
