"""The payload of GrowthBook's SDKs: the same bytes for all who ask, until an experiment changes."""

import threading
from dataclasses import dataclass

import msgspec
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import APIException, MethodNotAllowed

from experiments import catalogue, ofrep, sdk_payload
from experiments.models import AllocationEpoch
from feedback.authentication import admitted, check_scope
from feedback.models import Scope
from triageops.rest import Problem, problem_handler

# A page that was loaded just before the kill switch may go on with what it has for as long as these two together.
CACHE_CONTROL = "public, max-age=30, stale-while-revalidate=30, stale-if-error=36000"


@dataclass(frozen=True)
class _Kept:
    number: int = -1
    body: bytes = b""
    etag: str = ""


_state = {"kept": _Kept()}
_lock = threading.Lock()


@csrf_exempt
def features(request: HttpRequest, client_key: str) -> HttpResponse:
    """All experiments, for everybody who has a key that may read them; the key stands in pages, so it is no secret."""
    try:
        response = _answer(request, client_key)
    except (APIException, Problem, OperationalError, InterfaceError) as error:
        refused = problem_handler(error, {})
        assert refused is not None
        response = refused
        response["Cache-Control"] = "no-store"
    response["Access-Control-Allow-Origin"] = "*"
    response["Access-Control-Expose-Headers"] = "ETag"
    return response


def _answer(request: HttpRequest, client_key: str) -> HttpResponse:
    if request.method == "OPTIONS":
        return _allowed()
    if request.method not in {"GET", "HEAD"}:
        raise MethodNotAllowed(request.method or "")
    check_scope(admitted(client_key, timezone.now()), Scope.SDK_READ)
    kept = _current()
    if ofrep.is_known(kept.etag, request.META.get("HTTP_IF_NONE_MATCH", "")):
        response = HttpResponse(status=304)
        del response["Content-Type"]
    else:
        response = HttpResponse(kept.body, content_type="application/json")
    response["ETag"] = kept.etag
    response["Cache-Control"] = CACHE_CONTROL
    return response


def _allowed() -> HttpResponse:
    response = HttpResponse(status=204)
    response["Access-Control-Allow-Methods"] = "GET, HEAD, OPTIONS"
    response["Access-Control-Allow-Headers"] = "content-type, if-none-match, cache-control"
    response["Access-Control-Max-Age"] = "86400"
    return response


def _current() -> _Kept:
    """The payload, made anew when an experiment changed."""
    catalogue.definitions()
    kept = _state["kept"]
    if kept.number == catalogue.number():
        return kept
    with _lock:
        # Before what it numbers: when that changes in between, the payload is made once more.
        number = catalogue.number()
        definitions = catalogue.definitions()
        running = [one.id for one in definitions.values() if one.is_running]
        epochs: dict[int, list[AllocationEpoch]] = {}
        for epoch in AllocationEpoch.objects.filter(experiment__in=running).order_by("number"):
            epochs.setdefault(epoch.experiment_id, []).append(epoch)
        body = msgspec.json.encode(sdk_payload.payload(definitions.values(), epochs))
        kept = _state["kept"] = _Kept(number, body, ofrep.etag_of(body))
    return kept
