from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from monitoring.models import Hours, Incident, Route, Silence
from monitoring.notifying import route_settings
from tests.monitoring.factories import make_channel, make_monitor
from tests.monitoring.silencing import opened, told
from tests.monitoring.test_routes_import import TEXT
from tests.monitoring.test_routes_preview import FRIDAY, silence
from tests.monitoring.usage import guest
from triageops import wording

pytestmark = pytest.mark.django_db

LIST = "admin:monitoring_route_changelist"


def page(client: Client, name: str, *args: object, status: int = 200, **query: str) -> str:
    answer = client.get(reverse(f"admin:monitoring_route_{name}", args=args), query)
    assert answer.status_code == status
    return answer.content.decode()


def form(**changes: Any) -> dict[str, Any]:
    return {
        "name": "severe",
        "grouping": "inherited",
        "digest_hour": 9,
        "digest_zone": "UTC",
        "outside": "skip",
    } | changes


@pytest.fixture
def root() -> Route:
    make_channel("ops")
    return route_settings.create({"name": "all", "channels": ["ops"], "group_wait_seconds": 20})


def test_tree_shows_each_route_with_what_it_has_from_above(admin_client: Client, root: Route) -> None:
    route_settings.create({"name": "severe", "matchers": 'severity="critical"', "group_wait_seconds": 0})
    text = page(admin_client, "changelist")
    assert "2 routes say who is told" in text
    assert "severity=&quot;critical&quot;" in text
    assert '<span class="mo-channel mo-dim">ops</span>' in text
    assert "<span>waits 0s</span>" in text
    assert '<span class="mo-dim">then every 5m</span>' in text


def test_tree_without_routes_says_what_to_do(admin_client: Client) -> None:
    text = page(admin_client, "changelist")
    assert "There are no routes yet" in text
    assert "Make the first route" in text


def test_tree_warns_of_what_cannot_work(admin_client: Client) -> None:
    make_channel("off", is_enabled=False)
    route_settings.create({"name": "all"})
    route_settings.create({"name": "everything", "channels": ["off"]})
    route_settings.create({"name": "never", "matchers": "a=b", "tells_nobody": True})
    text = page(admin_client, "changelist")
    assert "It has no channel, so nobody is told." in text
    assert "All its channels are disabled." in text
    assert "It takes everything that comes here, so the route after it is never asked." in text
    assert "It is never asked: “everything” before it takes all that it would take." in text


def test_tree_warns_of_a_sibling_that_swallows_and_tells_nobody(admin_client: Client, root: Route) -> None:
    words = "It takes everything that comes here and tells nobody: the channels of “all” hear nothing."
    route_settings.create({"name": "critical", "matchers": 'severity="critical"', "channels": ["ops"]})
    route_settings.create({"name": "quiet", "matchers": 'alertname=~".+"', "tells_nobody": True})
    assert words in page(admin_client, "changelist")
    route_settings.edit(Route.objects.get(name="quiet").pk, {"matchers": 'severity="info"'})
    text = page(admin_client, "changelist")
    assert words not in text
    assert "mo-warning" not in text


@pytest.mark.parametrize(
    ("parent", "before", "own", "words"),
    [
        ('severity="critical"', "", 'severity="error"', "It can never match: nothing fits"),
        ("", "", 'severity="fatal"', "It can never match: nothing fits severity=&quot;fatal&quot;."),
        ("", "", 'team="a", team!~"a|b"', "It can never match"),
        ("", "", 'incident_id="x"', "routes do not know the label “incident_id”"),
        ("", 'severity=~"critical|error"', 'severity="critical", team="a"', "“before” before it takes all"),
        ('team="a"', "team!=b", 'severity="critical"', "“before” before it takes all"),
        ("", 'severity="critical"', 'severity=~"critical|error"', ""),
        ("", 'severity="critical", team="a"', 'severity="critical"', ""),
        ("", "", 'team=~"a.*", team!="ab"', ""),
    ],
)
def test_tree_warns_of_a_route_to_which_nothing_can_come(
    admin_client: Client, root: Route, parent: str, before: str, own: str, words: str
) -> None:
    above = route_settings.create({"name": "above", "matchers": parent or 'kind!=""', "channels": ["ops"]})
    if before:
        route_settings.create({"name": "before", "matchers": before, "parent": above.pk})
    route_settings.create({"name": "own", "matchers": own, "parent": above.pk})
    text = page(admin_client, "changelist")
    assert words in text
    assert ("mo-warning" in text) == bool(words)


