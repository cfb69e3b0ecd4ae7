"""Suggestions that are taken: only what is suggested can be."""

from collections.abc import Sequence
from datetime import datetime

from django.contrib.auth.models import User

from monitoring import suggestions
from monitoring.models import Monitor
from triageops.rest import Conflict, InvalidInput


class Blocked(Conflict):
    """Something has to be done before it can be watched."""

    type = "suggestion-blocked"
    title = "Something has to be done first"


def choose(keys: Sequence[str], *, by: User | None, now: datetime) -> list[Monitor]:
    """Make these monitors, which learn and are tried out. Raises InvalidInput and Blocked; nothing is made then."""
    known = {one.key: one for one in suggestions.propose(now)}
    for key in keys:
        if key not in known:
            raise InvalidInput(
                f"“{key}” is not suggested, or not any more.",
                field="keys",
                fix="Send keys of GET /suggestions.",
            )
        if known[key].blocked:
            raise Blocked(f"“{key}” cannot be watched yet.", field="keys", fix=known[key].blocked)
    return suggestions.create(keys, by=by, now=now)
