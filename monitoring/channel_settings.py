"""What people and programs say of a channel: made, changed, checked, its secret renewed. One way for REST and admin."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import structlog
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from monitoring.channels import registry
from monitoring.channels.pagerduty import EVENTS_URL, PagerDuty
from monitoring.channels.webhook import new_secret
from monitoring.models import Channel, MessageTemplate
from triageops.rest import Conflict, InvalidInput

log = structlog.get_logger(__name__)

SETTABLE = (
    "name",
    "kind",
    "url",
    "secret",
    "inbound_secret",
    "recipients",
    "template",
    "is_enabled",
    "takes_experiments",
)
OLD_SECRET_SIGNS_FOR = timedelta(hours=24)
SAY_ANEW = (
    "The address leads to another host: say the secret anew, so that the stored one does not go there unseen."
)
_OF_KINDS = ("url", "secret", "recipients", "inbound_secret")
"""Settings that only some kinds of channels have."""
_SAVED = tuple(name for name in SETTABLE if name != "kind")


class ChannelNameTaken(Conflict):
    """Another channel has this name."""

    type = "name-taken"
    title = "Another channel has this name"


class NoOwnSecret(Conflict):
    """Its secret is the receiver's, who gives out a new one."""

    type = "no-own-secret"
    title = "This kind of channel has no secret of ours"


def create(values: Mapping[str, Any]) -> Channel:
    """values: of SETTABLE, the template by name. Raises InvalidInput and ChannelNameTaken."""
    channel = Channel(secret="")
    kind = _kind_in(values)
    _set(channel, kind, values)
    if is_signed(kind) and not channel.secret:
        channel.secret = new_secret()
    check(channel)
    with _unique_name(channel), transaction.atomic():
        channel.save(force_insert=True)
        transaction.on_commit(lambda: log.info("channel.created", channel_id=channel.pk, kind=channel.kind))
    return channel


def edit(channel_id: int, values: Mapping[str, Any]) -> Channel:
    """Change what is said. Raises InvalidInput, ChannelNameTaken and Channel.DoesNotExist."""
    with transaction.atomic():
        channel = Channel.objects.select_for_update(of=("self",)).get(pk=channel_id)
        if values.get("kind", channel.kind) != channel.kind:
            raise InvalidInput("A channel stays of its kind.", field="kind", fix="Make another channel.")
        known = channel.url
        _set(channel, channel.kind, values)
        if "secret" not in values and needs_secret_anew(channel, known, channel.url):
            raise InvalidInput(SAY_ANEW, field="secret", fix="Send the secret with the new url.")
        check(channel)
        if channel.is_enabled:
            channel.disabled_reason = ""
        with _unique_name(channel), transaction.atomic():
            channel.save(update_fields=[*_SAVED, "disabled_reason"])
        transaction.on_commit(
            lambda: log.info("channel.changed", channel_id=channel.pk, fields=sorted(values))
        )
    return channel


def set_enabled(channel_id: int, *, is_enabled: bool, reason: str = "") -> Channel:
    """Messages of a disabled one wait. reason: why it is disabled. Raises Channel.DoesNotExist."""
    with transaction.atomic():
        channel = Channel.objects.select_for_update(of=("self",)).get(pk=channel_id)
        channel.is_enabled, channel.disabled_reason = is_enabled, "" if is_enabled else reason[:300]
        channel.save(update_fields=["is_enabled", "disabled_reason"])
    return channel


def rotate_secret(channel: Channel, now: datetime) -> str:
    """A new secret, which signs from now on; the old one signs beside it for 24 hours. Raises NoOwnSecret."""
    if not is_signed(channel.kind):
        raise NoOwnSecret(
            f"The secret of a {channel.kind} channel comes from the receiver.",
            fix="Get a new one there, and set it with PATCH.",
        )
    with transaction.atomic():
        row = Channel.objects.select_for_update(of=("self",)).get(pk=channel.pk)
        row.previous_secret, row.previous_secret_until = row.secret, now + OLD_SECRET_SIGNS_FOR
        row.secret = new_secret()
        row.save(update_fields=["secret", "previous_secret", "previous_secret_until"])
        transaction.on_commit(lambda: log.info("channel.secret_rotated", channel_id=row.pk))
    channel.secret, channel.previous_secret = row.secret, row.previous_secret
    channel.previous_secret_until = row.previous_secret_until
    return row.secret


