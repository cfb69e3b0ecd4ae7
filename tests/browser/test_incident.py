"""One incident from its arrival in an open inbox to its evidence in a file, as somebody on call sees it."""

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils import timezone
from playwright.sync_api import Page, ViewportSize, expect

from monitoring import incidents
from monitoring.models import EventKind, Incident, IncidentState, Resolution, Silence, Source
from tests.browser.conftest import is_too_wide, keep
from tests.monitoring.factories import make_channel

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]

INBOX = "/admin/monitoring/incident/inbox/"
WIDE: ViewportSize = {"width": 1280, "height": 900}
NARROW: ViewportSize = {"width": 390, "height": 844}


def arrive(key: str, severity: str = "critical") -> Incident:
    now = timezone.now()
    return incidents.report(
        Source.ALERTMANAGER,
        key,
        title=f"The disk of {key} is full",
        severity=severity,
        labels={"alertname": "DiskFull", "host": key},
        annotations={
            "description": "Answers cannot be stored.",
            "runbook_url": "https://runbooks.example.org/disk",
        },
        onset_at=now - timedelta(minutes=4),
        actor="alertmanager-prod",
        now=now,
    )


def confirm(page: Page, **fields: str) -> None:
    """What the open dialog asks for, and its button."""
    dialog = page.locator("#dialog")
    expect(dialog).to_be_visible()
    for name, value in fields.items():
        field = dialog.locator(f"[name={name}]")
        if field.evaluate("one => one.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
    dialog.locator("button[type=submit]").click()


def verified(file: Path) -> int:
    """How many events the command found, all of them intact; it fails otherwise."""
    said = StringIO()
    call_command("alerts", "verify", str(file), "--json", stdout=said)
    [found] = json.loads(said.getvalue())
    return int(found["event_count"])


@pytest.mark.usefixtures("knows_nothing")
def test_incident_arrives_is_acknowledged_silenced_resolved_and_exported(page: Page, tmp_path: Path) -> None:
    make_channel("ops")
    page.goto(INBOX)
    expect(page.locator(".to-sentence")).to_have_text("check_circleNo incident is open, so nobody is needed.")
    keep(page, "inbox-empty")

    # It appears in the open page, without a reload.
    page.evaluate("window.isTheSamePage = true")
    incident = arrive("db-1")
    row = page.locator(f"[data-key='{incident.pk}']")
    expect(row).to_be_visible(timeout=10_000)
    expect(row).to_have_class("to-panel in-row in-arrived")
    expect(page.locator("[data-inbox-status]")).to_contain_text("Live")
    expect(page.locator(".to-sentence")).to_contain_text("1 incident needs somebody.")
    expect(page.locator("#nav-sidebar .to-count")).to_have_text("1")
    assert page.evaluate("window.isTheSamePage")

    # What a person is doing survives the next one's arrival: what is chosen, the focus, an open dialog.
    row.locator("input[name=incident]").check()
    row.get_by_role("link", name="Silence").click()
    page.locator("#dialog [name=comment]").fill("half a sen")
    second = arrive("db-2", severity="warning")
    expect(page.locator(f"[data-key='{second.pk}']")).to_be_attached(timeout=10_000)
    expect(page.locator("#dialog [name=comment]")).to_have_value("half a sen")
    expect(row.locator("input[name=incident]")).to_be_checked()
    assert page.evaluate("document.activeElement.name") == "comment"
    keep(page, "inbox-silence")
    confirm(page, length="1800", comment="The disk is being replaced.")
    expect(row).to_contain_text("Silenced by ada until")
    assert Silence.objects.get().comment == "The disk is being replaced."
    keep(page, "inbox")
    page.set_viewport_size(NARROW)
    assert not is_too_wide(page)
    page.set_viewport_size(WIDE)

    row.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("body")).to_contain_text("1 incident was acknowledged.")
    incident.refresh_from_db()
    assert incident.state == IncidentState.ACKNOWLEDGED

    page.goto(f"/admin/monitoring/incident/{incident.pk}/change/")
    page.get_by_role("link", name="Resolve").locator("visible=true").first.click()
    confirm(page, resolution="fixed", note="A bigger disk was put in.")
    expect(page.locator(".to-sentence").first).to_contain_text("Over after")
    incident.refresh_from_db()
    assert incident.resolution == Resolution.FIXED
    assert incident.events.get(kind=EventKind.RESOLVED).details["note"] == "A bigger disk was put in."
    page.get_by_role("button", name="Useful", exact=True).click()
    expect(page.get_by_role("button", name="Useful", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("body")).to_contain_text("The log is intact")
    keep(page, "incident-over")
    page.set_viewport_size(NARROW)
    assert not is_too_wide(page)
    page.set_viewport_size(WIDE)

    for link, suffix in (("HTML", "html"), ("JSON", "json")):
        with page.expect_download() as download:
            page.get_by_role("link", name=link).click()
        file = tmp_path / f"incident.{suffix}"
        download.value.save_as(file)
        assert download.value.suggested_filename == f"incident-{incident.pk}.{suffix}"
        assert verified(file) == incident.events.count()

    page.get_by_role("link", name="Why was I told, or not?").click()
    expect(page.locator("body")).to_contain_text("ops")
    assert not is_too_wide(page)
    keep(page, "incident-told")
