"""What the calls about one experiment begin with: which one, as the caller saw it, and who calls."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.serializers import BaseSerializer

from experiments.allocation import UnknownExperiment
from experiments.definition import is_key
from experiments.models import Experiment
from feedback.authentication import grant_in
from feedback.models import ApiKey
from triageops.rest import InvalidInput

Input = TypeVar("Input", bound=BaseSerializer[Any])


def found(key: str, experiments: QuerySet[Experiment] | None = None) -> Experiment:
    """Raises UnknownExperiment."""
    rows = Experiment.objects.all() if experiments is None else experiments
    experiment = rows.filter(key=key).first() if is_key(key) else None
    if experiment is None:
        raise UnknownExperiment(key)
    return experiment


def as_seen(key: str, request: Request, body: Mapping[str, Any], *, is_needed: bool = False) -> Experiment:
    """The experiment in the version that the caller means, if it says so: in the body, or by If-Match."""
    experiment = found(key)
    version = body.get("version")
    header = request.META.get("HTTP_IF_MATCH", "").strip()
    if version is None and header and header != "*":
        text = header.removeprefix("W/").strip('"')
        if not re.fullmatch("[0-9]{1,9}", text):
            raise InvalidInput(
                f"If-Match {header!r} is no version.", field="If-Match", fix="Send the ETag as it was given."
            )
        version = int(text)
    if version is None and is_needed:
        raise InvalidInput(
            "The version is missing.",
            field="version",
            fix="Send the version that you looked at, so that no change of somebody else is lost.",
        )
    if version is not None:
        if type(version) is not int:
            raise InvalidInput(
                "The version is no whole number.", field="version", fix="Send it as it was read."
            )
        experiment.version = version
    return experiment


def caller(request: Request) -> ApiKey:
    """The key itself: it stands in the audit."""
    return ApiKey.objects.get(pk=grant_in(request).key_id)


def checked(serializer: type[Input], request: Request) -> dict[str, Any]:
    """The body, when it fits. Raises InvalidInput or DRF's ValidationError."""
    given = serializer(data=request.data)
    given.is_valid(raise_exception=True)
    return dict(given.validated_data)
