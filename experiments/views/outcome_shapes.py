"""What the calls about outcomes answer."""

from typing import ClassVar

from rest_framework import serializers

from experiments.models import Better, Decision, Design, Look, LookEstimate, MetricType, Role


class LookEstimateSerializer(serializers.ModelSerializer[LookEstimate]):
    details = serializers.DictField(help_text="What depends on the type of the metric.")

    class Meta:
        model = LookEstimate
        fields: ClassVar = [
            "metric", "variant", "n", "value", "value_low", "value_high", "effect", "se", "information", "log_e", "p_any",
            "p_corrected", "low", "high", "boundary", "z", "verdict", "details",
        ]  # fmt: skip


class LookSerializer(serializers.ModelSerializer[Look]):
    estimates = LookEstimateSerializer(many=True)
    health = serializers.DictField()
    segments = serializers.ListField(child=serializers.DictField())

    class Meta:
        model = Look
        fields: ClassVar = [
            "id", "at", "phase", "seconds", "unit_count", "decision", "variant", "sentence", "health", "segments",
            "estimates",
        ]  # fmt: skip


class DecidedSerializer(serializers.Serializer[object]):
    decision = serializers.ChoiceField(Decision.choices)
    variant = serializers.CharField(help_text="Which variant it is about; empty for none.")
    sentence = serializers.CharField()
    next = serializers.CharField(help_text="What to do about it.")


class OutcomeArmSerializer(serializers.Serializer[object]):
    """One metric of one variant; of the control its value alone."""

    variant = serializers.CharField()
    is_control = serializers.BooleanField()
    n = serializers.IntegerField()
    value = serializers.FloatField(allow_null=True)
    value_low = serializers.FloatField(allow_null=True)
    value_high = serializers.FloatField(allow_null=True)
    value_se = serializers.FloatField(allow_null=True)
    effect = serializers.FloatField(allow_null=True, help_text="Absolute difference from the control.")
    se = serializers.FloatField(allow_null=True, help_text="Of the effect, as the test has it.")
    low = serializers.FloatField(allow_null=True, help_text="Of the interval that holds at every look.")
    high = serializers.FloatField(allow_null=True)
    information = serializers.FloatField(allow_null=True)
    z = serializers.FloatField(allow_null=True)
    log_e = serializers.FloatField(allow_null=True)
    p_any = serializers.FloatField(allow_null=True, help_text="Valid at every look; the smallest so far.")
    p_corrected = serializers.FloatField(allow_null=True)
    boundary = serializers.FloatField(allow_null=True)
    verdict = serializers.CharField()
    relative = serializers.DictField(allow_null=True, help_text="For reading: lift, low, high.")
    bayes = serializers.DictField(allow_null=True, help_text="Not error-controlled when you peek.")
    harm_at_least = serializers.FloatField(allow_null=True)
    accepted = serializers.FloatField(
        allow_null=True, help_text="The effect with which a person resumed it after this guardrail halted it."
    )
    since_resume = serializers.DictField(
        allow_null=True,
        help_text="The same guardrail among units exposed since: n, effect, low, high, log_e.",
    )
    variance_reduction = serializers.FloatField(allow_null=True)
    information_fraction = serializers.FloatField(allow_null=True)
    dropped_count = serializers.IntegerField()
    events = serializers.DictField(allow_null=True)
    rate_ratio = serializers.DictField(allow_null=True)
    others = serializers.ListField(child=serializers.DictField())
    text = serializers.CharField()


class OutcomeMetricSerializer(serializers.Serializer[object]):
    key = serializers.CharField()
    name = serializers.CharField()
    role = serializers.ChoiceField(Role.choices)
    type = serializers.ChoiceField(MetricType.choices)
    source = serializers.CharField()  # type: ignore[assignment]
    better = serializers.ChoiceField(Better.choices)
    margin = serializers.FloatField()
    style = serializers.CharField()  # type: ignore[assignment]
    quantile = serializers.FloatField(allow_null=True)
    arms = OutcomeArmSerializer(many=True)


class ResultsSerializer(serializers.Serializer[object]):
    """For the description of the API; the view gives experiments.results.results as it is."""

    experiment = serializers.CharField()
    state = serializers.CharField()
    phase = serializers.IntegerField()
    decision = DecidedSerializer()
    looked_at = serializers.DateTimeField(allow_null=True)
    look_seconds = serializers.FloatField(allow_null=True)
    look_count = serializers.IntegerField()
    units = serializers.IntegerField()
    planned_sample = serializers.IntegerField(allow_null=True)
    progress = serializers.FloatField(allow_null=True)
    design = serializers.ChoiceField(Design.choices)
    alpha = serializers.FloatField()
    correction = serializers.CharField()
    variants = serializers.ListField(child=serializers.DictField())
    metrics = OutcomeMetricSerializer(many=True)
    health = serializers.ListField(child=serializers.DictField())
    traffic = serializers.ListField(child=serializers.DictField())
    segments = serializers.ListField(child=serializers.DictField())
    service = serializers.ListField(child=serializers.DictField())
    history = serializers.ListField(child=serializers.DictField())
    epochs = serializers.ListField(child=serializers.DictField())
    ramp = serializers.DictField(allow_null=True)


class BehaviourSerializer(serializers.Serializer[object]):
    unit_count = serializers.IntegerField()
    value = serializers.FloatField()
    variance = serializers.FloatField(help_text="Of one unit.")
    units_per_day = serializers.FloatField()


class DesignsSerializer(serializers.Serializer[object]):
    fixed = serializers.FloatField()
    group_sequential = serializers.FloatField()
    always_valid = serializers.FloatField()


class NeededSerializer(serializers.Serializer[object]):
    effect = serializers.FloatField()
    units = DesignsSerializer()
    days = DesignsSerializer()


class PowerPointSerializer(serializers.Serializer[object]):
    days = serializers.IntegerField()
    units = serializers.IntegerField()
    effects = DesignsSerializer(help_text="The smallest effect that is found.")


class PlanSerializer(serializers.Serializer[object]):
    behaviour = BehaviourSerializer()
    alpha = serializers.FloatField(help_text="Of one comparison, after correction.")
    power = serializers.FloatField()
    needed = NeededSerializer(allow_null=True, help_text="Null without an effect.")
    curve = PowerPointSerializer(many=True)
