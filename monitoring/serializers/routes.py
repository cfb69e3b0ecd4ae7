"""Routes as they are said and given, the preview of who would be told, and what an import did."""

from typing import Any, ClassVar

from rest_framework import serializers

from experiments.serializers import StrictSerializer, TextField, WordField
from monitoring.models import Digest, EscalationStep, Outside, Route
from monitoring.notifying.route_import import Act
from monitoring.notifying.route_preview import Preview, Way
from monitoring.notifying.route_values import STEP_MAX_SECONDS, STEP_MIN_SECONDS, STEPS_MAX
from monitoring.routing.matchers import parse
from monitoring.routing.tree import Outcome
from monitoring.routing.yaml_text import BYTES_MAX
from triageops.rest import InvalidInput

LABELS_MAX = 100
_PLAIN = (
    "is_continuing", "group_by", "group_wait_seconds", "group_interval_seconds", "repeat_interval_seconds", "digest",
    "digest_hour", "digest_zone", "outside",
)  # fmt: skip


class StepSerializer(serializers.ModelSerializer[EscalationStep]):
    channels = serializers.SlugRelatedField[Any](slug_field="name", many=True, read_only=True)

    class Meta:
        model = EscalationStep
        fields: ClassVar = ["number", "after_seconds", "channels"]


class MatcherSerializer(serializers.Serializer[object]):
    """As Alertmanager's API v2 writes it."""

    name = serializers.CharField()
    value = serializers.CharField()
    isRegex = serializers.BooleanField()  # noqa: N815 - Alertmanager's name
    isEqual = serializers.BooleanField()  # noqa: N815


class RouteSerializer(serializers.ModelSerializer[Route]):
    """One route. What is null is as its parent's; channels that are empty too, unless it tells nobody."""

    parent: Any = serializers.IntegerField(source="parent_id", allow_null=True)
    matchers = serializers.ListField(child=serializers.CharField())
    parsed_matchers = serializers.SerializerMethodField()
    channels = serializers.SlugRelatedField[Any](slug_field="name", many=True, read_only=True)
    group_by = serializers.ListField(child=serializers.CharField(), allow_null=True)
    hours = serializers.SlugRelatedField[Any](slug_field="name", read_only=True, allow_null=True)
    steps = StepSerializer(many=True, read_only=True)

    class Meta:
        model = Route
        fields: ClassVar = [
            "id", "parent", "position", "name", "matchers", "parsed_matchers", "channels", "tells_nobody", *_PLAIN,
            "hours", "steps", "version",
        ]  # fmt: skip

    def get_parsed_matchers(self, row: Route) -> list[dict[str, str | bool]]:
        return [matcher.as_api() for text in row.matchers for matcher in parse(text)]


class StepInputSerializer(StrictSerializer):
    after_seconds = serializers.IntegerField(min_value=STEP_MIN_SECONDS, max_value=STEP_MAX_SECONDS)
    channels = serializers.ListField(child=TextField(), min_length=1)


class _Texts(serializers.ListField):
    """A list of texts, or one text."""

    def to_internal_value(self, data: Any) -> Any:
        return super().to_internal_value([data] if isinstance(data, str) else data)


class RouteInputSerializer(StrictSerializer):
    """Needs `name`. Without `parent` it hangs below the first route, or is it. Channels and hours go by their names."""

    name = TextField(max_length=100)
    parent: Any = serializers.IntegerField(required=False, allow_null=True)
    position = serializers.IntegerField(
        required=False, min_value=0, help_text="Among its siblings, from 0; left out: the last."
    )
    matchers = _Texts(
        child=TextField(max_length=3_000, allow_blank=True),
        required=False,
        max_length=50,
        help_text='As Alertmanager writes them, such as severity="critical"; all must match.',
    )
    channels = serializers.ListField(child=TextField(), required=False, max_length=100)
    tells_nobody = serializers.BooleanField(required=False)
    is_continuing = serializers.BooleanField(required=False)
    group_by = serializers.ListField(
        child=TextField(max_length=200),
        required=False,
        allow_null=True,
        max_length=50,
        help_text="Labels; [] tells all in one group, ['...'] each on its own, null as the parent.",
    )
    group_wait_seconds = serializers.IntegerField(required=False, allow_null=True)
    group_interval_seconds = serializers.IntegerField(required=False, allow_null=True)
    repeat_interval_seconds = serializers.IntegerField(required=False, allow_null=True)
    digest = WordField(Digest.values, required=False, allow_blank=True)
    digest_hour = serializers.IntegerField(required=False)
    digest_zone = TextField(required=False, max_length=64)
    hours = TextField(required=False, allow_null=True, max_length=100)
    outside = WordField(Outside.values, required=False)
    steps = serializers.ListField(child=StepInputSerializer(), required=False, max_length=STEPS_MAX)
    version = serializers.IntegerField(
        required=False,
        min_value=1,
        help_text="Of a change, as it was read: nothing is changed, 409, when the route has another one by now.",
    )

    def to_internal_value(self, data: Any) -> Any:
        for name, value in data.items() if isinstance(data, dict) else ():
            field = self.fields.get(name)
            is_flag = isinstance(field, serializers.BooleanField)
            is_number = isinstance(field, serializers.IntegerField) and value is not None
            if is_flag and not isinstance(value, bool):
                raise InvalidInput(
                    f"{name}={value!r} is not true or false.", field=name, fix="Send one of them."
                )
            if is_number and (isinstance(value, bool) or not isinstance(value, int)):
                raise InvalidInput(
                    f"{name}={value!r} is not a whole number.", field=name, fix="Send a whole number."
                )
        return super().to_internal_value(data)


