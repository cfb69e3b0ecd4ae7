"""Decisions in the words of OFREP, OpenFeature's protocol for evaluation over HTTP (version 0.2). Pure.

A flag is an experiment. Its value is the variant's config, or the bare `value` of a config that has nothing else, so that
typed clients get their boolean, text or number.
"""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from experiments.allocation import Decision
from experiments.asking import MissingUnit
from experiments.placement import Attributes, Definition, Reason
from triageops.rest import NotFound, Problem

Body = dict[str, Any]

_TARGETING_KEY = "targetingKey"
_ONLY_VALUE = {"value"}
_UNPUBLISHED = frozenset({"draft", "review", "scheduled"})


class ErrorCode(StrEnum):
    PARSE_ERROR = "PARSE_ERROR"
    TARGETING_KEY_MISSING = "TARGETING_KEY_MISSING"
    INVALID_CONTEXT = "INVALID_CONTEXT"
    FLAG_NOT_FOUND = "FLAG_NOT_FOUND"
    GENERAL = "GENERAL"


# What a decision's reason is called. Whoever is not in the experiment gets what is the same for all such units.
_REASONS = {
    Reason.SPLIT: "SPLIT",
    Reason.FORCED: "TARGETING_MATCH",
    Reason.HOLDOUT: "STATIC",
    Reason.LAYER: "STATIC",
    Reason.TARGETING: "STATIC",
    Reason.COVERAGE: "STATIC",
    Reason.SHIPPED: "STATIC",
}
_OTHERWISE = "DISABLED"


class Refused(Exception):
    """A request that cannot be evaluated as a whole: a 400 with this code."""

    def __init__(self, code: ErrorCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


def context_of(body: bytes) -> Attributes:
    """The attributes in the body of a request, with the targeting key as `id`, where there is one. Raises Refused."""
    try:
        document = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        raise Refused(ErrorCode.PARSE_ERROR, "The body is not JSON in UTF-8.") from None
    if not isinstance(document, dict):
        raise Refused(ErrorCode.PARSE_ERROR, "The body is not a JSON object.")
    context = document.get("context")
    if not isinstance(context, dict):
        raise Refused(
            ErrorCode.INVALID_CONTEXT,
            'The body has no object "context": send {"context": {"targetingKey": …}}.',
        )
    key = context.get(_TARGETING_KEY)
    if key is None:
        context.pop("id", None)
        return context
    if not isinstance(key, str):
        raise Refused(ErrorCode.INVALID_CONTEXT, "targetingKey is not text.")
    context["id"] = key
    return context


def refusal(problem: Problem, definition: Definition | None = None) -> Refused:
    """A unit that is missing or cannot be stored, as OFREP says it."""
    if not isinstance(problem, MissingUnit):
        return Refused(ErrorCode.INVALID_CONTEXT, f"{problem.detail} {problem.fix or ''}".strip())
    name = definition.unit_attribute if definition is not None else ""
    said = f"The context has no {name or _TARGETING_KEY}, which holds the unit."
    return Refused(ErrorCode.TARGETING_KEY_MISSING, said)


def is_published(definition: Definition) -> bool:
    """Whether a client that asks for all flags is told of it."""
    return definition.state not in _UNPUBLISHED


def success(definition: Definition, unit: str, decision: Decision) -> Body:
    """What a client gets for one flag. No value: it uses the default in its code."""
    body: Body = {
        "key": definition.key,
        "reason": _REASONS.get(decision.reason, _OTHERWISE),
        "variant": decision.variant,
        "metadata": _metadata(unit, decision),
    }
    if decision.variant is not None:
        body["value"] = _value(definition, decision.config)
    return body


def _value(definition: Definition, config: Mapping[str, Any]) -> object:
    if config.keys() != _ONLY_VALUE:
        return config
    value = config["value"]
    if isinstance(value, bool | str | float):
        return value
    if isinstance(value, int):
        # A flag has one type: among 0.5 and 1, the 1 is no integer.
        return (
            float(value) if any(type(arm.config.get("value")) is float for arm in definition.arms) else value
        )
    return config


def _metadata(unit: str, decision: Decision) -> dict[str, bool | str | float]:
    found: dict[str, bool | str | float] = {
        "experiment": decision.experiment,
        "in_experiment": decision.in_experiment,
        "reason": decision.reason.value,
    }
    if decision.variant_version is not None:
        found |= {"variant_version": decision.variant_version, "config_hash": decision.config_hash}
    if decision.epoch is not None:
        found["epoch"] = decision.epoch
    if decision.bucket is not None:
        found["bucket"] = decision.bucket
    if decision.in_experiment:
        found["assignment_id"] = assignment_id(decision.experiment, unit)
    return found


def assignment_id(experiment: str, unit: str) -> str:
    """16 hexadecimal digits that name a unit in an experiment and do not show the unit: of the SHA-256 of key:unit."""
    # Keys have no colon, so no other pair joins to the same text.
    return hashlib.sha256(f"{experiment}:{unit}".encode()).hexdigest()[:16]


def failure(key: str, code: ErrorCode, details: str) -> Body:
    return {"key": key, "errorCode": code.value, "errorDetails": details}


def unknown(key: str, problem: NotFound) -> Body:
    return failure(key, ErrorCode.FLAG_NOT_FOUND, problem.detail)


def etag_of(body: bytes) -> str:
    """Of what this context gets: another context has another tag, although nothing was configured anew."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def is_known(etag: str, if_none_match: str) -> bool:
    """Whether the client has what the tag names; its header may be quoted or not, weak, a list, or *."""
    wanted = etag.strip('"')
    named = (one.strip() for one in if_none_match.split(","))
    return any(one == "*" or one.removeprefix("W/").strip('"') == wanted for one in named)
