"""Alertmanager's API v2, so that amtool, Prometheus and what else speaks it work with the incidents and silences here.

Refusals are texts in JSON, as the real one sends them. Who calls needs an API key all the same.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.models import Scope
from monitoring import problems
from monitoring.labels import public_labels_of
from monitoring.models import Channel, MessageKind, OutboxMessage, Silence, Source
from monitoring.outgoing.mirroring import KEPT
from monitoring.quiet import causes, silences
from monitoring.reports.reported import take_alerts
from monitoring.routing.matchers import Matcher, matches_all, parse
from monitoring.routing.patterns import InvalidPattern, whole_match
from monitoring.serializers.alertmanager import (
    GivenSilence,
    alert_shape,
    fingerprint,
    groups_of,
    read_silence,
    silence_shape,
    time_text,
)
from monitoring.tasks import wake_delivery
from monitoring.views.alertmanager_answers import AlertmanagerView, Refused
from monitoring.views.silences import caller

ALERTS_MAX = 5_000
SILENCES_MAX = 5_000
_TRUE = frozenset({"true", "1", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled"})
_STATES = ("active", "pending", "expired")


class StatusView(AlertmanagerView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ}

    def get(self, _request: Request) -> Response:
        now = timezone.now()
        names = _channel_names()
        # What reads it expects a configuration that holds together; the routes are at /api/v1/routes.
        original = f"route:\n  receiver: {json.dumps(names[0] if names else 'none')}\nreceivers:\n"
        original += "".join(f"- name: {json.dumps(name)}\n" for name in names or ["none"])
        version = {
            "version": "0.25.0",
            "branch": "TriageOps",
            "revision": "",
            "buildUser": "",
            "buildDate": "",
        }
        return Response(
            {
                "cluster": {"peers": [], "status": "disabled"},
                "config": {"original": original},
                "uptime": time_text(problems.steady_since(now)),
                "versionInfo": {**version, "goVersion": ""},
            }
        )


class AlertsView(AlertmanagerView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ, "POST": Scope.INCIDENTS_WRITE}

    def get(self, request: Request) -> Response:
        return Response(_alerts(request))

    def post(self, request: Request) -> HttpResponse:
        """As Prometheus sends them. Those that are right are taken though others are refused."""
        given = request.data
        if not isinstance(given, list):
            raise Refused(400, "the body is no list of alerts")
        if len(given) > ALERTS_MAX:
            raise Refused(413, f"there are {len(given)} alerts; at most {ALERTS_MAX} are taken at once")
        taken = take_alerts(given, source=Source.PROMETHEUS, actor=caller(request), now=timezone.now())
        wake_delivery()
        if taken.mistakes:
            said = "; ".join(f"alert {one.index}: {one.field}: {one.detail}" for one in taken.mistakes[:10])
            raise Refused(400, said)
        return HttpResponse()


class GroupsView(AlertmanagerView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ}

    def get(self, request: Request) -> Response:
        return Response(groups_of(_alerts(request)))


class ReceiversView(AlertmanagerView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ}

    def get(self, _request: Request) -> Response:
        return Response([{"name": name} for name in _channel_names()])


class SilencesView(AlertmanagerView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ, "POST": Scope.INCIDENTS_WRITE}

    def get(self, request: Request) -> Response:
        """Those that hold first, by their end; those that ended a few days ago are there too."""
        now = timezone.now()
        wanted = _filters(request)
        rows = Silence.objects.filter(ends_at__gt=now - KEPT).order_by("ends_at", "id")
        found = [silence_shape(one, now) for one in rows[:SILENCES_MAX]]
        shown = [
            one for one in found if matches_all(wanted, {m["name"]: m["value"] for m in one["matchers"]})
        ]
        return Response(sorted(shown, key=lambda one: _STATES.index(one["status"]["state"])))

    def post(self, request: Request) -> Response:
        """A new one, or with an id a changed one."""
        given = read_silence(request.data)
        try:
            silence = _stored(given)
        except Silence.DoesNotExist:
            raise Refused(404, "silence not found") from None
        except silences.InvalidSilence as error:
            raise Refused(400, f"silence invalid: {error.detail}") from None
        wake_delivery()
        return Response({"silenceID": str(silence.pk)})


class SilenceView(AlertmanagerView):
    required_scopes: ClassVar = {"GET": Scope.INCIDENTS_READ, "DELETE": Scope.INCIDENTS_WRITE}

    def get(self, _request: Request, silence_id: str) -> Response:
        silence = Silence.objects.filter(pk=_uuid(silence_id, "path")).first()
        if silence is None:
            raise Refused(404, "silence not found")
        return Response(silence_shape(silence, timezone.now()))

    def delete(self, request: Request, silence_id: str) -> HttpResponse:
        by = caller(request)
        try:
            silences.end(_uuid(silence_id, "path"), by=by, now=timezone.now())
        except Silence.DoesNotExist:
            raise Refused(404, "silence not found") from None
        except silences.SilenceOver:
            raise Refused(400, f"silence {silence_id} already expired") from None
        wake_delivery()
        return HttpResponse()


def _stored(given: GivenSilence) -> Silence:
    """Raises InvalidSilence or Silence.DoesNotExist."""
    now = timezone.now()
    values: dict[str, Any] = {
        "starts_at": given.starts_at,
        "ends_at": given.ends_at,
        "comment": given.comment,
        "created_by": given.created_by,
        "now": now,
    }
    if given.ends_at < given.starts_at:
        raise Refused(400, "Failed to create silence: start time must be before end time")
    if given.ends_at < now:
        raise Refused(400, "Failed to create silence: end time can't be in the past")
    if given.id:
        return silences.change(_uuid(given.id, "body"), given.matchers, **values)
    return silences.make(given.matchers, **values)


def _alerts(request: Request) -> list[dict[str, Any]]:
    """Open incidents that the query asks for, in the order of their fingerprints."""
    now, wanted = timezone.now(), _filters(request)
    is_receiver = _receiver(request)
    asked = {
        name: request.GET.get(name, "true").lower() in _TRUE for name in ("active", "silenced", "inhibited")
    }
    incidents = list(causes.unresolved().genuine())
    found = causes.of_all(incidents, now)
    receivers = _receivers()
    fingerprints = {str(one.pk): fingerprint(public_labels_of(one)) for one in incidents}
    shapes = (
        alert_shape(one, why, receivers[one.pk], fingerprints, now)
        for one, why in zip(incidents, found, strict=True)
        if one.is_open
    )
    shown = (one for one in shapes if _is_asked_for(one["status"], asked))
    matching = (one for one in shown if matches_all(wanted, one["labels"]))
    told = (
        one
        for one in matching
        if is_receiver is None or any(is_receiver(r["name"]) for r in one["receivers"])
    )
    return sorted(told, key=lambda one: str(one["fingerprint"]))


def _is_asked_for(status: Mapping[str, Any], asked: Mapping[str, bool]) -> bool:
    if status["state"] == "active":
        return asked["active"]
    if status["silencedBy"] and not asked["silenced"]:
        return False
    return asked["inhibited"] or not status["inhibitedBy"]


def _filters(request: Request) -> list[Matcher]:
    """Raises InvalidMatcher."""
    return [one for text in request.GET.getlist("filter") for one in parse(text)]


def _receiver(request: Request) -> Any:
    text = request.GET.get("receiver", "")
    try:
        return whole_match(text) if text else None
    except InvalidPattern as error:
        raise Refused(400, f"failed to parse receiver param: {error}") from None


def _receivers() -> dict[UUID, list[str]]:
    """Names of the channels that each open incident was, or is to be, told to."""
    rows = OutboxMessage.objects.filter(
        kind=MessageKind.TRIGGER, incident__in=causes.unresolved().open().values("pk")
    )
    found: dict[UUID, list[str]] = defaultdict(list)
    for incident, name in rows.order_by("channel__name").values_list("incident", "channel__name").distinct():
        if incident is not None:
            found[incident].append(name)
    return found


def _channel_names() -> list[str]:
    return list(
        Channel.objects.enabled().exclude(kind="sink").order_by("name").values_list("name", flat=True)
    )


def _uuid(text: str, where: str) -> UUID:
    if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text):
        said = f'silenceID in {where} must be of type uuid: "{text[:64]}"'
        raise Refused(422, {"code": 601, "message": said})
    return UUID(text)
