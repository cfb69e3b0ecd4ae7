"""“End this silence?”: what will be told then, before anything happens."""

from datetime import datetime

from django.http import HttpRequest, HttpResponse

from monitoring.admin.opening import Admin, render
from monitoring.models import Silence
from monitoring.quiet import silences
from monitoring.quiet.ending import Ending, ending
from monitoring.routing.matchers import as_text
from triageops import wording

MOST_SHOWN = 20


def page(admin: Admin, request: HttpRequest, silence: Silence, now: datetime) -> HttpResponse:
    """Raises InvalidMatcher."""
    found = ending(silence, now)
    return render(
        admin,
        request,
        "silence_end",
        "End the silence?",
        silence=silence,
        text=as_text(silences.matchers_of(silence)),
        sentence=_sentence(silence, found, now),
        tone="look" if found.told else "neutral",
        told=found.told[:MOST_SHOWN],
        told_more=len(found.told[MOST_SHOWN:]),
        held=found.held[:MOST_SHOWN],
        held_more=len(found.held[MOST_SHOWN:]),
        silent_count=len(found.silent),
    )


def _sentence(silence: Silence, found: Ending, now: datetime) -> str:
    if silence.starts_at > now:
        return "It has not begun: when it is ended now, it never will, and nothing is told."
    if not found.told:
        return "When it is ended now, nothing is told at once: none of its incidents waits for it alone."
    channels = sorted({name for _, names in found.told for name in names})
    return (
        f"When it is ended now, {wording.plural(len(found.told), 'open incident')} will be told to "
        f"{', '.join(channels)}."
    )
