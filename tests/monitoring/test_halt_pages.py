"""What people and programs see of incidents of halted experiments."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from experiments.models import Experiment, State
from feedback.models import ApiKey, Scope
from monitoring import guardrails, tasks
from monitoring.models import Incident, IncidentState, MessageKind, OutboxMessage, Resolution
from tests.monitoring.factories import make_channel, make_incident, make_monitor
from tests.monitoring.halts import EVIDENCE, SOON, halt, running

pytestmark = pytest.mark.django_db

DIALOG = {"_form_submitted": "on"}


@pytest.fixture(autouse=True)
def wakes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No broker is asked; how often delivery would have been woken."""
    found: list[str] = []
    monkeypatch.setattr(tasks.deliver_due, "delay", lambda: found.append("woken"))
    return found


def opened(**changes: Any) -> Incident:
    """The incident of an experiment that has just been halted."""
    halt(running(), **changes)
    assert guardrails.open_halts(SOON) == 1
    return Incident.objects.get()


def page(client: Client, name: str, *args: object, query: str = "") -> str:
    answer = client.get(reverse(f"admin:monitoring_{name}", args=args) + query)
    assert answer.status_code == 200
    return answer.content.decode()


def act(client: Client, incident: Incident, action: str, **given: str) -> Any:
    address = reverse(f"admin:monitoring_incident_{action}", args=[incident.pk])
    return client.post(address, {**DIALOG, **given}, headers={"HX-Request": "true"})


def test_page_of_a_halt_begins_with_the_answer_and_shows_evidence_and_samples(admin_client: Client) -> None:
    make_channel("ops")
    shown = page(admin_client, "incident_change", opened().pk)
    assert "was halted by its guardrail helpful answers: claude-2 is worse than gpt-4" in shown
    assert "nobody has acknowledged it" in shown
    assert "chart-data-halt" in shown
    for words in (
        "points",
        "Units of claude-2",
        "Value of gpt-4",
        "e = 31.2; a halt needs 20.0",
        "which got claude-2",
    ):
        assert words in shown
    assert f"{reverse('admin:feedback_response_changelist')}?q=r-2%3Fx%3D1%26y" in shown
    assert f"{reverse('admin:experiments_experiment_changelist')}?q=llm_model_ab_test" in shown
    assert "Who was told" in shown
    assert "ops" in shown


@pytest.mark.parametrize("evidence", [{}, {"headline": "Everybody gets the control", "affected_count": 3}])
def test_page_of_a_halt_without_numbers_opens(evidence: dict[str, Any], admin_client: Client) -> None:
    shown = page(admin_client, "incident_change", opened(evidence=evidence).pk)
    assert "there was no channel that is told of" in shown
    assert "Sample responses" not in shown


def test_pages_with_halts_open_with_few_queries(
    admin_client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for name in ("a", "b", "c"):
        make_channel(name)
    incident = opened()
    make_incident(make_monitor())
    for where in (
        reverse("admin:monitoring_incident_change", args=[incident.pk]),
        reverse("admin:monitoring_incident_changelist"),
        reverse("admin:index"),
    ):
        admin_client.get(where)
        with django_assert_max_num_queries(10):
            assert "llm_model_ab_test" in admin_client.get(where).content.decode()


def test_samples_are_no_links_for_who_may_not_see_responses(client: Client) -> None:
    person = User.objects.create_user("guest", is_staff=True)
    person.user_permissions.add(Permission.objects.get(codename="view_incident"))
    client.force_login(person)
    shown = page(client, "incident_change", opened().pk)
    assert "r-1" in shown
    assert "?q=r-1" not in shown


def test_list_is_filtered_by_what_it_is_about_and_found_by_key(admin_client: Client) -> None:
    halted = opened()
    watched = make_incident(make_monitor())

    def titles(query: str) -> tuple[bool, bool]:
        shown = page(admin_client, "incident_changelist", query=query)
        return str(halted.pk) in shown, str(watched.pk) in shown

    assert titles("") == (True, True)
    assert titles("?about=experiment") == (True, False)
    assert titles("?about=monitor") == (False, True)
    assert titles("?q=llm_model") == (True, False)


def test_halt_is_acknowledged_by_the_person_who_says_so(admin_client: Client, admin_user: User) -> None:
    make_channel()
    incident = opened()
    act(admin_client, incident, "acknowledge")
    incident.refresh_from_db()
    assert (incident.state, incident.acknowledged_by) == (IncidentState.ACKNOWLEDGED, admin_user)
    assert OutboxMessage.objects.get(kind=MessageKind.ACKNOWLEDGE).payload["state"] == "acknowledged"


def test_dialog_of_a_halt_says_that_the_experiment_stays_halted(admin_client: Client) -> None:
    incident = opened()
    shown = page(admin_client, "incident_change", incident.pk)
    assert reverse("admin:monitoring_incident_resolve_halt", args=[incident.pk]) in shown
    assert reverse("admin:monitoring_incident_resolve", args=[incident.pk]) + '"' not in shown
    address = reverse("admin:monitoring_incident_resolve_halt", args=[incident.pk])
    assert "stays halted" in admin_client.get(address, headers={"HX-Request": "true"}).content.decode()


def test_halt_is_resolved_by_a_person_without_touching_the_experiment(admin_client: Client) -> None:
    incident = opened()
    act(admin_client, incident, "resolve_halt", resolution="false_positive")
    incident.refresh_from_db()
    assert (incident.state, incident.resolution) == (IncidentState.RESOLVED, Resolution.FALSE_POSITIVE)
    assert Experiment.objects.get().state == State.HALTED
    assert "Over after" in page(admin_client, "incident_change", incident.pk)


def test_channel_form_asks_whether_it_is_told_of_halts(admin_client: Client) -> None:
    assert "Tell this channel when an experiment is halted." in page(admin_client, "channel_add")


def test_rest_has_the_experiment_and_the_evidence() -> None:
    key = ApiKey(name="reader", scopes=[Scope.INCIDENTS_READ])
    secret = ApiKey.new_secret()
    key.take_secret(secret)
    key.save()
    api = Client(headers={"Authorization": f"Bearer {secret}"})
    incident = opened()
    make_incident(make_monitor())
    body = api.get(f"/api/v1/incidents/{incident.pk}").json()
    assert (body["monitor"], body["experiment"], body["evidence"]) == (None, "llm_model_ab_test", EVIDENCE)
    assert body["effect"]["n"] == 1240
    rows = api.get("/api/v1/incidents?experiment=llm_model_ab_test").json()["results"]
    assert [row["id"] for row in rows] == [str(incident.pk)]
    newest = api.get("/api/v1/incidents").json()["results"][0]
    assert (newest["experiment"], newest["evidence"]) == ("", {})
