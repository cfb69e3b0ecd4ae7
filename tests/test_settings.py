import os
import subprocess
import sys

import pytest


def said(zone: str) -> subprocess.CompletedProcess[str]:
    """What is wrong with the settings, as bin/up asks before it starts anything."""
    given = os.environ | {"TRIAGEOPS_SEASON_ZONE": zone, "DJANGO_SETTINGS_MODULE": "triageops.settings"}
    command = [sys.executable, "-m", "triageops.settings_errors"]
    return subprocess.run(command, env=given, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("zone", ["Europe/Wien", "../etc/passwd", "Europe", "+01:00"])
def test_season_zone_that_is_unknown_is_refused_at_start(zone: str) -> None:
    done = said(zone)
    assert (done.returncode, done.stderr) == (
        1,
        f"TRIAGEOPS_SEASON_ZONE: “{zone}” is no time zone, such as Europe/Vienna.\n",
    )


def test_season_zone_of_a_place_is_accepted() -> None:
    assert said("Europe/Vienna").returncode == 0