def check(channel: Channel) -> None:
    """Whether it can be saved and could send, as far as can be said without asking the receiver. Raises InvalidInput."""
    if Channel.objects.filter(name=channel.name).exclude(pk=channel.pk).exists():
        raise _taken(channel)
    try:
        channel.clean_fields()
    except ValidationError as error:
        name, messages = next(iter(error.message_dict.items()))
        raise InvalidInput(" ".join(messages), field=name, fix="Correct this value; see /api/docs.") from None
    wrong = registry.mistakes(channel.kind, {name: getattr(channel, name) for name in _OF_KINDS})
    for name, detail in wrong.items():
        raise InvalidInput(detail, field=name, fix="Correct this value.")


def is_signed(kind: str) -> bool:
    """Whether messages are signed with a secret of ours."""
    return "previous_secret" in registry.fields_of(registry.kind_named(kind))


def needs_secret_anew(channel: Channel, known: str, url: str) -> bool:
    """Whether the stored secret would be sent to another host: whoever may set the address must not learn it by that."""
    if not channel.secret or known == url or _origin(channel, known) == _origin(channel, url):
        return False
    return "secret" in settings_of(channel.kind) and not is_signed(channel.kind)


def settings_of(kind: str) -> frozenset[str]:
    """Which of the settings that only some kinds have, this kind has."""
    found = registry.fields_of(registry.kind_named(kind)) & set(_OF_KINDS)
    return frozenset(found | ({"inbound_secret"} if kind == "pagerduty" else set()))


def masked(url: str) -> str:
    """Where it leads; the rest of the address may be a secret. Empty for none."""
    if not url:
        return ""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/…"


def _origin(channel: Channel, url: str) -> tuple[str, str, int | None]:
    """Where it is sent to. Raises InvalidInput."""
    try:
        parts = urlsplit(url or (EVENTS_URL if channel.kind == PagerDuty.name else ""))
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError as error:
        raise InvalidInput(f"This is no address: {error}.", field="url", fix="Correct this value.") from None
    return parts.scheme, parts.hostname or "", port


def _kind_in(values: Mapping[str, Any]) -> str:
    kind = str(values.get("kind") or "")
    if kind not in dict(registry.choices()):
        known = ", ".join(name for name, _ in registry.choices())
        raise InvalidInput(
            f"There is no kind of channel “{kind}”.", field="kind", fix=f"Use one of: {known}."
        )
    return kind


def _set(channel: Channel, kind: str, values: Mapping[str, Any]) -> None:
    channel.kind = kind
    for name in _OF_KINDS:
        if values.get(name) and name not in settings_of(kind):
            raise InvalidInput(f"A {kind} channel has no {name}.", field=name, fix="Leave it out.")
    for name in _SAVED:
        if name in values:
            value = _template(values[name]) if name == "template" else values[name]
            setattr(channel, name, value)


def _template(given: Any) -> MessageTemplate | None:
    if given is None or given == "" or isinstance(given, MessageTemplate):
        return given or None
    found = MessageTemplate.objects.filter(name=given).first()
    if found is None:
        raise InvalidInput(
            f"There is no template called “{given}”.",
            field="template",
            fix="Templates are made in the admin.",
        )
    return found


@contextmanager
def _unique_name(channel: Channel) -> Iterator[None]:
    """For the other one who takes the name between our look and our write."""
    try:
        yield
    except IntegrityError as error:
        if "channel_name" not in str(error):
            raise
        raise _taken(channel) from None


def _taken(channel: Channel) -> ChannelNameTaken:
    return ChannelNameTaken(
        f"There is a channel called “{channel.name}”.", field="name", fix="Use another name."
    )
