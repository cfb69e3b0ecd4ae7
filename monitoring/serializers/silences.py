"""Silences and maintenance windows."""

from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.db.models import DateTimeField, Model, QuerySet, Value
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from experiments.serializers import StrictSerializer, TextField, WordField
from monitoring.models import MaintenanceWindow, Silence
from monitoring.models.silence import Repeats
from monitoring.quiet import windows
from monitoring.quiet.silences import COMMENT_MAX, LONGEST, matchers_of, state_of
from monitoring.routing.matchers import MATCHERS_MAX, InvalidMatcher, Matcher, as_text, from_api, parse
from triageops.rest import InvalidInput

MOST_SECONDS = int(LONGEST.total_seconds())


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "example": 'alertname="helpfulness floor", variant=~"claude-.*"'},
            {"type": "array", "items": {"type": "object"}, "maxItems": MATCHERS_MAX},
        ]
    }
)
class MatchersField(serializers.Field[Any, Any, Any, Any]):
    """As a text, `severity="error", team=~"a|b"`, or as a list of such texts or of objects as Alertmanager's API has them."""

    def to_internal_value(self, data: Any) -> list[Matcher]:
        try:
            return self._read(data)
        except InvalidMatcher as error:
            raise serializers.ValidationError(str(error)) from None

    def _read(self, data: Any) -> list[Matcher]:
        """Raises InvalidMatcher."""
        given = [data] if isinstance(data, str) else data
        if not isinstance(given, list) or len(given) > MATCHERS_MAX:
            raise InvalidMatcher(f"Send a text, or a list of at most {MATCHERS_MAX} matchers.")
        found: list[Matcher] = []
        for one in given:
            if isinstance(one, str):
                found += parse(one)
            elif isinstance(one, dict):
                found.append(from_api(one))
            else:
                raise InvalidMatcher("A matcher is a text, or an object with name and value.")
        return found

    def to_representation(self, value: Any) -> Any:
        return value


class SilenceSerializer(serializers.ModelSerializer[Silence]):
    """`matchers` as Alertmanager's API has them, `text` as people write them."""

    matchers = serializers.ListField(child=serializers.DictField())
    text = serializers.SerializerMethodField()
    state = serializers.SerializerMethodField()

    class Meta:
        model = Silence
        fields: ClassVar = [
            "id", "state", "matchers", "text", "starts_at", "ends_at", "comment", "created_by", "created_at",
            "updated_at", "ended_by",
        ]  # fmt: skip

    def get_text(self, silence: Silence) -> str:
        return as_text(matchers_of(silence))

    @extend_schema_field({"type": "string", "enum": ["active", "pending", "expired"]})
    def get_state(self, silence: Silence) -> str:
        return state_of(silence, _now(silence))


def seen_at(rows: QuerySet[Any], now: datetime) -> QuerySet[Any]:
    """Rows that know at which time they are shown: their state depends on it."""
    shown: QuerySet[Any] = rows.annotate(seen_at=Value(now, DateTimeField()))
    return shown


def shown_at(row: Any, now: datetime) -> Any:
    row.seen_at = now
    return row


def _now(row: Model) -> datetime:
    found: datetime = getattr(row, "seen_at")  # noqa: B009 - an annotation
    return found


class _Ending(StrictSerializer):
    """Either `seconds` from its start, or `ends_at`."""

    ends_at = serializers.DateTimeField(required=False)
    seconds = serializers.IntegerField(required=False, min_value=1, max_value=MOST_SECONDS)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = ("seconds" in attrs) + ("ends_at" in attrs)
        if given == 2 or (given == 0 and not self.partial):
            raise InvalidInput(
                "It is not clear when it ends.", field="seconds", fix="Send either seconds or ends_at."
            )
        return attrs


class IncidentSilenceInputSerializer(_Ending):
    comment = TextField(max_length=COMMENT_MAX)


class SilenceInputSerializer(_Ending):
    matchers = MatchersField()
    starts_at = serializers.DateTimeField(required=False, help_text="By default now.")
    comment = TextField(max_length=COMMENT_MAX)


def end_of(body: dict[str, Any], starts_at: datetime, present: datetime | None = None) -> datetime:
    """present: the end when nothing is said of it, which the serializer allows for changes only."""
    if "seconds" in body:
        return starts_at + timedelta(seconds=body["seconds"])
    found: datetime = body["ends_at"] if present is None else body.get("ends_at", present)
    return found


class SpanSerializer(serializers.Serializer[object]):
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()


class MaintenanceWindowSerializer(serializers.ModelSerializer[MaintenanceWindow]):
    """`words` says it in plain words; `open` is the time at which it is open now, `next` the next one."""

    matchers = serializers.ListField(child=serializers.DictField())
    words = serializers.SerializerMethodField()
    open = serializers.SerializerMethodField()
    next = serializers.SerializerMethodField()

    class Meta:
        model = MaintenanceWindow
        fields: ClassVar = [
            "id", "name", "matchers", "repeats", "zone", "weekdays", "month_day", "start", "duration_seconds", "starts_at",
            "ends_at", "comment", "is_enabled", "created_by", "created_at", "words", "open", "next",
        ]  # fmt: skip

    def get_words(self, window: MaintenanceWindow) -> str:
        return windows.in_words(window)

    @extend_schema_field(SpanSerializer(allow_null=True))
    def get_open(self, window: MaintenanceWindow) -> dict[str, Any] | None:
        return _span(windows.open_at(window, _now(window)))

    @extend_schema_field(SpanSerializer(allow_null=True))
    def get_next(self, window: MaintenanceWindow) -> dict[str, Any] | None:
        return _span(windows.next_after(window, _now(window)))


class MaintenanceWindowInputSerializer(StrictSerializer):
    """Once: `starts_at` and `ends_at`. Weekly: `weekdays`, `start` and `duration_seconds`. Monthly: `month_day` and those."""

    name = TextField(max_length=100)
    matchers = MatchersField(required=False, help_text="None: everything.")
    repeats = WordField(Repeats.choices, required=False)
    zone = TextField(max_length=64, required=False)
    weekdays = TextField(max_length=40, required=False, allow_blank=True)
    month_day = serializers.IntegerField(required=False, allow_null=True, min_value=-31, max_value=31)
    start = serializers.TimeField(required=False, allow_null=True)
    duration_seconds = serializers.IntegerField(required=False, min_value=60, max_value=31 * 86_400)
    starts_at = serializers.DateTimeField(required=False, help_text="By default now.")
    ends_at = serializers.DateTimeField(required=False, allow_null=True)
    comment = TextField(max_length=1_000, required=False, allow_blank=True)
    is_enabled = serializers.BooleanField(required=False)


def _span(span: windows.Span | None) -> dict[str, Any] | None:
    return None if span is None else SpanSerializer({"starts_at": span[0], "ends_at": span[1]}).data
