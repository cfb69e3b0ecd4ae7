import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from feedback import ingest, rollups
from feedback.shapes import ResponseShape
from feedback.tables import RESPONSES
from monitoring import incidents
from monitoring.models import Incident
from tests.browser import world
from triageops.observability import jobs
from triageops.observability.models import ScheduledJob

# The rollups take in what was committed, so tests must commit.
pytestmark = pytest.mark.django_db(transaction=True)

HOME = "/admin/"


def page(client: Client, query: str = "") -> str:
    answer = client.get(HOME + query)
    assert answer.status_code == 200
    return answer.content.decode()


def text_of(html: str) -> str:
    """What a reader sees, on one line."""
    bare = re.sub(r"<script.*?</script>|<[^>]+>", " ", html, flags=re.DOTALL)
    return " ".join(bare.split())


def plot(html: str, key: str) -> dict[str, Any]:
    found = re.search(rf'<script id="chart-data-{key}" type="application/json">(.*?)</script>', html)
    assert found, f"no plot {key}"
    loaded: dict[str, Any] = json.loads(found[1])
    return loaded


def test_home_nothing_yet_shows_what_to_do(admin_client: Client) -> None:
    html = page(admin_client)
    assert "No responses yet" in html
    assert "curl http://127.0.0.1:8000/api/v1/responses" in html
    assert "No scheduled work has run yet, so nothing is being watched." in html
    assert "data-chart" not in html


def test_home_full_first_line_is_the_incident(admin_client: Client) -> None:
    incident = world.everything(timezone.now(), days=1)
    html = page(admin_client)
    said = text_of(html)
    assert f"1 open incident: {incident.title}" in said
    assert "llama2-70b" in incident.title
    assert reverse("admin:monitoring_incident_change", args=[incident.pk]) in html
    assert said.index("1 open incident") < said.index("Responses, 7 days")


def test_home_full_shows_numbers_of_the_rollups(admin_client: Client) -> None:
    now = timezone.now()
    count = world.facts(world.api_key(now), now, days=1)
    said = text_of(page(admin_client))
    shown = f"{count:,}".replace(",", " ")
    assert f"Responses, 7 days {shown} " in said
    assert re.search(r"Feedback on responses [\d.]+ % [\d.]+ to [\d.]+ %", said)
    assert re.search(r"Thumbs-up among feedback [\d.]+ % [\d.]+ to [\d.]+ %", said)


def test_home_plots_have_one_line_and_band_per_variant(admin_client: Client) -> None:
    world.everything(timezone.now(), days=1)
    html = page(admin_client)
    series = plot(html, "quality")["options"]["series"]
    assert [one["name"] for one in series if one["id"].startswith("line:")] == [
        "gpt-4",
        "claude-2",
        "llama2-70b",
    ]
    assert len([one for one in series if one["id"].startswith("band:")]) == 3
    notes = next(one for one in series if one["id"] == "annotations")
    assert [mark["name"] for mark in notes["markLine"]["data"]] == ["onset"]
    for key in ("quality", "traffic", "coverage"):
        figure = html[html.index(f'id="chart-{key}"') :]
        assert "<table" in figure[: figure.index("</figure>")]
        assert 'role="img"' in figure[: figure.index("</figure>")]


def test_home_traffic_adds_up_to_the_responses(admin_client: Client) -> None:
    now = timezone.now()
    count = world.facts(world.api_key(now), now, days=1)
    series = plot(page(admin_client), "traffic")["options"]["series"]
    assert sum(point[4] for one in series for point in one.get("data", [])) == count


def test_home_responses_without_cost_shows_that_there_is_none(admin_client: Client) -> None:
    now = timezone.now()
    ingest.record(RESPONSES, ResponseShape(response_id="r-1"), world.api_key(now).pk, now)
    rollups.roll_up(now)
    assert re.search(r"Cost, 7 days\s*–", text_of(page(admin_client)))


