"""The same for each of many incidents: what was done, and why others refused."""

from collections.abc import Callable, Sequence
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest

from monitoring import incidents
from monitoring.admin.opening import Admin
from monitoring.models import Incident
from monitoring.tasks import wake_delivery
from triageops import wording


def act_on_each(
    admin: Admin, request: HttpRequest, ids: Sequence[UUID], word: str, act: Callable[[UUID], Incident]
) -> tuple[int, list[str]]:
    """How many were moved, and why others were not; delivery is woken once."""
    done, refused = 0, []
    for incident_id in ids:
        try:
            incident = act(incident_id)
        except Incident.DoesNotExist:
            refused.append("One of them does not exist.")
            continue
        except (incidents.InvalidTransition, incidents.IncidentChanged) as error:
            refused.append(str(error))
            continue
        admin.log_change(request, incident, f"{word.capitalize()}.")
        done += 1
    if done:
        wake_delivery()
    return done, refused


def act_and_say(
    admin: Admin, request: HttpRequest, ids: Sequence[UUID], word: str, act: Callable[[UUID], Incident]
) -> None:
    done, refused = act_on_each(admin, request, ids, word, act)
    if done:
        messages.success(request, f"{wording.plural(done, 'incident was', 'incidents were')} {word}.")
    if refused:
        more = f" And {len(refused) - 1} more." if len(refused) > 1 else ""
        messages.error(request, f"{refused[0]}{more}")