def test_route_that_somebody_changed_meanwhile_is_not_overwritten(admin_client: Client, root: Route) -> None:
    address = reverse("admin:monitoring_route_change", args=[root.pk])
    shown = admin_client.get(address)
    assert 'name="version" value="1"' in shown.content.decode()
    values = form(name="all", channels=["ops"], version="1", group_wait="1m")
    assert admin_client.post(address, values).status_code == 302
    answer = admin_client.post(address, values | {"group_wait": "2m"})
    assert "Somebody changed this route after this form was opened" in answer.content.decode()
    root.refresh_from_db()
    assert (root.group_wait_seconds, root.version) == (60, 2)


def test_channel_of_the_product_is_no_choice_and_tells_nobody(admin_client: Client, root: Route) -> None:
    sink = make_channel("receipt", kind="sink", url="")
    own = reverse("admin:monitoring_route_change", args=[root.pk])
    assert "receipt" not in admin_client.get(own).content.decode()
    answer = admin_client.post(own, form(name="all", channels=["receipt"]))
    assert "receipt is not one of the available choices" in answer.content.decode()
    root.channels.set([sink])
    assert "It has no channel, so nobody is told." in page(admin_client, "changelist")
    assert "Nobody would be told of it." in page(admin_client, "preview", labels="model = m2")
    incident = opened(make_monitor())
    assert told(incident) == []
    text = admin_client.get(reverse("admin:monitoring_incident_told", args=[incident.pk])).content.decode()
    assert "receipt" not in text


def test_route_is_made_with_the_form(admin_client: Client, root: Route) -> None:
    make_channel("chief")
    Hours.objects.create(name="office", zone="UTC", ranges="mon-fri 09:00-17:00")
    assert "20s, as above it" in page(admin_client, "add")
    values = form(
        parent=root.pk,
        matchers='severity="critical"\nteam=~"a|b"',
        channels=["ops", "chief"],
        grouping="labels",
        labels="model, metric",
        group_wait="0",
        repeat_interval="1h30m",
        hours="office",
        after_1="15m",
        told_1=["chief"],
    )
    answer = admin_client.post(reverse("admin:monitoring_route_add"), values, follow=True)
    assert "it is in force" in answer.content.decode()
    route = Route.objects.get(name="severe")
    assert route.parent == root
    assert route.matchers == ['severity="critical"', 'team=~"a|b"']
    assert route.group_by == ["model", "metric"]
    assert (route.group_wait_seconds, route.group_interval_seconds, route.repeat_interval_seconds) == (
        0,
        None,
        5_400,
    )
    assert {one.name for one in route.channels.all()} == {"ops", "chief"}
    [step] = route.steps.all()
    assert (step.after_seconds, [one.name for one in step.channels.all()]) == (900, ["chief"])
    assert LogEntry.objects.get().object_id == str(route.pk)


def test_route_saved_as_it_was_shown_stays_the_same(admin_client: Client, root: Route) -> None:
    steps = [{"after_seconds": 60 * number, "channels": ["ops"]} for number in (1, 2, 3, 4)]
    made = route_settings.create(
        {
            "name": "severe",
            "matchers": "a=b",
            "group_by": ["..."],
            "steps": steps,
            "repeat_interval_seconds": 0,
        }
    )
    before = Route.objects.filter(pk=made.pk).values().get() | {"version": 2}
    address = reverse("admin:monitoring_route_change", args=[made.pk])
    shown = admin_client.get(address).context["form"]
    values = {bound.html_name: bound.value() for bound in shown if bound.value() not in (None, False)}
    answer = admin_client.post(address, values, follow=True)
    assert "was changed" in answer.content.decode()
    assert Route.objects.filter(pk=made.pk).values().get() == before
    assert [step.after_seconds for step in made.steps.all()] == [60, 120, 180, 240]


