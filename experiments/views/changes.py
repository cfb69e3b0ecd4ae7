"""What is done to an experiment: transitions, new weights, a new coverage, new configs, forced units."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.views import APIView

from experiments import epochs, forcing, lifecycle
from experiments.lifecycle import NeedsPerson
from experiments.models import EpochKind, Experiment
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
from triageops.rest import InvalidInput

Body = dict[str, Any]
Act = Callable[..., object]

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


def _described_as(
    operation_id: str, body: type[Serializer[Any]] | None, answer: object, status: int = 200
) -> Callable[[Act], Act]:
    """The schema of a call that changes something."""
    return extend_schema(
        operation_id=operation_id, request=body, parameters=[IF_MATCH], responses={status: answer} | REFUSALS
    )


def _asked(
    body_type: type[Serializer[Any]], request: Request, key: str, *, is_version_needed: bool = True
) -> tuple[Experiment, Body, dict[str, Any]]:
    """The experiment as the caller saw it, the body, and what every change takes: who, when and why.

    A preview changes nothing, so it needs no version.
    """
    body = checked(body_type, request)
    is_needed = is_version_needed and not body.get("dry_run")
    experiment = as_seen(key, request, body, is_needed=is_needed)
    return experiment, body, {"by": caller(request), "now": timezone.now(), "reason": body["reason"]}


def _needed(body: Body, name: str, action: str) -> Any:
    value = body.get(name)
    if value is None or value == "":
        raise InvalidInput(f"{name} is missing, which {action} needs.", field=name, fix="Send it.")
    return value


def _move(experiment: Experiment, body: Body, common: dict[str, Any]) -> None:
    action = body["action"]
    if action in _OF_PEOPLE:
        raise NeedsPerson(
            "A review is between two people; a key is none.", field="action", fix="Do this in the admin."
        )
    if action in _NEED_REASON:
        _needed(body, "reason", action)
    if action == "ship":
        lifecycle.ship(experiment, _needed(body, "variant", action), **common)
    elif action == "schedule":
        lifecycle.schedule(experiment, at=body.get("at"), **common)
    else:
        _PLAIN[action](experiment, **common)


class _ChangeView(APIView):
    required_scopes: ClassVar = {"POST": Scope.EXPERIMENTS_WRITE}


class TransitionsView(_ChangeView):
    @_described_as("experiments_transition", TransitionSerializer, ExperimentDetailSerializer)
    def post(self, request: Request, key: str) -> Response:
        """Move it to another state. What only people may do (reviews, resuming after a halt) is a 409, `needs-person`."""
        experiment, body, common = _asked(TransitionSerializer, request, key, is_version_needed=False)
        _move(experiment, body, common)
        return described(experiment)


class WeightsView(_ChangeView):
    @_described_as("experiments_change_weights", WeightsSerializer, _CHANGED_OR_PREVIEW)
    def post(self, request: Request, key: str) -> Response:
        """New weights by a new epoch: `sticky`, `minimal_move` or `rerandomise`; needs `version`.

        With `dry_run` nothing is changed, and the answer says what it would do to the units that have a variant.
        """
        experiment, body, common = _asked(WeightsSerializer, request, key)
        kind, weights = EpochKind(body["kind"]), body["weights"]
        if body["dry_run"]:
            return Response(PreviewSerializer(asdict(epochs.preview(experiment, kind, weights))).data)
        epochs.change_weights(experiment, kind, weights, **common)
        return described(experiment)


class CoverageView(_ChangeView):
    @_described_as("experiments_change_coverage", CoverageSerializer, ExperimentDetailSerializer)
    def post(self, request: Request, key: str) -> Response:
        """A new coverage: a larger one moves nobody, and with a smaller one who is in stays in. Needs `version`."""
        experiment, body, common = _asked(CoverageSerializer, request, key)
        epochs.cover(experiment, body["coverage_bp"], **common)
        return described(experiment)


class RevisionsView(_ChangeView):
    @_described_as("experiments_revise_variants", RevisionSerializer, ExperimentDetailSerializer)
    def post(self, request: Request, key: str) -> Response:
        """New configs while it is under way: new versions of the variants, and the analysis starts anew. Needs `version`."""
        experiment, body, common = _asked(RevisionSerializer, request, key)
        epochs.revise(experiment, body["configs"], **common)
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
        return Response(ForcedSerializer(forcing.forced(found(key), unit)).data)

    @_described_as("experiments_force", ForceSerializer, ForcedSerializer)
    def put(self, request: Request, key: str, unit: str) -> Response:
        """Give this unit this variant from now on; it is in no analysis any more."""
        experiment, body, common = _asked(ForceSerializer, request, key, is_version_needed=False)
        row = forcing.force(experiment, unit, body["variant"], **common)
        return Response(ForcedSerializer(row).data)

    @_described_as("experiments_unforce", None, None, 204)
    def delete(self, request: Request, key: str, unit: str) -> Response:
        """Treat this unit as any other again; it stays out of the analysis."""
        experiment = as_seen(key, request, {})
        forcing.unforce(experiment, unit, by=caller(request), now=timezone.now())
        return Response(status=204)
