from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from monitoring import backtests, transitions
from monitoring.models import Backtest, BacktestState, Monitor
from monitoring.questions import question_of
from tests.monitoring.factories import make_monitor
from tests.monitoring.usage import guest

pytestmark = pytest.mark.django_db

DIALOG = {"_form_submitted": "on"}
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> list[Backtest]:
    """No broker is asked; which backtests a worker would begin."""
    found: list[Backtest] = []
    monkeypatch.setattr(backtests, "start", found.append)
    return found


def at(hours: float) -> str:
    return (BEGIN + timedelta(hours=hours)).isoformat()


def part(key: str = "all", name: str = "all records", alarms: int = 0) -> dict[str, Any]:
    alarm = {
        "at": at(5), "onset_at": at(3), "label": "down", "complaint": "fell", "is_single": False,
        "value": 0.71, "usual": 0.84, "n": 410,
    }  # fmt: skip
    points = [[at(hour), 0.8 + hour / 100, 0.7, 0.9, 0.8, -3.0 + hour, 120] for hour in range(6)]
    points.append([at(6), None, None, None, 0.8, None, 0])
    return {
        "key": key, "name": name, "n": 720, "mean": 0.8, "promised": 0.5, "alarm_count": alarms, "signal_count": 0,
        "alarms": [alarm] * alarms, "points": points,
    }  # fmt: skip


def injection(size: float, found: int, median: float | None) -> dict[str, Any]:
    return {
        "name": f"{size:g} sd lower", "size": size, "side": "down", "found": found, "tries": 5,
        "median_seconds": median, "delays": [median] * found + [None] * (5 - found),
    }  # fmt: skip


def report(**changes: Any) -> dict[str, Any]:
    return {
        "window": {"start": at(0), "end": at(24 * 14), "days": 14.0},
        "reference": {"start": at(-400), "end": at(0), "n": 12_400, "is_before": True},
        "budget": {"alarms_per_30_days": 2.1, "promised": 1.0},
        "slices": [part()],
        "alarm_count": 0,
        "signal_count": 0,
        "allowed": 3.0,
        "is_calm": True,
        "injections": [injection(0.25, 3, 40_000.0), injection(0.5, 5, 5_400.0), injection(1.0, 5, 1_200.0)],
        "sight": {},
        "notes": ["The past is short."],
    } | changes


def make(
    state: str = BacktestState.DONE, *, question: dict[str, Any] | None = None, **changes: Any
) -> Backtest:
    monitor = Monitor.objects.first() or make_monitor(started_at=None)
    done = state == BacktestState.DONE
    values = {
        "question": {**question_of(monitor), **(question or {})},
        "changes": question or {},
        "is_change": question is not None,
        "report": report() if done else {},
        "asked_at": timezone.now(),
    } | changes
    return Backtest.objects.create(monitor=monitor, state=state, **values)


def page(client: Client, backtest: Backtest, query: str = "") -> str:
    answer = client.get(reverse("admin:monitoring_backtest_change", args=[backtest.pk]) + query)
    assert answer.status_code == 200
    return answer.content.decode()


def act(client: Client, backtest: Backtest, action: str, **given: str) -> Any:
    address = reverse(f"admin:monitoring_backtest_{action}", args=[backtest.pk])
    return client.post(address, {**DIALOG, **given}, headers={"HX-Request": "true"})


def offers(shown: str, backtest: Backtest) -> set[str]:
    actions = ("activate", "apply_change", "run_again", "cancel")
    return {
        name for name in actions if reverse(f"admin:monitoring_backtest_{name}", args=[backtest.pk]) in shown
    }


def test_backtest_that_is_done_begins_with_the_answer(admin_client: Client) -> None:
    shown = page(admin_client, make())
    assert "In the last 14 days it would have raised 0 alarms (1 promised)." in shown
    assert "Put into the past, “0.5 sd lower” is found after 1\N{NARROW NO-BREAK SPACE}h 30" in shown
    for key in ("metric", "evidence", "delays"):
        assert f"chart-data-{key}" in shown
    assert "3 of 5" in shown
    assert "not always" in shown
    assert "None, in all slices." in shown
    assert "The past is short." in shown
    assert "a time before the one that is replayed" in shown
    assert 'data-live="' not in shown


def test_backtest_with_alarms_marks_them_and_lists_them(admin_client: Client) -> None:
    loud = report(slices=[part(alarms=2)], alarm_count=2, signal_count=1, allowed=1.0, is_calm=False)
    shown = page(admin_client, make(report=loud))
    assert "2 alarms and 1 signal of single buckets (1 promised). That is more than chance explains" in shown
    assert "to-sentence to-look" in shown
    assert "0.710 instead of 0.840" in shown
    assert '"name": "2 alarms"' in shown
    assert '"name": "onset"' in shown
    assert "of all records: 2 alarms" in shown


