"""Which variant units get: one, many, or one in all experiments; and what a unit was given, without giving it anything."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

import msgspec
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from experiments import allocation, asking
from experiments.allocation import Asked, Decision, checked_unit
from experiments.models import Assignment
from experiments.placement import Attributes, Definition
from experiments.serializers import (
    AssignAllRequestSerializer,
    AssignedAllSerializer,
    AssignmentsSerializer,
    AssignRequestSerializer,
    DecisionSerializer,
)
from experiments.views.opened import found
from feedback.intake import written
from feedback.models import Scope
from feedback.serializers import ProblemSerializer
from triageops.rest import InvalidInput, Problem, check_query

_ONE = ("unit", "attributes")
_MANY = ("units",)
_ALL = ("unit", "attributes", "experiments")
_MISSING = 'Send {"unit": "<pseudonymous id>"}.'


def _answer(body: object) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(body), content_type="application/json")


def _known_fields(body: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in body:
        if name not in known:
            raise InvalidInput(
                f"The field {name!r} is not known.",
                field=name,
                fix=f"Leave it out; known: {', '.join(known)}.",
            )


def _object(data: Any) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise InvalidInput("The body is not a JSON object.", fix=_MISSING)
    return data


def _unit_and_attributes(body: Mapping[str, Any]) -> tuple[str, Attributes]:
    """A number is refused, since 5 and "5" would silently be one unit."""
    if "unit" not in body:
        raise InvalidInput("The unit is missing.", field="unit", fix=_MISSING)
    unit, attributes = body["unit"], body.get("attributes", {})
    if not isinstance(unit, str):
        raise InvalidInput("The unit is not text.", field="unit", fix="Send the id as a JSON string.")
    if not isinstance(attributes, dict):
        raise InvalidInput("attributes is not an object.", field="attributes", fix='Send {"language": "es"}.')
    return checked_unit(unit), attributes


def _decided(questions: list[Asked | Problem], now: datetime) -> list[Decision | Problem]:
    """In order; what is a problem already stays one."""
    good = [one for one in questions if isinstance(one, Asked)]
    decisions = iter(written(lambda: allocation.decide(good, now=now)))
    return [next(decisions) if isinstance(one, Asked) else one for one in questions]


class AssignView(APIView):
    required_scopes: ClassVar = {"POST": Scope.EXPERIMENTS_ASSIGN}

    @extend_schema(
        operation_id="experiments_assign",
        request=AssignRequestSerializer,
        responses={200: DecisionSerializer, 400: ProblemSerializer, 404: ProblemSerializer},
    )
    def post(self, request: Request, key: str) -> HttpResponse:
        """The variant of one unit. The first call stores it; every later call gives the same answer.

        With `units` instead of `unit`, up to 1 000 at once: `results` has a decision with `unit` for each, in order, or
        `unit` and `problem` for one that cannot be assigned.
        """
        body = _object(request.data)
        definition = allocation.known(key)
        if "units" in body:
            return _answer({"results": _of_many(definition, body, timezone.now())})
        _known_fields(body, _ONE if "unit" in body else (*_ONE, *_MANY))
        asked = asking.asked(definition, *_unit_and_attributes(body))
        return _answer(written(lambda: allocation.decide([asked], now=timezone.now()))[0])


def _of_many(definition: Definition, body: Mapping[str, Any], now: datetime) -> list[dict[str, Any]]:
    _known_fields(body, _MANY)
    units = body["units"]
    if not isinstance(units, list) or len(units) > asking.MOST_UNITS:
        raise InvalidInput(
            f"units is no list of at most {asking.MOST_UNITS}.",
            field="units",
            fix="Split it into several calls.",
        )
    questions = [_question(definition, one) for one in units]
    answers = zip(units, _decided(questions, now), strict=True)
    return [_line("unit", one.get("unit") if isinstance(one, dict) else one, said) for one, said in answers]


def _question(definition: Definition, one: Any) -> Asked | Problem:
    try:
        if isinstance(one, str):
            return asking.asked(definition, checked_unit(one), {})
        if not isinstance(one, dict):
            return InvalidInput("This is no unit.", field="units", fix="Send text, or an object with `unit`.")
        _known_fields(one, _ONE)
        return asking.asked(definition, *_unit_and_attributes(one))
    except InvalidInput as problem:
        return problem


def _line(name: str, value: object, said: Decision | Problem) -> dict[str, Any]:
    if isinstance(said, Problem):
        return {name: _readable(value), "problem": {k: _readable(v) for k, v in said.as_dict().items()}}
    found: dict[str, Any] = msgspec.to_builtins(said, builtin_types=(datetime,))
    return {name: value} | found


def _readable(value: object) -> object:
    """What was sent, as far as it can be sent back: half a surrogate pair cannot, and what is no text is left out."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return value if type(value) is int and abs(value) < 2**53 else None