def test_pages_of_a_large_tree_ask_the_database_ten_times_at_most(
    admin_client: Client, root: Route, django_assert_max_num_queries: Any
) -> None:
    make_channel("chief")
    Hours.objects.create(name="office", zone="UTC", ranges="mon-fri 09:00-17:00")
    steps = [{"after_seconds": 900, "channels": ["chief"]}]
    for number in range(6):
        route = route_settings.create(
            {"name": str(number), "matchers": "a=b", "channels": ["ops"], "hours": "office", "steps": steps}
        )
    for name, args in (("changelist", ()), ("change", (route.pk,)), ("add", ()), ("remove", (route.pk,))):
        page(admin_client, name, *args)
        with django_assert_max_num_queries(10):
            page(admin_client, name, *args)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"matchers": "severity"}, "an operator is missing"),
        ({"matchers": 'a=~"(b+)+"'}, "repetition inside another"),
        ({"group_wait": "soon"}, "no duration"),
        ({"group_wait": "2h"}, "3600"),
        ({"grouping": "labels"}, "Name the labels."),
        ({"tells_nobody": "on", "channels": ["ops"]}, "has no channels"),
        ({"told_1": ["ops"]}, "30 seconds at the earliest"),
        ({"after_1": "15m"}, "tells nobody"),
        ({"name": "all"}, "There is a route called"),
        ({"digest_zone": "Mars"}, "no time zone"),
        ({"parent": 999_999}, "Select a valid choice"),
    ],
)
def test_route_with_a_mistake_is_not_made(
    admin_client: Client, root: Route, changes: dict[str, Any], words: str
) -> None:
    answer = admin_client.post(reverse("admin:monitoring_route_add"), form(parent=root.pk) | changes)
    assert words in answer.content.decode()
    assert Route.objects.count() == 1


def test_route_is_moved_and_removed_with_what_is_below(admin_client: Client, root: Route) -> None:
    first, second = (route_settings.create({"name": name}) for name in ("one", "two"))
    route_settings.create({"name": "deep", "parent": second.pk})
    admin_client.post(reverse("admin:monitoring_route_move", args=[second.pk]), {"by": "-1"})
    assert list(root.children.values_list("name", flat=True)) == ["two", "one"]
    assert admin_client.get(reverse("admin:monitoring_route_move", args=[first.pk])).status_code == 405
    assert "and the 1 below it" in page(admin_client, "remove", second.pk)
    admin_client.post(reverse("admin:monitoring_route_remove", args=[second.pk]))
    assert set(Route.objects.values_list("name", flat=True)) == {"all", "one"}


def test_preview_page_says_who_is_told(admin_client: Client, root: Route) -> None:
    route_settings.create({"name": "severe", "matchers": "severity=critical", "tells_nobody": True})
    text = page(admin_client, "preview", labels="severity = error", at="2026-08-21 14:00")
    assert f"ops would be told, the first after {wording.seconds(20)}." in text
    assert "2026-08-21 14:00:20" in text
    assert "“severity” is “error”, which does not fit severity=&quot;critical&quot;." in text
    text = page(admin_client, "preview", labels="severity = critical")
    assert "Nobody would be told of it." in text
    for at in ("noon", "9999-12-31 23:59"):
        assert "no time; write it as" in page(admin_client, "preview", labels="a = b", at=at)


def test_preview_page_says_what_holds_it_back_when_the_first_would_be_told(
    admin_client: Client, root: Route
) -> None:
    for hours, words in ((1, "But it is held back then, by a silence by ada."), (0, "ops would be told")):
        silence(starts_at=FRIDAY, ends_at=FRIDAY + timedelta(hours=hours, seconds=10))
        text = page(admin_client, "preview", labels="model = m2", at=FRIDAY.isoformat())
        assert words in text
        assert "Silenced: a silence by ada" in text
        assert ("held back then" in text) == bool(hours)
        Silence.objects.all().delete()


