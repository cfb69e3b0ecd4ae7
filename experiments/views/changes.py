"""What is done to an experiment: transitions, new weights, a new coverage, new configs, forced units."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from experiments import epochs, forcing, lifecycle
from experiments.allocation import checked_unit
from experiments.lifecycle import NeedsPerson
from experiments.models import EpochKind, Experiment, ForcedVariant
from experiments.serializers import (
    CoverageSerializer,
    ExperimentDetailSerializer,
    ForcedListSerializer,
    ForcedSerializer,
    ForceSerializer,
    PreviewSerializer,
    RevisionSerializer,
    TransitionSerializer,
    WeightsSerializer,
)
from experiments.views.definitions import IF_MATCH, REFUSALS, described
from experiments.views.opened import as_seen, caller, checked, found
from feedback.models import Scope
from feedback.serializers import ProblemSerializer
from triageops.rest import InvalidInput, NotFound

Act = Callable[..., Experiment]

_CHANGED_OR_PREVIEW = PolymorphicProxySerializer(
    component_name="ChangedOrPreview",
    serializers=[ExperimentDetailSerializer, PreviewSerializer],
    resource_type_field_name=None,
)

_PLAIN: dict[str, Act] = {
    "back_to_draft": lifecycle.back_to_draft,
    "start": lifecycle.start,
    "pause": lifecycle.pause,
    "resume": lifecycle.resume,
    "kill": lifecycle.kill,
    "stop": lifecycle.stop,
    "unship": lifecycle.unship,
    "archive": lifecycle.archive,
}
_OF_PEOPLE = frozenset({lifecycle.REQUEST_REVIEW.action, lifecycle.APPROVE.action})
_NEED_REASON = frozenset(one.action for one in lifecycle.TABLE if one.needs_reason)


def _needed(body: dict[str, Any], name: str, action: str) -> Any:
    value = body.get(name)
    if value is None or value == "":
        raise InvalidInput(f"{name} is missing, which {action} needs.", field=name, fix="Send it.")
    return value


def _act(experiment: Experiment, body: dict[str, Any], by: Any, now: datetime) -> None:
    action = body["action"]
    if action in _OF_PEOPLE:
        raise NeedsPerson(
            "A review is between two people; a key is none.", field="action", fix="Do this in the admin."
        )
    if action in _NEED_REASON:
        _needed(body, "reason", action)
    common = {"by": by, "now": now, "reason": body["reason"]}
    if action == "ship":
        lifecycle.ship(experiment, _needed(body, "variant", action), **common)
    elif action == "schedule":
        lifecycle.schedule(experiment, at=body.get("at"), **common)
    else:
        _PLAIN[action](experiment, **common)


class TransitionsView(APIView):
    required_scopes: ClassVar = {"POST": Scope.EXPERIMENTS_WRITE}

    @extend_schema(
        operation_id="experiments_transition",
        request=TransitionSerializer,
        parameters=[IF_MATCH],
        responses={200: ExperimentDetailSerializer} | REFUSALS,
    )
    def post(self, request: Request, key: str) -> Response:
        """Move it to another state. What only people may do (reviews, resuming after a halt) is a 409, `needs-person`."""
        body = checked(TransitionSerializer, request)
        experiment = as_seen(key, request, body)
        _act(experiment, body, caller(request), timezone.now())
        return described(experiment)


class WeightsView(APIView):
    required_scopes: ClassVar = {"POST": Scope.EXPERIMENTS_WRITE}

    @extend_schema(
        operation_id="experiments_change_weights",
        request=WeightsSerializer,
        parameters=[IF_MATCH],
        responses={200: _CHANGED_OR_PREVIEW} | REFUSALS,
    )
    def post(self, request: Request, key: str) -> Response:
        """New weights by a new epoch: `sticky`, `minimal_move` or `rerandomise`; needs `version`.

        With `dry_run` nothing is changed, and the answer says what it would do to the units that have a variant.
        """
        body = checked(WeightsSerializer, request)
        kind, weights = EpochKind(body["kind"]), body["weights"]
        if body["dry_run"]:
            preview = epochs.preview(as_seen(key, request, body), kind, weights)
            return Response(PreviewSerializer(asdict(preview)).data)
        experiment = as_seen(key, request, body, is_needed=True)
        epochs.change_weights(
            experiment, kind, weights, by=caller(request), now=timezone.now(), reason=body["reason"]
        )
        return described(experiment)


class CoverageView(APIView):
    required_scopes: ClassVar = {"POST": Scope.EXPERIMENTS_WRITE}

    @extend_schema(
        operation_id="experiments_change_coverage",
        request=CoverageSerializer,
        parameters=[IF_MATCH],
        responses={200: ExperimentDetailSerializer} | REFUSALS,
    )
    def post(self, request: Request, key: str) -> Response:
        """A new coverage: a larger one moves nobody, and with a smaller one who is in stays in. Needs `version`."""
        body = checked(CoverageSerializer, request)
        experiment = as_seen(key, request, body, is_needed=True)
        epochs.cover(
            experiment, body["coverage_bp"], by=caller(request), now=timezone.now(), reason=body["reason"]
        )
        return described(experiment)


class RevisionsView(APIView):
    required_scopes: ClassVar = {"POST": Scope.EXPERIMENTS_WRITE}

    @extend_schema(
        operation_id="experiments_revise_variants",
        request=RevisionSerializer,
        parameters=[IF_MATCH],
        responses={200: ExperimentDetailSerializer} | REFUSALS,
    )
    def post(self, request: Request, key: str) -> Response:
        """New configs while it is under way: new versions of the variants, and the analysis starts anew. Needs `version`."""
        body = checked(RevisionSerializer, request)
        experiment = as_seen(key, request, body, is_needed=True)
        epochs.revise(
            experiment, body["configs"], by=caller(request), now=timezone.now(), reason=body["reason"]
        )
        return described(experiment)


class ForcedListView(APIView):
    required_scopes: ClassVar = {"GET": Scope.EXPERIMENTS_READ}

    @extend_schema(
        operation_id="experiments_forced_list", responses={200: ForcedListSerializer, 404: ProblemSerializer}
    )
    def get(self, request: Request, key: str) -> Response:
        """Units that get a chosen variant; at most 1 000."""
        rows = found(key).forced.standing().select_related("variant", "by")
        return Response(ForcedListSerializer({"results": rows}).data)


class ForcedView(APIView):
    required_scopes: ClassVar = {
        "GET": Scope.EXPERIMENTS_READ,
        "PUT": Scope.EXPERIMENTS_WRITE,
        "DELETE": Scope.EXPERIMENTS_WRITE,
    }

    @extend_schema(
        operation_id="experiments_forced_read", responses={200: ForcedSerializer, 404: ProblemSerializer}
    )
    def get(self, request: Request, key: str, unit: str) -> Response:
        """The variant that this unit is forced to."""
        return Response(ForcedSerializer(_standing(found(key), unit)).data)

    @extend_schema(
        operation_id="experiments_force",
        request=ForceSerializer,
        parameters=[IF_MATCH],
        responses={200: ForcedSerializer} | REFUSALS,
    )
    def put(self, request: Request, key: str, unit: str) -> Response:
        """Give this unit this variant from now on; it is in no analysis any more."""
        body = checked(ForceSerializer, request)
        row = forcing.force(
            as_seen(key, request, body),
            unit,
            body["variant"],
            by=caller(request),
            now=timezone.now(),
            reason=body["reason"],
        )
        return Response(ForcedSerializer(row).data)

    @extend_schema(
        operation_id="experiments_unforce",
        request=None,
        parameters=[IF_MATCH],
        responses={204: None} | REFUSALS,
    )
    def delete(self, request: Request, key: str, unit: str) -> Response:
        """Treat this unit as any other again; it stays out of the analysis."""
        experiment = as_seen(key, request, {})
        forcing.unforce(experiment, checked_unit(unit), by=caller(request), now=timezone.now())
        return Response(status=204)


def _standing(experiment: Experiment, unit: str) -> ForcedVariant:
    rows = experiment.forced.standing().select_related("variant", "by")
    row = rows.filter(unit=checked_unit(unit)).first()
    if row is None:
        raise NotFound(f"The unit {unit!r} is not forced.")
    return row
