"""Alertmanager's receivers as channels, one for each of their configurations that has a counterpart here."""

from collections.abc import Mapping

from monitoring.routing.plan import PlannedChannel
from monitoring.routing.shapes import Notes

SECRET = "<secret>"  # noqa: S105 - what Alertmanager shows instead of one
NAME_MAX = 100

_KINDS = {
    "slack_configs": "slack",
    "pagerduty_configs": "pagerduty",
    "webhook_configs": "webhook",
    "email_configs": "email",
}
_ADDRESSES = {"slack": "api_url", "pagerduty": "routing_key", "webhook": "url", "email": "to"}
_WHY = {
    "send_resolved": "Every channel is told when an incident it heard of is resolved.",
    "http_config": "Requests go out with the product's own rules: no proxy, no redirect, no other credentials.",
    "actions": "Messages have buttons to the incident and the runbook.",
    "fields": "Messages have their own fields; an admin can edit a template.",
    "channel": "A Slack webhook posts to the channel that it was made for.",
    "url": "Events go to PagerDuty's own address, events.pagerduty.com.",
    "service_key": "That is PagerDuty's Events API v1; make an integration for Events API v2 and use its key.",
    "max_alerts": "A grouped message says how many incidents it has and names the first.",
    "tls_config": "Certificates are checked against the usual authorities.",
}
_LOOKS = "Messages have the built-in text; an admin can edit a template for the channel."
_MAIL = "Mail goes out as the deployment's settings say."
_MAIL_FIELDS = frozenset(
    [
        "from",
        "smarthost",
        "hello",
        "auth_username",
        "auth_password",
        "auth_password_file",
        "auth_secret",
        "auth_secret_file",
        "auth_identity",
        "require_tls",
        "tls_config",
        "force_implicit_tls",
    ]
)


def channels_of(
    configuration: Mapping[str, object], notes: Notes
) -> tuple[dict[str, tuple[str, ...]], list[PlannedChannel], set[str]]:
    """Names of channels by receiver; the channels; the receivers that have something, but nothing with a counterpart."""
    by_receiver: dict[str, tuple[str, ...]] = {}
    channels: list[PlannedChannel] = []
    lost: set[str] = set()
    taken: set[str] = set()
    defaults = notes.mapping(configuration.get("global"), "global")
    for place, item in notes.items(configuration.get("receivers"), "receivers"):
        part = notes.mapping(item, place)
        receiver = notes.text(part.get("name"), f"{place}.name")
        if not receiver or receiver in by_receiver:
            what = f"There are two receivers “{receiver}”" if receiver else "A receiver has no name"
            notes.add(place, what, "Only one with a name of its own can be told; this one is left out.")
            continue
        found = _of_receiver(receiver, part, place, defaults, taken, notes)
        channels += found
        by_receiver[receiver] = tuple(channel.name for channel in found)
        if not found and len(part) > 1:
            lost.add(receiver)
    return by_receiver, channels, lost


def _of_receiver(
    receiver: str,
    part: Mapping[str, object],
    place: str,
    defaults: Mapping[str, object],
    taken: set[str],
    notes: Notes,
) -> list[PlannedChannel]:
    configs = []
    for section, value in part.items():
        if section == "name":
            continue
        if section not in _KINDS:
            what = section.removesuffix("_configs")
            notes.add(f"{place}.{section}", f"“{what}” is left out", "There is no channel of that kind here.")
            continue
        configs += [(_KINDS[section], at, item) for at, item in notes.items(value, f"{place}.{section}")]
    found: list[PlannedChannel] = []
    for kind, at, item in configs:
        name = receiver if len(configs) == 1 else f"{receiver} {kind}"
        name = _free(name, taken)
        taken.add(name)
        found.append(_channel(name, kind, receiver, notes.mapping(item, at), at, defaults, notes))
    return found


def _channel(
    name: str,
    kind: str,
    receiver: str,
    config: Mapping[str, object],
    place: str,
    defaults: Mapping[str, object],
    notes: Notes,
) -> PlannedChannel:
    field = _ADDRESSES[kind]
    value = notes.text(config.get(field), f"{place}.{field}")
    if kind == "slack" and not value:
        value = notes.text(defaults.get("slack_api_url"), "global.slack_api_url")
    missing = ""
    if not value or SECRET in value:
        missing = f"“{field}” is {'hidden' if value else 'not'} in the configuration"
        missing += ", as it is read from a file" if config.get(f"{field}_file") else ""
        notes.add(
            place, missing, f"The channel “{name}” is made but disabled; fill it in, then enable the channel."
        )
        value = ""
    for other in config:
        is_same = other == "send_resolved" and notes.is_true(config[other], f"{place}.{other}")
        if other != field and other not in {"name", f"{field}_file"} and not is_same:
            _note_field(kind, other, f"{place}.{other}", notes)
    return PlannedChannel(
        name=name,
        kind=kind,
        receiver=receiver,
        url=value if kind in {"slack", "webhook"} else "",
        secret=value if kind == "pagerduty" else "",
        recipients=value if kind == "email" else "",
        missing=missing,
    )


def _note_field(kind: str, field: str, place: str, notes: Notes) -> None:
    why = _MAIL if kind == "email" and field in _MAIL_FIELDS else _WHY.get(field, _LOOKS)
    notes.add(place, f"“{field}” is left out", why)


def _free(name: str, taken: set[str]) -> str:
    """The name, or the first of name 2, name 3, … that is not taken, within what a name may have."""
    name = name[:NAME_MAX]
    for number in range(2, 10_000):
        if name not in taken:
            return name
        name = f"{name.removesuffix(f' {number - 1}')[: NAME_MAX - 6]} {number}"
    raise ValueError("there are too many of one name")