def test_preview_page_counts_steps_from_the_first_message(admin_client: Client, root: Route) -> None:
    make_channel("chief")
    Hours.objects.create(name="office", zone="UTC", ranges="mon 09:00-17:00")
    steps = [{"after_seconds": 900, "channels": ["chief"]}]
    route_settings.edit(root.pk, {"hours": "office", "outside": "wait", "steps": steps})
    text = page(admin_client, "preview", labels="model = m2", at=FRIDAY.isoformat())
    assert "2026-08-24 09:00:00" in text
    assert "2026-08-24 09:15:00" in text
    root.channels.clear()
    text = page(admin_client, "preview", labels="model = m2", at=FRIDAY.isoformat())
    assert "chief" not in text.partition("<tbody>")[2]


def test_preview_page_takes_an_incident(admin_client: Client, root: Route) -> None:
    now = timezone.now()
    incident = Incident.objects.create(
        monitor=make_monitor(channels=(make_channel("named"),)),
        slice_key="all", title="fell", severity="error", onset_at=now, opened_at=now,
    )  # fmt: skip
    text = page(admin_client, "preview", incident=str(incident.pk))
    assert "named, ops would be told, the first at once." in text
    assert "monitor=helpfulness floor" in text


def test_import_page_shows_the_plan_then_applies_it(admin_client: Client) -> None:
    address = reverse("admin:monitoring_route_import")
    file = SimpleUploadedFile("alertmanager.yml", TEXT.encode())
    text = admin_client.post(address, {"file": file}).content.decode()
    assert "Nothing is stored yet. It would make or change 3 channels, 1 hours, 3 routes, 1 rule." in text
    assert "receivers[0].opsgenie_configs" in text
    assert not Route.objects.exists()
    answer = admin_client.post(address, {"yaml": TEXT, "step": "apply"}, follow=True)
    assert "Imported: " in answer.content.decode()
    assert Route.objects.count() == 3
    assert "Everything in it is here already." in admin_client.post(address, {"yaml": TEXT}).content.decode()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "Paste a configuration"),
        ({"yaml": "route: [\nx"}, "Line 2"),
        ({"file": SimpleUploadedFile("x", b"\xff\xfe\xff")}, "no text in UTF-8"),
    ],
)
def test_import_page_refuses_what_it_cannot_read(
    admin_client: Client, given: dict[str, Any], words: str
) -> None:
    assert words in admin_client.post(reverse("admin:monitoring_route_import"), given).content.decode()


def test_pages_need_their_permissions(client: Client, root: Route) -> None:
    reader, other = client, Client()
    reader.force_login(guest("view_route"))
    other.force_login(User.objects.create_user("other", is_staff=True))
    assert "all" in page(reader, "changelist")
    assert "Save" not in page(reader, "change", root.pk)
    page(reader, "preview")
    for name, args in (("add", ()), ("import", ()), ("remove", (root.pk,))):
        page(reader, name, *args, status=403)
    address = reverse("admin:monitoring_route_change", args=[root.pk])
    assert reader.post(address, form(name="mine")).status_code == 403
    page(other, "changelist", status=403)
    root.refresh_from_db()
    assert root.name == "all"


def test_pages_of_a_route_that_is_not_there_are_not_found(admin_client: Client) -> None:
    page(admin_client, "change", 7, status=404)
    page(admin_client, "change", "x", status=404)
    page(admin_client, "remove", 7, status=404)


def test_hours_are_written_in_one_way_and_drawn(admin_client: Client) -> None:
    address = reverse("admin:monitoring_hours_add")
    values = {"name": "night", "zone": "Europe/Berlin", "ranges": "22:00-6:00"}
    admin_client.post(address, values, follow=True)
    hours = Hours.objects.get()
    assert hours.ranges == "mon-sun 22:00-06:00"
    text = admin_client.get(reverse("admin:monitoring_hours_change", args=[hours.pk])).content.decode()
    assert text.count('<rect x="88"') == 7
    for changes, words in (({"zone": "Mars"}, "no time zone"), ({"ranges": "noon"}, "has no times")):
        answer = admin_client.post(address, values | {"name": "x"} | changes)
        assert words in answer.content.decode()
