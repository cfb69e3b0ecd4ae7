"""The sidebar offers what a person may open, and nothing that answers “forbidden”."""

import re

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from triageops.navigation import NAVIGATION

pytestmark = pytest.mark.django_db
LINKS = [str(item["link"]) for group in NAVIGATION for item in group["items"]]
OPEN_TO_ALL = ("/admin/", "/api/docs")
PERMISSIONS = [
    "view_incident",
    "change_incident",
    "view_monitor",
    "view_fleetbudget",
    "view_channel",
    "view_silence",
    "view_maintenancewindow",
    "view_route",
    "view_outboxmessage",
    "view_experiment",
    "view_response",
    "view_apikey",
]


def offered(client: Client) -> set[str]:
    html = client.get("/admin/").content.decode()
    sidebar = html[html.index('id="nav-sidebar-apps"') :]
    return set(re.findall(r'href="([^"?#]+)"', sidebar)) & set(LINKS)


@pytest.mark.parametrize("permission", ["", *PERMISSIONS])
def test_sidebar_shows_exactly_what_the_person_may_open(client: Client, permission: str) -> None:
    guest = User.objects.create_user("guest", is_staff=True)
    guest.user_permissions.set(Permission.objects.filter(codename=permission))
    client.force_login(guest)
    found = offered(client)
    may = {address for address in LINKS if client.get(address, follow=True).status_code == 200}
    assert found == may
    assert len(found) > len(OPEN_TO_ALL) or not permission


def test_sidebar_of_an_administrator_has_every_entry(admin_client: Client) -> None:
    assert offered(admin_client) == set(LINKS)


def test_sidebar_has_an_icon_of_its_own_for_every_entry() -> None:
    icons = [item["icon"] for group in NAVIGATION for item in group["items"]]
    assert len(set(icons)) == len(icons)
