"""One monitor from a suggestion to its second baseline, as somebody in the admin sees it."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from feedback import ingest, rollups
from feedback.models import ApiKey
from feedback.shapes import ResponseShape
from feedback.tables import RESPONSES
from monitoring import backtests, checks
from monitoring.models import Backtest, EventKind, Incident, Monitor, MonitorState, Resolution
from tests.browser import world
from tests.browser.conftest import is_too_wide, keep

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

EVERY = timedelta(minutes=5)
USUAL, WORSE = 0.82, 0.74
BEFORE = timedelta(hours=8)
WORSE_AFTER = timedelta(hours=3)


def answers(
    key: ApiKey, start: datetime, end: datetime, now: datetime, *, worse_from: datetime | None = None
) -> None:
    """Four answers in each bucket; from a moment on they help less."""
    random = np.random.default_rng([int(start.timestamp()), 1])
    shapes = []
    at = start
    while at < end:
        mean = WORSE if worse_from is not None and at >= worse_from else USUAL
        shapes += [
            ResponseShape(
                response_id=f"a-{at.timestamp():.0f}-{number}",
                occurred_at=at + timedelta(seconds=float(random.uniform(0, 299))),
                endpoint="/triage",
                model="gpt-4",
                latency_seconds=float(random.lognormal(0.0, 0.4)),
                metrics={"helpfulness": float(np.clip(random.normal(mean, 0.08), 0, 1))},
            )
            for number in range(4)
        ]
        at += EVERY
    shapes = [shape for shape in shapes if shape.occurred_at is not None and shape.occurred_at < end]
    for first in range(0, len(shapes), 5_000):
        ingest.record_many(RESPONSES, shapes[first : first + 5_000], key.pk, now)
    rollups.roll_up(now)


def begun_before(monitor: Monitor, at: datetime) -> None:
    """As if it had been activated then: a test cannot wait for hours."""
    Monitor.objects.filter(pk=monitor.pk).update(started_at=at, watermark_at=at, due_at=at)


def in_dialog(page: Page, button: str, **fields: str) -> None:
    """A button of the page, what its dialog asks for, and the button that confirms."""
    # The name of the icon is a part of what the button is called.
    page.click(f"text={button} >> visible=true >> nth=0")
    for name, value in fields.items():
        page.fill(f"#dialog [name={name}]", value)
    page.click("#dialog button[type=submit]")


@pytest.mark.usefixtures("knows_nothing")
def test_monitor_goes_from_a_suggestion_to_an_incident_and_a_new_baseline(page: Page) -> None:
    now = timezone.now()
    began = now - BEFORE
    key = world.api_key(now)
    world.helpfulness()
    answers(key, began - timedelta(days=9), began, began)

    page.goto("/admin/monitoring/backtest/suggestions/")
    for box in page.locator("input[name=key]").all():
        box.set_checked("helpfulness" in (box.get_attribute("value") or ""))
    assert not is_too_wide(page)
    keep(page, "monitoring-suggestions")
    page.get_by_role("button", name="Create and backtest").click()
    expect(page.locator(".to-sentence").first).to_be_visible()
    monitor = Monitor.objects.exclude(metric="triageops_canary").get()
    assert monitor.state == MonitorState.LEARNING

    backtests.run(Backtest.objects.get().pk, clock=timezone.now)
    page.reload()
    keep(page, "monitoring-tried")
    page.goto(f"/admin/monitoring/backtest/{Backtest.objects.get().pk}/change/")
    expect(page.locator(".to-sentence").first).to_contain_text("would have raised")
    keep(page, "monitoring-backtest")
    in_dialog(page, "Activate")
    # The message; the dialog spoke of it too.
    expect(page.locator("body")).to_contain_text(f"“{monitor.name}” watches from now on")
    monitor.refresh_from_db()
    assert monitor.state == MonitorState.ACTIVE

    begun_before(monitor, began)
    answers(key, began, now, now, worse_from=began + WORSE_AFTER)
    checks.run_due(now)
    incident = Incident.objects.told().get()
    # An estimate, which depends on how the buckets fall; how good it is, is the kernels' tests' affair.
    assert abs(incident.onset_at - (began + WORSE_AFTER)) < timedelta(minutes=90)

    page.goto(f"/admin/monitoring/monitor/{monitor.pk}/change/")
    expect(page.locator(".to-sentence").first).to_contain_text("elpfulness fell")
    assert not is_too_wide(page)
    keep(page, "monitoring-incident")
    in_dialog(page, "Accept as new baseline", reason="The new prompt answers shorter, and that is wanted.")
    expect(page.locator("body")).to_contain_text("The new prompt answers shorter")
    incident.refresh_from_db()
    assert incident.resolution == Resolution.BASELINE
    assert incident.events.filter(kind=EventKind.RESOLVED).exists()
    monitor.refresh_from_db()
    assert monitor.reference is not None
    assert monitor.reference.version == 2
    keep(page, "monitoring-baseline")

    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    assert not is_too_wide(page)
    page.goto("/admin/monitoring/fleetbudget/all/")
    expect(page.locator(".to-sentence").first).to_be_visible()
    assert not is_too_wide(page)
    keep(page, "monitoring-fleet-390")
