import re
from datetime import datetime

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone
from playwright.sync_api import BrowserContext, Page, expect
from pytest_django import Settings

from feedback.models import ApiKey
from tests.browser import world
from tests.browser.conftest import is_too_wide, keep

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(180)]

LINES = """id => echarts.getInstanceByDom(document.querySelector(`#chart-${id} .to-chart-canvas`))
    .getOption().series.filter(one => one.type === "line" && one.data.length)
    .map(one => [one.name, one.data.filter(point => point[1] !== null).length])"""
COLOURS = """id => {
    const canvas = document.querySelector(`#chart-${id} canvas`);
    const copy = document.createElement("canvas");
    [copy.width, copy.height] = [canvas.width, canvas.height];
    const paper = copy.getContext("2d", { willReadFrequently: true });
    paper.drawImage(canvas, 0, 0);
    const pixels = paper.getImageData(0, 0, copy.width, copy.height).data;
    const found = new Set();
    for (let at = 0; at < pixels.length; at += 4) {
        if (pixels[at + 3] > 200) found.add(`${pixels[at]},${pixels[at + 1]},${pixels[at + 2]}`);
    }
    return [...found];
}"""


def wait_for_plots(page: Page, count: int) -> None:
    expect(page.locator('.to-chart-canvas[data-drawn="yes"]')).to_have_count(count)


def open_home(page: Page, query: str = "") -> None:
    page.goto("/admin/" + query)
    wait_for_plots(page, 3)


def refresh_now(page: Page) -> None:
    """What happens by itself ten seconds later, or when the tab is looked at again."""
    with page.expect_response(re.compile("live=1")):
        page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def test_login_leads_home(context: BrowserContext, settings: Settings) -> None:
    # The server of these tests has Django's own hashers, not the fast one of the tests.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    get_user_model().objects.create_superuser("grace", password="correct horse battery")
    page = context.new_page()
    page.goto("/admin/")
    page.fill("#id_username", "grace")
    page.fill("#id_password", "correct horse battery")
    keep(page, "login")
    page.click("button[type=submit]")
    expect(page.locator(".to-sentence")).to_be_visible()


def test_home_plots_are_drawn_in_light_dark_and_on_a_phone(page: Page) -> None:
    incident = world.everything(timezone.now(), days=7)
    open_home(page)
    expect(page.locator(".to-sentence")).to_contain_text(f"1 open incident: {incident.title}")
    for plot in ("quality", "traffic", "coverage"):
        lines = dict(page.evaluate(LINES, plot))
        assert set(lines) == {"gpt-4", "claude-2", "llama2-70b"}
        assert min(lines.values()) > 3
        assert len(page.evaluate(COLOURS, plot)) > 5
    keep(page, "home-1280-light")
    assert "46,151,212" in page.evaluate(COLOURS, "quality")

    page.emulate_media(color_scheme="dark")
    page.reload()
    wait_for_plots(page, 3)
    expect(page.locator("html.dark")).to_be_attached()
    dark = page.evaluate(COLOURS, "quality")
    assert "142,212,255" in dark
    assert "46,151,212" not in dark
    keep(page, "home-1280-dark")

    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="light")
    open_home(page)
    assert not is_too_wide(page)
    keep(page, "home-390-light")


def test_home_theme_switch_changes_the_plots_at_once(page: Page) -> None:
    world.everything(timezone.now(), days=1)
    open_home(page)
    page.locator("#nav-sidebar [x-on\\:click*='openUserLinks']").first.click()
    page.get_by_text("Dark", exact=True).click()
    expect(page.locator("html.dark")).to_be_attached()
    assert "142,212,255" in page.evaluate(COLOURS, "quality")


def test_home_times_are_local_with_utc_on_hover(page: Page) -> None:
    incident = world.everything(timezone.now(), days=1)
    open_home(page)
    since = page.locator(".to-sentence time")
    local = page.evaluate("at => new Date(at).toTimeString().slice(0, 5)", incident.opened_at.isoformat())
    assert local in since.inner_text()
    title = since.get_attribute("title") or ""
    assert incident.opened_at.strftime("%Y-%m-%d %H:%M:%S UTC") in title
    assert "ago" in page.locator('[data-part="jobs"] time').first.inner_text()