def test_home_without_experiment_groups_by_model(admin_client: Client) -> None:
    now = timezone.now()
    world.facts(world.api_key(now), now, days=0.2)
    assert "Experiments that run will appear here" in page(admin_client)


def test_home_metric_and_window_can_be_chosen(admin_client: Client) -> None:
    world.everything(timezone.now(), days=1)
    html = page(admin_client, "?metric=groundedness&window=24h")
    assert plot(html, "quality")["title"].startswith("Groundedness over 24 hours")
    assert 'data-live="?window=24h&amp;metric=groundedness&amp;live=1"' in html


def test_home_nonsense_in_the_address_is_ignored(admin_client: Client) -> None:
    world.everything(timezone.now(), days=1)
    html = page(admin_client, "?window=9y&metric=%3Cscript%3Ealert(1)%3C/script%3E")
    assert plot(html, "quality")["title"].startswith("Helpfulness over 7 days")
    assert "<script>alert(1)" not in html


def test_home_live_gives_the_parts_without_the_frame(admin_client: Client) -> None:
    world.everything(timezone.now(), days=1)
    whole, live = page(admin_client), page(admin_client, "?live=1")
    assert re.findall(r'data-part="(\w+)"', live) == re.findall(r'data-part="(\w+)"', whole)
    assert "<html" not in live
    assert "nav-sidebar" not in live


def test_home_live_without_login_leads_to_the_login(client: Client) -> None:
    answer = client.get(HOME + "?live=1")
    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")


def test_home_live_for_someone_without_staff_rights_leads_to_the_login(client: Client) -> None:
    client.force_login(User.objects.create_user("visitor"))
    assert client.get(HOME + "?live=1").status_code == 302


@pytest.mark.parametrize("query", ["", "?live=1"])
def test_home_full_needs_ten_queries_at_most(admin_client: Client, query: str) -> None:
    world.everything(timezone.now(), days=1)
    page(admin_client)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        page(admin_client, query)
    assert len(queries) <= 10, "\n".join(query["sql"][:150] for query in queries)
    facts = ("feedback_response ", 'feedback_response"', "feedback_qualityrecord", 'feedback_feedback"')
    assert not [query for query in queries if any(name in query["sql"] for name in facts)]


def late_job() -> None:
    now = timezone.now()
    world.schedule(now)
    ScheduledJob.objects.filter(name="roll-up").update(started_at=now - timedelta(minutes=9))


def failing_job() -> None:
    now = timezone.now()
    world.schedule(now)
    jobs.record(name="roll-up", started_at=now, finished_at=now, rows=0, error="ValueError: no")


def new_job() -> None:
    now = timezone.now()
    world.schedule(now)
    record = ScheduledJob.objects.filter(name="clean-up")
    record.update(started_at=None, interval_seconds=3_600, declared_at=now - timedelta(minutes=17))
    ScheduledJob.objects.filter(name="roll-up").update(run_count=100_000)


def test_home_work_whose_first_run_is_to_come_is_no_complaint(admin_client: Client) -> None:
    new_job()
    said = text_of(page(admin_client))
    assert "No open incidents. All scheduled work on time." in said
    assert "first run in 43 min" in said


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda: world.schedule(timezone.now()), "No open incidents. All scheduled work on time."),
        (late_job, "No open incidents, but not all scheduled work is well: roll-up (late)."),
        (failing_job, "No open incidents, but not all scheduled work is well: roll-up (failing)."),
    ],
)
def test_home_scheduled_work_decides_the_sentence(
    admin_client: Client, prepare: Callable[[], None], said: str
) -> None:
    prepare()
    assert said in text_of(page(admin_client))


def test_home_incident_and_late_work_shows_both(admin_client: Client) -> None:
    late_job()
    world.incident(timezone.now())
    said = text_of(page(admin_client))
    assert "1 open incident" in said
    assert "Not all scheduled work is well: roll-up (late)." in said


