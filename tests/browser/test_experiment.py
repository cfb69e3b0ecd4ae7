"""One experiment from draft to shipped, as somebody in the admin sees it: with a halt, and a resume with a reason."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from experiments import allocation
from experiments.analysis.look import look
from experiments.exposures import collect
from experiments.models import Experiment, ExperimentEvent, State
from feedback import ingest
from feedback.shapes import ResponseShape
from feedback.tables import RESPONSES
from tests.browser import world
from tests.browser.conftest import is_too_wide, keep

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(240)]

KEY = "prompt_v7"


def define(page: Page) -> None:
    """A draft with two variants, a primary metric and a guardrail, through the form."""
    page.goto("/admin/experiments/experiment/add/")
    page.fill("#id_key", KEY)
    page.fill("#id_name", "Does the short prompt answer better?")
    for number, key in enumerate(("long", "short")):
        page.fill(f"#id_variants-{number}-key", key)
        page.fill(f"#id_variants-{number}-config", f'{{"prompt": "{key}"}}')
    page.check("#id_variants-0-is_control")
    for number, (preset, role) in enumerate(
        (("positive per request (counts who said nothing)", "primary"), ("error rate", "guardrail"))
    ):
        page.get_by_role("link", name=re.compile("add another metric", re.IGNORECASE)).click()
        page.select_option(f"#id_metrics-{number}-preset", preset)
        page.select_option(f"#id_metrics-{number}-role", role)
    page.click("button[name=_save], input[name=_save]")
    expect(page.locator(".to-sentence").first).to_contain_text("ready to start")


def press(page: Page, action: str, *, reason: str = "") -> None:
    """A button of the page, and the one that confirms it."""
    page.click(f'.ex-buttons a[href$="/{action}/"]')
    if reason:
        page.fill("#id_reason", reason)
    confirm(page)


def confirm(page: Page) -> None:
    page.locator("form.to-panel button[type=submit]").first.click()


def answer(experiment: Experiment, count: int, *, prefix: str, failing: str = "") -> None:
    """Units ask, and their answers are recorded; those of the arm `failing` fail."""
    now = timezone.now()
    key = world.api_key(now, name=prefix)
    definition = allocation.known(experiment.key)
    asked = [allocation.Asked(definition, f"{prefix}-{number}", {}) for number in range(count)]
    decisions = allocation.decide(asked, now=now)
    shapes = [
        ResponseShape(
            response_id=f"{prefix}-{number}",
            experiment=experiment.key,
            variant=decision.variant or "",
            unit=f"{prefix}-{number}",
            occurred_at=now,
            status="error" if decision.variant == failing else "success",
        )
        for number, decision in enumerate(decisions)
    ]
    ingest.record_many(RESPONSES, shapes, key.pk, now)
    collect.collect(now)


@pytest.mark.usefixtures("knows_nothing")
def test_experiment_goes_from_draft_to_shipped_with_a_halt_and_a_resume(page: Page) -> None:
    define(page)
    experiment = Experiment.objects.get()
    assert list(experiment.metrics.values_list("role", flat=True)) == ["primary", "guardrail"]
    press(page, "start", reason="everybody agreed")
    expect(page.locator(".to-sentence").first).to_contain_text("Running")

    answer(experiment, 300, prefix="well")
    look(experiment, now=timezone.now())
    answer(experiment, 300, prefix="ill", failing="short")
    look(experiment, now=timezone.now() + timedelta(minutes=5))
    assert Experiment.objects.get().state == State.HALTED
    page.reload()
    expect(page.locator(".to-sentence").first).to_contain_text("alted")
    expect(page.locator('[data-part="decision"]')).to_contain_text("short is worse than long on")
    expect(page.locator('#chart-effects .to-chart-canvas[data-drawn="yes"]')).to_be_visible()
    keep(page, "experiment-halted")

    press(page, "resume")
    assert Experiment.objects.get().state == State.HALTED
    page.fill("#id_reason", "the provider was down, and is back")
    confirm(page)
    expect(page.locator(".to-sentence").first).to_contain_text("Running")

    press(page, "stop", reason="we have seen enough")
    press(page, "ship")
    assert Experiment.objects.get().state == State.STOPPED
    page.get_by_label("short").check()
    confirm(page)
    expect(page.locator(".to-sentence").first).to_contain_text("short")
    experiment = Experiment.objects.get()
    assert (experiment.state, experiment.shipped_variant) == (State.SHIPPED, "short")
    actions = ExperimentEvent.objects.order_by("id").values_list("action", flat=True)
    assert list(actions) == ["create", "start", "halt", "resume", "stop", "ship"]
    keep(page, "experiment-shipped")
    page.set_viewport_size({"width": 390, "height": 844})
    assert not is_too_wide(page)