def test_home_plot_is_read_with_keys_and_as_a_table(page: Page) -> None:
    world.everything(timezone.now(), days=1)
    open_home(page)
    figure = page.locator("#chart-quality")
    figure.locator(".to-chart-canvas").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(figure.locator(".to-chart-readout")).to_contain_text("UTC")
    expect(figure.locator(".to-chart-readout")).to_contain_text("llama2-70b")
    expect(figure.locator(".to-chart-canvas")).to_have_attribute(
        "aria-label", re.compile("Helpfulness over 7 days")
    )
    figure.get_by_text("Table", exact=True).click()
    assert figure.locator("tbody tr").count() > 3
    assert figure.locator("th[scope=col]").all_inner_texts() == ["Time", "gpt-4", "claude-2", "llama2-70b"]


def test_home_plot_is_exported_as_csv_and_png(page: Page) -> None:
    world.everything(timezone.now(), days=1)
    open_home(page)
    for name, begins in (("CSV", b'"Time","gpt-4"'), ("PNG", b"\x89PNG")):
        with page.expect_download() as download:
            page.locator("#chart-quality").get_by_role("button", name=name).click()
        assert download.value.path().read_bytes().startswith(begins)


def test_home_keeps_itself_current_without_a_jump(page: Page) -> None:
    now = timezone.now()
    key = world.api_key(now)
    world.facts(key, now, days=1)
    world.schedule(now)
    open_home(page, "?window=24h")
    page.locator("#chart-traffic").get_by_text("Table", exact=True).click()
    page.evaluate("window.scrollTo(0, 300)")
    page.evaluate("window.canvas = document.querySelector('#chart-quality canvas')")
    before = page.locator(".to-tile-value").first.inner_text()

    world.orphan(key, timezone.now())
    incident = world.found_incident(timezone.now())
    refresh_now(page)

    expect(page.locator(".to-sentence")).to_contain_text(incident.title)
    expect(page.locator(".to-hints")).to_contain_text("waits for a response not seen yet")
    expect(page.locator("[data-live-status]")).to_have_text("Live")
    assert page.locator(".to-tile-value").first.inner_text() == before
    assert page.evaluate("window.scrollY") == 300
    assert page.evaluate("document.querySelector('#chart-quality canvas') === window.canvas")
    assert page.locator("#chart-traffic details").get_attribute("open") is not None
    marks = "echarts.getInstanceByDom(window.canvas.closest('.to-chart-canvas')).getOption().series.at(-1).markLine.data"
    assert "onset" in [mark["name"] for mark in page.evaluate(marks)]


def test_home_first_response_replaces_the_instructions(page: Page) -> None:
    page.goto("/admin/")
    expect(page.get_by_text("No responses yet")).to_be_visible()
    page.locator('[data-copy="copy-response"]').click()
    expect(page.locator('[data-copy="copy-response"]')).to_have_text("Copied")
    assert "/api/v1/responses" in page.evaluate("navigator.clipboard.readText()")
    keep(page, "home-empty")

    now = timezone.now()
    world.facts(world.api_key(now), now, days=0.5)
    refresh_now(page)
    wait_for_plots(page, 3)
    assert not page.get_by_text("No responses yet").is_visible()
    expect(page.locator("[data-live-status]")).to_have_text("Live")


def test_home_signed_out_says_that_it_is_not_live(page: Page) -> None:
    open_empty_and_sign_out(page)
    expect(page.locator("[data-live-status]")).to_contain_text("Not live: You were signed out.")