def test_backtest_of_several_slices_draws_the_chosen_one(admin_client: Client) -> None:
    several = [part("variant=one", "variant one"), part(), part("variant=two", "variant two")]
    backtest = make(report=report(slices=several))
    assert "of all records: no alarm" in page(admin_client, backtest)
    assert "of variant two: no alarm" in page(admin_client, backtest, "?slice=variant%3Dtwo")
    assert "of all records: no alarm" in page(admin_client, backtest, "?slice=nonsense")


@pytest.mark.parametrize(
    ("injections", "words"),
    [
        ([], "(1 promised)."),
        ([injection(0.25, 2, 900.0)], "None of the changes that were put into it was found every time."),
        ([injection(2.0, 5, 600.0)], "“2 sd lower” is found after 10"),
    ],
)
def test_backtest_sentence_says_what_was_found(
    injections: list[Any], words: str, admin_client: Client
) -> None:
    assert words in page(admin_client, make(report=report(injections=injections)))


def test_backtest_without_slices_or_points_opens(admin_client: Client) -> None:
    bare = {**part(), "points": [], "alarms": []}
    assert "0 alarms" in page(
        admin_client, make(report=report(slices=[bare], injections=[], notes=[], reference={}))
    )
    assert "0 alarms" in page(admin_client, make(report=report(slices=[])))


@pytest.mark.parametrize(
    ("state", "changes", "words"),
    [
        ("waiting", {}, "It waits for a worker."),
        ("running", {"progress": 0.4}, "It runs: 40\N{NARROW NO-BREAK SPACE}% of it is done."),
        ("failed", {"error": "There is no past."}, "It came to no result: There is no past."),
        ("cancelled", {}, "It was cancelled, so it says nothing."),
    ],
)
def test_backtest_in_each_state_says_how_it_stands(
    state: str, changes: dict[str, Any], words: str, admin_client: Client
) -> None:
    assert words in page(admin_client, make(state, **changes))


def test_backtest_under_way_is_fetched_anew_until_it_has_ended(admin_client: Client) -> None:
    backtest = make("running", progress=0.4)
    address = reverse("admin:monitoring_backtest_live", args=[backtest.pk])
    shown = page(admin_client, backtest)
    assert f'data-live="{address}" data-until-finished' in shown
    assert "data-finished" not in admin_client.get(address).content.decode()
    Backtest.objects.update(state="done", report=report())
    live = admin_client.get(address).content.decode()
    assert "data-finished" in live
    assert "<html" not in live


@pytest.mark.parametrize(
    ("state", "question", "expected"),
    [
        ("waiting", None, {"cancel"}),
        ("running", None, {"cancel"}),
        ("failed", None, {"run_again"}),
        ("done", None, {"run_again", "activate"}),
        ("done", {"max_slices": 7}, {"run_again", "apply_change"}),
    ],
)
def test_backtest_offers_what_fits_its_state(
    state: str, question: dict[str, Any] | None, expected: set[str], admin_client: Client
) -> None:
    backtest = make(state, question=question)
    assert offers(page(admin_client, backtest), backtest) == expected


def test_backtest_of_a_monitor_that_watches_offers_no_activation(admin_client: Client) -> None:
    make_monitor()
    backtest = make()
    assert offers(page(admin_client, backtest), backtest) == {"run_again"}


def test_backtest_of_a_monitor_changed_since_shows_how_and_offers_neither(admin_client: Client) -> None:
    backtest = make()
    Monitor.objects.update(max_slices=33)
    shown = page(admin_client, backtest)
    assert "The monitor was changed since" in shown
    assert offers(shown, backtest) == {"run_again"}


def test_backtest_of_a_change_shows_what_is_other(admin_client: Client) -> None:
    shown = page(admin_client, make(question={"max_slices": 7}))
    assert "What is other than in force now" in shown
    assert "max slices</th><td>7</td><td>10</td>" in shown


def test_activated_from_its_backtest_the_monitor_watches(admin_client: Client) -> None:
    backtest = make()
    answer = act(admin_client, backtest, "activate")
    assert answer.headers["HX-Redirect"] == reverse(
        "admin:monitoring_monitor_change", args=[backtest.monitor_id]
    )
    assert Monitor.objects.get().is_watching
    assert "Activated" in LogEntry.objects.get().change_message


def test_activation_that_is_refused_says_why(admin_client: Client) -> None:
    backtest = make("cancelled")
    answer = act(admin_client, backtest, "activate")
    assert answer.headers["HX-Redirect"] == reverse("admin:monitoring_backtest_change", args=[backtest.pk])
    assert not Monitor.objects.get().is_watching
    assert "Run a backtest" in page(admin_client, backtest)


def test_change_is_applied_with_a_reason(admin_client: Client) -> None:
    backtest = make(question={"max_slices": 7})
    assert "This field is required" in act(admin_client, backtest, "apply_change").content.decode()
    assert Monitor.objects.get().max_slices == 10
    act(admin_client, backtest, "apply_change", reason="calmer")
    assert Monitor.objects.get().max_slices == 7
    assert "calmer" in LogEntry.objects.get().change_message