class RoutePreviewInputSerializer(StrictSerializer):
    """Either `labels`, or the id of an `incident`."""

    labels = serializers.DictField(child=TextField(allow_blank=True, max_length=2_000), required=False)
    incident = serializers.UUIDField(required=False)
    at = serializers.DateTimeField(required=False, help_text="Now, if it is left out.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("labels" in attrs) == ("incident" in attrs):
            raise InvalidInput(
                "It is not clear what it is about.", field="labels", fix="Send either labels or incident."
            )
        if len(attrs.get("labels", ())) > LABELS_MAX:
            raise InvalidInput(f"The most are {LABELS_MAX} labels.", field="labels", fix="Leave some out.")
        return attrs


class ToldSerializer(serializers.Serializer[object]):
    channel = serializers.CharField(source="channel.name")
    kind = serializers.CharField(source="channel.kind")
    is_enabled = serializers.BooleanField(source="channel.is_enabled")
    at = serializers.DateTimeField()
    why = serializers.CharField()
    is_again = serializers.BooleanField(help_text="Another way tells it the same already; it is told once.")


class WayStepSerializer(serializers.Serializer[object]):
    number = serializers.IntegerField()
    at = serializers.DateTimeField()
    told = ToldSerializer(many=True)


class HopSerializer(serializers.Serializer[object]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    reasons = serializers.ListField(child=serializers.CharField())


class WaySerializer(serializers.Serializer[object]):
    """One route that takes it, the way there, and whom it tells."""

    route_id = serializers.IntegerField(source="leaf.id")
    route = serializers.CharField(source="leaf.name")
    path = HopSerializer(source="leaf.path", many=True)
    group_key = serializers.CharField(source="group")
    repeat_interval_seconds = serializers.SerializerMethodField()
    told = ToldSerializer(many=True)
    steps = WayStepSerializer(many=True)

    def get_repeat_interval_seconds(self, way: Way) -> int:
        return round(way.leaf.repeat_interval.total_seconds())


class RouteVerdictSerializer(serializers.Serializer[object]):
    """What one route did with the labels, and why."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    depth = serializers.IntegerField()
    outcome = serializers.ChoiceField([one.value for one in Outcome])
    because = serializers.CharField()


class HeldBackSerializer(serializers.Serializer[object]):
    kind = serializers.CharField()
    why = serializers.CharField()
    until = serializers.DateTimeField(allow_null=True)
    cause = serializers.CharField()


class RoutePreviewSerializer(serializers.Serializer[Preview]):
    labels = serializers.DictField(child=serializers.CharField())
    at = serializers.DateTimeField()
    has_routes = serializers.BooleanField()
    directly = ToldSerializer(many=True, help_text="Told whatever the routes say: the monitor names them.")
    ways = WaySerializer(many=True)
    verdicts = RouteVerdictSerializer(many=True)
    held_back = HeldBackSerializer(
        many=True, help_text="Silences and maintenance that hold the messages back."
    )
    may_hold = serializers.ListField(
        child=serializers.CharField(), help_text="Rules that hold it back while their source is open."
    )


class ImportInputSerializer(StrictSerializer):
    yaml = TextField(max_length=BYTES_MAX, trim_whitespace=False, help_text="An Alertmanager configuration.")
    dry_run = serializers.BooleanField(required=False, default=False)


class OutcomeSerializer(serializers.Serializer[object]):
    what = serializers.CharField()
    name = serializers.CharField()
    act = serializers.ChoiceField([one.value for one in Act])
    note = serializers.CharField()


class UnmappedSerializer(serializers.Serializer[object]):
    place = serializers.CharField()
    what = serializers.CharField()
    why = serializers.CharField()


class ImportedSerializer(serializers.Serializer[object]):
    """What was made, or in a dry run would be; and what has no counterpart, with the reason."""

    is_dry_run = serializers.BooleanField()
    outcomes = OutcomeSerializer(many=True)
    unmapped = UnmappedSerializer(source="plan.unmapped", many=True)