def test_home_resolved_incident_is_not_counted_as_open(admin_client: Client) -> None:
    now = timezone.now()
    world.schedule(now)
    world.incident(now)
    Incident.objects.update(state="resolved", resolution="fixed", resolved_at=now)
    html = page(admin_client)
    assert "No open incidents." in html
    assert "to-count" not in html


def test_home_unclassified_metric_and_unmatched_feedback_are_hinted_at(admin_client: Client) -> None:
    now = timezone.now()
    key = world.api_key(now)
    world.facts(key, now, days=0.2)
    world.orphan(key, now)
    said = text_of(page(admin_client))
    assert "1 metric name was seen for the first time." in said
    assert "1 piece of feedback waits for a response not seen yet." in said


def allowed(client: Client, *permissions: str) -> Client:
    person = User.objects.create_user("guest", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    assert person.user_permissions.count() == len(permissions)
    client.force_login(person)
    return client


PARTS = {
    "view_response": {"tiles", "quality", "traffic"},
    "view_feedback": {"tiles", "coverage"},
    "view_incident": {"incidents"},
    "change_experiment": {"experiments"},
    "view_scheduledjob": {"jobs"},
}


@pytest.mark.parametrize("query", ["", "?live=1"])
@pytest.mark.parametrize("permissions", [(), *((name,) for name in PARTS), tuple(PARTS)])
def test_home_shows_a_person_only_what_they_may_view(
    client: Client, permissions: tuple[str, ...], query: str
) -> None:
    now = timezone.now()
    incident = world.everything(now, days=1)
    world.orphan(world.api_key(now, name="other"), now)
    html = page(allowed(client, *permissions), query)
    shown = set(re.findall(r'data-part="(\w+)"', html)) - {"state", "hints"}
    if "view_incident" not in permissions:
        assert incident.title not in html
        assert "to-count" not in html
        shown -= {"incidents"}  # its empty place
    assert shown == set().union(*(PARTS[name] for name in permissions))
    said = text_of(html)
    assert ("Responses, 7 days" in said) == ("view_response" in permissions)
    assert ("Thumbs-up among feedback" in said) == ("view_feedback" in permissions)
    assert ("waits for a response" in said) == ("view_feedback" in permissions)


@pytest.mark.parametrize("query", ["", "?live=1"])
def test_home_without_any_permission_says_whom_to_ask(client: Client, query: str) -> None:
    world.everything(timezone.now(), days=1)
    said = text_of(page(allowed(client), query))
    assert "There is nothing here that you may see yet. Ask whoever manages the users" in said
    assert "No responses yet" not in said


@pytest.mark.parametrize(
    ("permissions", "words"),
    [
        (["view_incident"], "No open incidents."),
        (["view_scheduledjob"], "All scheduled work on time."),
        (["view_experiment"], "Incidents and scheduled work are not among what you may see here."),
    ],
)
def test_home_sentence_claims_only_what_the_person_may_view(
    client: Client, permissions: list[str], words: str
) -> None:
    world.schedule(timezone.now())
    html = page(allowed(client, *permissions))
    sentence = text_of(html[html.index('data-part="state"') : html.index("</section>")])
    assert words in sentence
    assert ("incidents." in sentence) == ("view_incident" in permissions)
    assert ("on time" in sentence) == ("view_scheduledjob" in permissions)


def test_badge_is_for_those_who_may_view_incidents(client: Client) -> None:
    world.incident(timezone.now())
    changelist = reverse("admin:feedback_apikey_changelist")
    assert "to-count" not in allowed(client, "view_apikey").get(changelist).content.decode()


def test_badge_no_incident_shows_nothing_one_shows_the_number(admin_client: Client) -> None:
    changelist = reverse("admin:feedback_apikey_changelist")
    assert "to-count" not in admin_client.get(changelist).content.decode()
    world.incident(timezone.now())
    assert re.search(r"to-count[^>]*>1<", admin_client.get(changelist).content.decode())


def test_environment_names_where_we_are(admin_client: Client, settings: Settings) -> None:
    settings.ENVIRONMENT = "staging"
    assert "staging" in text_of(page(admin_client))
    settings.IS_DEMO = True
    assert "demo data" in text_of(page(admin_client))


def test_pages_policy_allows_no_inline_script_and_no_other_host(admin_client: Client) -> None:
    policy = admin_client.get(HOME)["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-eval'" in policy
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "unsafe-eval" not in admin_client.get("/health")["Content-Security-Policy"]


def test_pages_have_no_inline_script(admin_client: Client) -> None:
    world.everything(timezone.now(), days=1)
    html = page(admin_client)
    inline = [tag for tag in re.findall(r"<script[^>]*>", html) if "src=" not in tag]
    assert all('type="application/json"' in tag for tag in inline)
    assert not re.search(r'\son(click|load|change|submit)="', html)


def test_unknown_address_shows_our_page(client: Client) -> None:
    answer = client.get("/nothing-here")
    assert answer.status_code == 404
    assert "There is no such page" in answer.content.decode()


def test_login_leads_home(client: Client) -> None:
    User.objects.create_superuser("ada", password="correct horse")
    answer = client.post("/admin/login/", {"username": "ada", "password": "correct horse"})
    assert answer["Location"] == HOME


def storm(now: Any, count: int, severity: str = "warning") -> None:
    Incident.objects.bulk_create(
        Incident(
            source="api",
            slice_key=f"storm-{severity}-{number}",
            labels={"alertname": "storm"},
            title=f"storm {number} failed",
            severity=severity,
            onset_at=now,
            opened_at=now,
        )
        for number in range(count)
    )


def grave(now: Any, title: str = "the database is down") -> Incident:
    return Incident.objects.create(
        source="api", slice_key=title, labels={"alertname": title}, title=title, severity="critical", onset_at=now, opened_at=now
    )  # fmt: skip


def test_home_in_a_storm_names_what_is_most_urgent_and_folds_the_rest(admin_client: Client) -> None:
    now = timezone.now()
    first = grave(now - timedelta(hours=1))
    storm(now, 300)
    html = page(admin_client)
    said = text_of(html)
    assert (
        "301 open incidents, and all of them need somebody; the most urgent is the database is down" in said
    )
    assert reverse("admin:monitoring_incident_change", args=[first.pk]) in html
    assert "300 incidents of “storm”" in said
    assert re.search(r"to-count[^>]*>301<", html)
    with CaptureQueriesContext(connection) as queries:
        page(admin_client)
    assert len(queries) <= 10


def test_home_counts_all_of_a_storm_that_it_does_not_read_whole(admin_client: Client) -> None:
    now = timezone.now()
    storm(now - timedelta(hours=1), 600)
    grave(now)
    said = text_of(page(admin_client))
    assert (
        "601 open incidents, and all of them need somebody; the most urgent is the database is down" in said
    )
    assert "At least 499 incidents of “storm”" in said
    assert "101 more incidents are open, less urgent than these." in said


def test_home_says_what_is_taken_care_of_and_that_nobody_is_needed(admin_client: Client) -> None:
    now = timezone.now()
    incidents.acknowledge(grave(now).pk, now=now)
    html = page(admin_client)
    assert "1 open incident, and nobody is needed now: the database is down" in text_of(html)
    assert "taken care of" in text_of(html)
    assert 'class="to-sentence to-look"' in html


def test_home_for_information_only_is_not_red(admin_client: Client) -> None:
    storm(timezone.now(), 1, severity="info")
    html = page(admin_client)
    assert 'class="to-sentence to-look"' in html
    listed = html[html.index('aria-label="Open incidents') :]
    assert "to-harm" not in listed[: listed.index("</ul>")]