def test_change_that_cannot_be_applied_is_refused_in_words(admin_client: Client) -> None:
    backtest = make(question={"max_slices": 7})
    Backtest.objects.update(state="cancelled")
    act(admin_client, backtest, "apply_change", reason="calmer")
    assert Monitor.objects.get().max_slices == 10
    assert "Only a finished backtest" in page(admin_client, backtest)


def test_run_again_asks_the_same_question(admin_client: Client, started: list[Backtest]) -> None:
    backtest = make(question={"max_slices": 7})
    answer = act(admin_client, backtest, "run_again")
    again = Backtest.objects.exclude(pk=backtest.pk).get()
    assert (again.question, again.is_change, started) == (backtest.question, True, [again])
    assert answer.headers["HX-Redirect"] == reverse("admin:monitoring_backtest_change", args=[again.pk])
    act(admin_client, backtest, "run_again")
    assert Backtest.objects.count() == 2


def test_cancelled_backtest_has_ended(admin_client: Client) -> None:
    backtest = make("running")
    act(admin_client, backtest, "cancel")
    assert Backtest.objects.get().state == "cancelled"
    act(admin_client, backtest, "cancel")
    assert "It was finished already." in page(admin_client, backtest)


@pytest.mark.parametrize("action", ["activate", "apply_change", "run_again", "cancel"])
def test_backtest_cannot_be_acted_on_by_who_may_only_look(
    action: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transitions, "activate", lambda *_, **__: pytest.fail("activated"))
    backtest = make(question={"max_slices": 7})
    client.force_login(guest("view_backtest"))
    assert act(client, backtest, action, reason="r").status_code == 403
    assert offers(page(client, backtest), backtest) == set()
    assert Backtest.objects.count() == 1


def test_backtest_is_not_shown_to_everybody(client: Client) -> None:
    backtest = make()
    client.force_login(guest())
    assert client.get(reverse("admin:monitoring_backtest_change", args=[backtest.pk])).status_code == 403
    assert client.get(reverse("admin:monitoring_backtest_live", args=[backtest.pk])).status_code == 404


def test_backtest_pages_open_with_few_queries(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    backtest = make()
    for number in range(5):
        make("failed", error=f"error {number}")
    listed = reverse("admin:monitoring_backtest_changelist")
    admin_client.get(listed)
    with django_assert_max_num_queries(10):
        shown = admin_client.get(listed).content.decode()
    assert "Calm: 0 alarms, where 1 were promised." in shown
    assert "error 3" in shown
    with django_assert_max_num_queries(10):
        page(admin_client, backtest)


def test_backtest_list_is_empty_at_first_and_says_where_to_go(admin_client: Client) -> None:
    shown = admin_client.get(reverse("admin:monitoring_backtest_changelist")).content.decode()
    assert reverse("admin:monitoring_suggestions") in shown


@pytest.mark.parametrize("pk", ["notauuid", "01890000-0000-7000-8000-000000000000"])
def test_backtest_that_does_not_exist_leads_home(pk: str, admin_client: Client) -> None:
    answer = admin_client.get(reverse("admin:monitoring_backtest_change", args=[pk]))
    assert answer.status_code == 302
    assert admin_client.get(reverse("admin:monitoring_backtest_live", args=[pk])).status_code == 404


def test_backtest_of_another_share_of_the_budget_says_so(admin_client: Client) -> None:
    backtest = make(report=report(budget={"alarms_per_30_days": 1.0, "promised": 1.0}))
    assert "its share at that time" not in page(admin_client, backtest)
    Monitor.objects.update(alarms_per_30_days=0.5)
    assert "its share at that time. It is 0.5 now, so it finds changes later" in page(admin_client, backtest)


def test_backtest_of_a_rule_promises_nothing(admin_client: Client) -> None:
    shown = page(admin_client, make(question={"kind": "never"}))
    assert "a fixed rule, which promises nothing about chance" in shown
    assert "promised)" not in shown


def test_activation_after_a_loud_backtest_asks_for_a_reason(admin_client: Client) -> None:
    backtest = make(report=report(is_calm=False))
    shown = act(admin_client, backtest, "activate").content.decode()
    assert "Its backtest was not calm" in shown
    assert "This field is required" in shown
    assert not Monitor.objects.active().exists()
    act(admin_client, backtest, "activate", reason="the alarms were real")
    assert Monitor.objects.active().exists()
    assert "the alarms were real" in LogEntry.objects.get().change_message


def test_dialog_that_is_opened_by_itself_leads_to_its_page(admin_client: Client) -> None:
    backtest = make()
    answer = admin_client.get(reverse("admin:monitoring_backtest_activate", args=[backtest.pk]))
    assert answer.headers["Location"] == reverse("admin:monitoring_backtest_change", args=[backtest.pk])
