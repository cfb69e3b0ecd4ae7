"""Many incidents are asked about before they are resolved; forms show what is used."""

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from monitoring.models import Incident, IncidentState
from tests.browser.conftest import is_too_wide, keep

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]


def storm(count: int) -> None:
    now = timezone.now()
    Incident.objects.bulk_create(
        Incident(
            source="api",
            slice_key=f"storm-{number}",
            labels={"alertname": "storm"},
            title=f"storm {number} failed",
            severity="critical" if number == 0 else "warning",
            onset_at=now,
            opened_at=now,
        )
        for number in range(count)
    )


@pytest.mark.usefixtures("knows_nothing")
def test_story_is_resolved_after_a_question_that_names_its_size(page: Page) -> None:
    storm(31)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/admin/monitoring/incident/inbox/")
    page.get_by_label("All lines, with what is folded into them").check()
    page.get_by_role("button", name="Resolve chosen").click()
    expect(page.locator(".to-sentence")).to_contain_text("Resolve 31 incidents: 1 critical, 30 warning?")
    expect(page.get_by_text("30 of them are folded into lines of the inbox")).to_be_visible()
    keep(page, "resolve-many-390")
    assert not is_too_wide(page)
    page.get_by_role("button", name="Resolve 31 incidents").click()
    expect(page.get_by_text("Choose why it is over.")).to_be_visible()
    assert Incident.objects.filter(state=IncidentState.FIRING).count() == 31
    page.locator("#id_resolution").select_option("expected")
    page.locator("#id_note").fill("a drill")
    page.get_by_role("button", name="Resolve 31 incidents").click()
    expect(page.get_by_text("31 incidents were resolved.")).to_be_visible()
    assert set(Incident.objects.values_list("resolution", flat=True)) == {"expected"}


@pytest.mark.parametrize(
    ("repeats", "shown"),
    [
        ("once", set()),
        ("weekly", {"weekdays", "start", "hours"}),
        ("monthly", {"month_day", "start", "hours"}),
    ],
)
def test_form_of_a_window_shows_what_its_repetition_uses(repeats: str, shown: set[str], page: Page) -> None:
    page.goto("/admin/monitoring/maintenancewindow/add/")
    page.locator("#id_repeats").select_option(repeats)
    names = ("weekdays", "month_day", "start", "hours")
    found = {name for name in names if page.locator(f".field-{name}").first.is_visible()}
    assert found == shown
    heading = page.get_by_role("heading", name="When it repeats")
    assert heading.is_visible() == bool(shown)
