"""What is typed: which monitor, and settings as name=value."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.utils.dateparse import parse_datetime
from rest_framework import serializers

from monitoring.models import Monitor
from monitoring.serializers import MonitorInputSerializer
from triageops.rest import InvalidInput, NotFound

Values = dict[str, Any]

_LISTS = ("split_by", "channels")
_MAPPINGS = ("where", "control", "parameters")


def monitor_named(text: str) -> Monitor:
    """By its number or its name. Raises NotFound."""
    rows = Monitor.objects.select_related("reference").prefetch_related("channels", "slices")
    found = rows.filter(name=text).first()
    if found is None and text.isdecimal() and len(text) < 18:
        found = rows.filter(pk=int(text)).first()
    if found is None:
        raise NotFound(f"There is no monitor “{text}”.", fix="Name one that `monitors list` shows.")
    return found


def person(name: str | None) -> User | None:
    """Raises NotFound."""
    if name is None:
        return None
    found = User.objects.filter(username=name).first()
    if found is None:
        raise NotFound(f"There is no user “{name}”.")
    return found


def moment(text: str | None, option: str) -> datetime | None:
    """A time with its zone. Raises InvalidInput."""
    if text is None:
        return None
    try:
        at = parse_datetime(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise InvalidInput(f"{option} {text!r} is no time with a zone, such as 2026-01-31T12:00:00Z.")
    return at


def settings_of(pairs: Sequence[str], present: Monitor | None = None) -> Values:
    """Of texts such as severity=error, where.model=gpt-4, split_by=model,variant or parameters={"level": 0.8}.

    where.model=… changes one member of what the monitor has now. Raises InvalidInput.
    """
    values: Values = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign:
            raise InvalidInput(f"“{pair}” is not of the form name=value.")
        name, _, member = name.strip().partition(".")
        if member and name in _MAPPINGS:
            begun = values.get(name, getattr(present, name, {}))
            values[name] = {**(begun if isinstance(begun, Mapping) else {}), member: _member(name, text)}
        else:
            values[f"{name}.{member}" if member else name] = _read(name, text)
    return values


def checked(serializer: type[serializers.BaseSerializer[Any]], data: Values, **options: Any) -> Values:
    """As REST takes it. Raises InvalidInput and DRF's ValidationError."""
    given = serializer(data=data, **options)
    given.is_valid(raise_exception=True)
    return dict(given.validated_data)


def _member(name: str, text: str) -> Any:
    return _json(text) if name == "parameters" else text


def _read(name: str, text: str) -> Any:
    field = MonitorInputSerializer().fields.get(name)
    if name in _LISTS and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    is_text = isinstance(field, serializers.CharField | serializers.ChoiceField | serializers.DateTimeField)
    if is_text and text != "null":
        return text
    return _json(text)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
