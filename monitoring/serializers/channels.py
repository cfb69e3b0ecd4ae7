"""Channels as they are read and set. Secrets are shown once, when they are made; of addresses only the host."""

from typing import Any, ClassVar

from rest_framework import serializers

from experiments.serializers import StrictSerializer, TextField, WordField
from monitoring.channel_settings import masked
from monitoring.channels import registry
from monitoring.models import Channel, ChannelHealth
from triageops.rest import InvalidInput


class ChannelHealthSerializer(serializers.ModelSerializer[ChannelHealth]):
    """`closed_until`: left alone until then, after failures in a row; then one try decides."""

    class Meta:
        model = ChannelHealth
        fields: ClassVar = [
            "failure_count",
            "closed_until",
            "last_success_at",
            "last_failure_at",
            "last_reason",
        ]


class ChannelSerializer(serializers.ModelSerializer[Channel]):
    url = serializers.SerializerMethodField(help_text="Its host; the rest may be a secret.")
    template = serializers.SlugRelatedField[Any](slug_field="name", read_only=True)
    has_secret = serializers.SerializerMethodField()
    has_inbound_secret = serializers.SerializerMethodField()
    health = ChannelHealthSerializer(
        read_only=True, allow_null=True, help_text="Null before the first message."
    )

    class Meta:
        model = Channel
        fields: ClassVar = [
            "id", "name", "kind", "url", "recipients", "template", "is_enabled", "disabled_reason", "takes_experiments",
            "has_secret", "previous_secret_until", "has_inbound_secret", "health", "created_at",
        ]  # fmt: skip

    def get_url(self, row: Channel) -> str:
        return masked(row.url)

    def get_has_secret(self, row: Channel) -> bool:
        return bool(row.secret)

    def get_has_inbound_secret(self, row: Channel) -> bool:
        return bool(row.inbound_secret)


class ChannelMadeSerializer(ChannelSerializer):
    """`secret` signs what it receives; it is shown here only. Empty for kinds whose secret is the receiver's."""

    secret = serializers.CharField(read_only=True)

    class Meta(ChannelSerializer.Meta):
        fields: ClassVar = [*ChannelSerializer.Meta.fields, "secret"]


class ChannelInputSerializer(StrictSerializer):
    """Which of `url`, `secret`, `inbound_secret` and `recipients` are needed depends on the kind."""

    name = TextField(max_length=100)
    kind = WordField(registry.choices())
    url = TextField(required=False, allow_blank=True, max_length=2_000)
    secret = TextField(
        required=False,
        allow_blank=True,
        max_length=120,
        help_text="A webhook's is made unless it is given; PagerDuty's is the routing key.",
    )
    inbound_secret = TextField(
        required=False,
        allow_blank=True,
        max_length=200,
        help_text="PagerDuty: of the webhook subscription by which acknowledgements come back.",
    )
    recipients = TextField(required=False, allow_blank=True, max_length=5_000)
    template = TextField(required=False, allow_null=True, help_text="Its name; null: the built-in text.")
    is_enabled = serializers.BooleanField(required=False)
    takes_experiments = serializers.BooleanField(required=False)

    def to_internal_value(self, data: Any) -> Any:
        for name in ("is_enabled", "takes_experiments"):
            if isinstance(data, dict) and not isinstance(data.get(name, True), bool):
                raise InvalidInput(f"{name} is not true or false.", field=name, fix="Send true or false.")
        return super().to_internal_value(data)


class SecretSerializer(serializers.Serializer[object]):
    """The new secret, shown once. Both sign until `previous_secret_until`."""

    secret = serializers.CharField()
    previous_secret_until = serializers.DateTimeField()


class TestSentSerializer(serializers.Serializer[object]):
    __test__ = False

    delivery = serializers.UUIDField(help_text="GET /deliveries/{id} says what came of it.")
