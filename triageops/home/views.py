"""The admin's first page: is anything wrong, how is quality, what runs. Reads rollups only, in ten queries or fewer.

`?live=1` gives the changing parts alone; the page's script fetches them every ten seconds. `?window=` and `?metric=`
choose what the plots show. Nothing is read for a part that the person may not see.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.http import urlencode

from experiments.models import Variant
from feedback import stats
from feedback.models import QualityMetric
from monitoring import standing
from monitoring.reading import inbox
from triageops.home import state
from triageops.home.access import access_of
from triageops.home.picture import picture
from triageops.home.troubles import open_and_recent, troubles_of
from triageops.observability.models import ScheduledJob

WINDOWS = {
    "2h": ("2 hours", timedelta(hours=2)),
    "24h": ("24 hours", timedelta(hours=24)),
    "7d": ("7 days", timedelta(days=7)),
}


def environment(request: HttpRequest) -> list[str]:
    """The word beside every page's title."""
    return ["demo data", "warning"] if settings.IS_DEMO else [settings.ENVIRONMENT, "info"]


def inbox_badge(request: HttpRequest) -> str:
    """How many incidents need somebody, for the sidebar; empty for none, and for who may not see them."""
    if not access_of(request.user).incidents:
        return ""
    count = getattr(request, "needing_count", None)
    if count is None:
        count = inbox.needing_somebody().count()
    return str(count) if count else ""


def _running_variants() -> list[Variant]:
    return list(Variant.objects.filter(experiment__state="running").select_related("experiment"))


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Adds what the page shows to `context`."""
    now = timezone.now()
    key = request.GET.get("window", "7d")
    key = key if key in WINDOWS else "7d"
    window = stats.Window.last(WINDOWS[key][1], now)
    access = access_of(request.user)
    metrics = list(QualityMetric.objects.all())
    variants = _running_variants() if access.experiments else []
    incidents = open_and_recent(window.start) if access.incidents else []
    found = troubles_of(incidents)
    if access.incidents:
        request.__dict__["needing_count"] = found.needing_count
    jobs = state.job_lines(ScheduledJob.objects.all(), now) if access.jobs else []
    drawn = picture(
        window,
        metrics=metrics,
        wanted=request.GET.get("metric", ""),
        variants=variants,
        # The plots show metrics that monitors watch.
        incidents=[incident for incident in incidents if incident.monitor is not None],
        span=WINDOWS[key][0],
        access=access,
        now=now,
    )
    chosen = {"window": key} | ({"metric": request.GET["metric"]} if "metric" in request.GET else {})
    return context | {
        "title": "Home",
        "is_live": "live" in request.GET,
        "live_address": "?" + urlencode(chosen | {"live": 1}),
        "windows": [
            {"text": text, "address": "?" + urlencode(chosen | {"window": name}), "is_on": name == key}
            for name, (text, _) in WINDOWS.items()
        ],
        "access": access,
        "sentence": state.sentence(found, jobs, access),
        "budget_line": state.budget_line(standing.used_this_month(now) if access.monitors else None),
        "hints": state.hints(
            metrics if access.metrics else [],
            stats.unmatched_count(window) if access.feedback else 0,
            jobs,
            has_incidents=found.open_count > 0,
        ),
        "troubles": found,
        "experiments": state.running(variants, now),
        "jobs": jobs,
        "picture": drawn,
        "metric_links": [
            {
                "text": name,
                "address": "?" + urlencode(chosen | {"metric": name}),
                "is_on": name == drawn.metric,
            }
            for name in drawn.metrics
        ]
        if drawn
        else [],
        "base_url": settings.BASE_URL,
    }
