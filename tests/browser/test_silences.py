"""A silence is made, seen, ended and made again in a browser, and found in the calendar by keyboard."""

from datetime import timedelta

from django.utils import timezone
from playwright.sync_api import Page, expect

from monitoring.models import MaintenanceWindow, OutboxMessage
from tests.browser.conftest import is_too_wide, keep
from tests.monitoring.factories import make_channel, make_monitor
from tests.monitoring.silencing import opened, silenced

HOUR = timedelta(hours=1)
LIST = "/admin/monitoring/silence/"
CALENDAR = f"{LIST}calendar/"


def statuses() -> set[str]:
    return set(OutboxMessage.objects.values_list("status", flat=True))


def test_silence_is_made_ended_and_made_again(page: Page) -> None:
    now = timezone.now()
    monitor = make_monitor(channels=(make_channel(),))
    opened(monitor, now=now, key="variant=a", labels={"variant": "a"})
    page.goto(f"{LIST}add/")
    page.fill("[name=matchers]", 'variant="a"')
    expect(page.get_by_text("This suppresses 1 open incident:")).to_be_visible()
    expect(page.locator("[data-own-zone-name]")).to_have_text("Europe/Madrid")
    page.fill("[name=comment]", "The new retriever is being rolled out.")
    page.get_by_text("until Monday 9:00", exact=True).click()
    page.get_by_role("button", name="Silence", exact=True).click()
    expect(page.get_by_text("1 silence holds back 1 open incident now.")).to_be_visible()
    assert statuses() == {"suppressed"}
    keep(page, "silences")
    page.get_by_role("link", name="End now").click()
    expect(page.get_by_text("When it is ended now, 1 open incident will be told to ops.")).to_be_visible()
    assert statuses() == {"suppressed"}
    keep(page, "silence-end")
    page.get_by_role("button", name="End it now").click()
    expect(page.get_by_text("Nothing is silenced now.")).to_be_visible()
    assert statuses() == {"pending"}
    page.get_by_role("button", name="Again for").click()
    expect(page.get_by_text("1 silence holds back 1 open incident now.")).to_be_visible()
    assert statuses() == {"suppressed"}


def test_calendar_fits_any_screen_and_is_reached_by_keyboard(page: Page) -> None:
    now = timezone.now()
    silenced(now=now, comment="A long reason that says what is being repaired and by whom")
    MaintenanceWindow.objects.create(
        name="Database restart",
        repeats="weekly",
        weekdays="sat,sun",
        start="22:00",
        duration_seconds=14_400,
        zone="Europe/Berlin",
        starts_at=now - 30 * 24 * HOUR,
        created_by="bo",
    )
    for view in ("week", "month"):
        for width, scheme in ((1280, "light"), (390, "dark")):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.goto(f"{CALENDAR}?view={view}&zone=Europe/Berlin")
            assert not is_too_wide(page)
            keep(page, f"calendar-{view}-{width}")
    entry = page.get_by_role("link", name="holds now").first
    entry.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Change", exact=True)).to_be_visible()
