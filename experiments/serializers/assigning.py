"""Which variant units get: the questions and the answers."""

from rest_framework import serializers

from experiments.asking import MOST_UNITS
from experiments.definition import UNIT_MAX
from experiments.placement import REASONS


class AssignRequestSerializer(serializers.Serializer[object]):
    """Either `unit`, or `units`."""

    unit = serializers.CharField(
        required=False, min_length=1, max_length=UNIT_MAX, help_text="Pseudonymous id of the user or case."
    )
    attributes = serializers.DictField(required=False, help_text="What targeting looks at.")
    units = serializers.ListField(
        required=False,
        max_length=MOST_UNITS,
        help_text='Many at once: texts, or objects such as {"unit": "patient-17", "attributes": {}}.',
    )


class AssignAllRequestSerializer(serializers.Serializer[object]):
    unit = serializers.CharField(min_length=1, max_length=UNIT_MAX)
    attributes = serializers.DictField(required=False)
    experiments = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="Keys; all running ones when it is left out."
    )


class DecisionSerializer(serializers.Serializer[object]):
    experiment = serializers.CharField()
    variant = serializers.CharField(
        allow_null=True, help_text="Null only for a draft that has no control yet."
    )
    config = serializers.DictField(help_text="The variant's config.")
    in_experiment = serializers.BooleanField(
        help_text="False: the control's config, and not part of the experiment."
    )
    reason = serializers.ChoiceField([(reason.value, said) for reason, said in REASONS.items()])
    bucket = serializers.FloatField(allow_null=True, help_text="The unit's number in [0, 1).")
    assigned_at = serializers.DateTimeField(allow_null=True, help_text="When the unit was first seen.")
    config_hash = serializers.CharField(
        allow_blank=True, help_text="Send it with the response, so that a changed config is noticed."
    )
    variant_version = serializers.IntegerField(allow_null=True)
    epoch = serializers.IntegerField(
        allow_null=True, help_text="Grows with each change of weights or configs."
    )


class AssignedSerializer(serializers.Serializer[object]):
    """A decision, or for many units all of them in `results`, in the order of the units."""

    results = serializers.ListField(
        required=False, help_text='Decisions with `unit`, or {"unit", "problem"}.'
    )


class AssignedAllSerializer(serializers.Serializer[object]):
    unit = serializers.CharField()
    results = serializers.ListField(help_text='A decision for each experiment, or {"experiment", "problem"}.')


class StoredSerializer(serializers.Serializer[object]):
    variant = serializers.CharField()
    bucket = serializers.FloatField()
    epoch = serializers.IntegerField()
    generation = serializers.IntegerField(help_text="Grows when a change dealt this unit anew.")
    assigned_at = serializers.DateTimeField()


class AssignmentsSerializer(serializers.Serializer[object]):
    unit = serializers.CharField()
    stored = StoredSerializer(many=True, help_text="What it was given, the last first; empty: never seen.")
    decision = DecisionSerializer(help_text="What it would get now; asking stores nothing.")