def open_empty_and_sign_out(page: Page) -> None:
    page.goto("/admin/")
    page.context.clear_cookies()
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def fill_variant(page: Page, number: int, key: str, weight: str) -> None:
    page.fill(f"#id_variants-{number}-key", key)
    page.fill(f"#id_variants-{number}-weight_bp", weight)
    page.fill(f"#id_variants-{number}-config", f'{{"model": "{key}"}}')


@pytest.mark.usefixtures("knows_nothing")
def test_experiment_with_three_variants_is_created_and_started(page: Page) -> None:
    page.goto("/admin/experiments/experiment/add/")
    page.fill("#id_key", "llm_model_ab_test")
    page.fill("#id_name", "Which model answers best")
    while page.locator("#id_variants-2-key").count() == 0:
        page.get_by_text("Add another Variant").click()
    for number, (key, weight) in enumerate((("gpt-4", "50"), ("claude-2", "30"), ("llama2-70b", "20"))):
        fill_variant(page, number, key, weight)
    page.locator("#id_variants-0-is_control").check(force=True)
    keep(page, "experiment-form")
    page.get_by_role("button", name="Save and continue editing").click()
    expect(page.locator("body")).to_contain_text("was added successfully")

    page.get_by_role("link", name="Start").click()
    keep(page, "experiment-start")
    page.locator("form").get_by_role("button", name="Start").click()
    expect(page.locator("body")).to_contain_text("Running")
    keep(page, "experiment-running")
    page.goto("/admin/")
    expect(page.locator('[data-part="empty"]')).to_be_visible()


def test_incident_page_shows_what_happened(page: Page) -> None:
    incident = world.everything(timezone.now(), days=1)
    open_home(page)
    page.locator(".to-sentence a").click()
    expect(page.locator("body")).to_contain_text("nobody has acknowledged it")
    wait_for_plots(page, 2)
    assert page.evaluate(COLOURS, page_plots(page)[0])
    assert incident.title.split(" ")[0].capitalize() in page.locator("body").inner_text()
    keep(page, "incident-1280")
    page.set_viewport_size({"width": 390, "height": 844})
    keep(page, "incident-390")
    assert not is_too_wide(page)


def page_plots(page: Page) -> list[str]:
    return [
        str(name).removeprefix("chart-")
        for name in page.eval_on_selector_all("figure[data-chart]", "all => all.map(one => one.id)")
    ]


def test_api_key_is_made_copied_once_and_revoked(page: Page) -> None:
    page.goto("/admin/feedback/apikey/add/")
    page.fill("#id_name", "triage-api")
    page.get_by_label("record responses").check()
    page.get_by_role("button", name="Save", exact=True).click()
    page.locator('[data-copy="new-api-key"]').click()
    expect(page.locator('[data-copy="new-api-key"]')).to_have_text("Copied")
    secret = page.evaluate("navigator.clipboard.readText()")
    key = ApiKey.objects.get()
    assert ApiKey.digest_of(secret) == key.digest
    keep(page, "api-key-created")

    page.goto(f"/admin/feedback/apikey/{key.pk}/change/")
    page.locator("[hx-get$='/revoke/']").first.click()
    expect(page.get_by_text("Revoke this key?")).to_be_visible()
    page.get_by_role("button", name="Revoke the key").click()
    expect(page.locator("body")).to_contain_text("is revoked")
    assert isinstance(ApiKey.objects.get().revoked_at, datetime)


def test_every_list_opens_on_a_phone_and_in_the_dark(page: Page) -> None:
    world.everything(timezone.now(), days=1)
    page.goto("/admin/")
    addresses = page.eval_on_selector_all(
        "#nav-sidebar a[href^='/admin/']", "all => all.map(one => one.pathname)"
    )
    assert len(set(addresses)) > 10
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    for address in sorted(set(addresses)):
        page.goto(address)
        assert not is_too_wide(page), address
    page.goto("/admin/feedback/apikey/")
    keep(page, "api-keys-390-dark")


def test_api_documentation_works_offline(page: Page) -> None:
    page.goto("/api/docs")
    expect(page.locator(".swagger-ui .info")).to_be_visible()
    keep(page, "api-docs")