class AssignAllView(APIView):
    required_scopes: ClassVar = {"POST": Scope.EXPERIMENTS_ASSIGN}

    @extend_schema(
        operation_id="experiments_assign_all",
        request=AssignAllRequestSerializer,
        responses={200: AssignedAllSerializer, 400: ProblemSerializer, 404: ProblemSerializer},
    )
    def post(self, request: Request) -> HttpResponse:
        """One unit's variants in all running experiments, or in those that `experiments` names.

        An experiment of other units (its `unit_attribute`) takes the unit from `attributes`; without it, it is left out.
        """
        body = _object(request.data)
        _known_fields(body, _ALL)
        unit, attributes = _unit_and_attributes(body)
        context = {**attributes, "id": unit}
        definitions = asking.open_to(context, _keys(body))
        answers = _decided([_in_context(one, context) for one in definitions], timezone.now())
        lines = [_line("experiment", one.key, said) for one, said in zip(definitions, answers, strict=True)]
        return _answer({"unit": unit, "results": lines})


def _keys(body: Mapping[str, Any]) -> list[str] | None:
    keys = body.get("experiments")
    if keys is None:
        return None
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(keys) > 1_000:
        raise InvalidInput("experiments is no list of keys.", field="experiments", fix='Send ["key", …].')
    return list(dict.fromkeys(keys))


def _in_context(definition: Definition, context: Attributes) -> Asked | Problem:
    try:
        return asking.asked_in_context(definition, context)
    except InvalidInput as problem:
        return problem


class AssignmentsView(APIView):
    required_scopes: ClassVar = {"GET": Scope.EXPERIMENTS_READ}

    @extend_schema(
        operation_id="experiments_assignments",
        parameters=[
            OpenApiParameter("unit", str, required=True),
            OpenApiParameter("attributes", str, description="A JSON object, for the targeting."),
        ],
        responses={200: AssignmentsSerializer, 400: ProblemSerializer, 404: ProblemSerializer},
    )
    def get(self, request: Request, key: str) -> Response:
        """What a unit was given, and what it would get now; the question enrols nobody."""
        check_query(request.query_params, frozenset({"unit", "attributes"}))
        experiment, unit = found(key), checked_unit(request.query_params.get("unit", ""))
        asked = asking.asked(allocation.known(key), unit, _attributes(request))
        decision = allocation.decide([asked], now=timezone.now(), is_read_only=True)[0]
        stored = [
            {
                "variant": row.variant.key,
                "bucket": row.bucket,
                "epoch": row.epoch,
                "generation": row.generation,
                "assigned_at": row.assigned_at,
            }
            for row in Assignment.objects.filter(experiment=experiment, unit=unit)
            .select_related("variant")
            .order_by("-generation")
        ]
        return Response(AssignmentsSerializer({"unit": unit, "stored": stored, "decision": decision}).data)


def _attributes(request: Request) -> Attributes:
    text = request.query_params.get("attributes", "{}")
    try:
        found_attributes = json.loads(text)
    except (ValueError, RecursionError):
        found_attributes = None
    if not isinstance(found_attributes, dict):
        raise InvalidInput(
            "attributes is no JSON object.",
            field="attributes",
            fix='Send {"language": "es"}, percent-encoded.',
        )
    return found_attributes
