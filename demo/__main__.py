"""python -m demo: a simulated LLM service that uses TriageOps as any client would, over HTTP. bin/up --demo starts it.

From the environment: TRIAGEOPS_BASE_URL and TRIAGEOPS_API_KEY. What has to be there first (the experiment, its monitor, the
channel on call, a message template) is made by manage.py demo_setup, which runs in a process of its own: nothing here imports the product.
"""

import json
import math
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from demo import history, monitors
from demo.alerting import Alerting
from demo.client import Client, Outage, Refused
from demo.receiver import Receiver
from demo.screen import Screen, grouped, lasting
from demo.service import Arm
from demo.story import Places, Story
from demo.traffic import Traffic

ROOT = Path(__file__).resolve().parent.parent
TICK_SECONDS = 1.0
MONITOR_SECONDS = 10.0


class CannotRun(Exception):
    """The message is one line for a person."""


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def given(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise CannotRun(f"{name} is missing; bin/up --demo sets it")
    return value


def set_up(receiver_url: str) -> dict[str, Any]:
    """What manage.py demo_setup has made or found; raises CannotRun."""
    command = [sys.executable, "manage.py", "demo_setup", "--receiver", receiver_url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotRun(f"demo_setup failed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def tell_outages(screen: Screen) -> Outage:
    return Outage(
        lambda reason: screen.say(
            f"TriageOps does not answer ({reason}); the service goes on and keeps what it has to tell."
        ),
        lambda seconds: screen.say(
            f"TriageOps is back after {lasting(seconds)}. What waited was sent again with the same ids; nothing is lost."
        ),
    )


def run(screen: Screen, base_url: str, key: str) -> NoReturn:
    receiver = Receiver()
    made = set_up(receiver.url)
    client = Client(base_url, key, tell_outages(screen))
    arms: dict[str, Arm] = {}
    tell_history(screen, client, arms, datetime.fromisoformat(made["began_at"]))
    monitors.make(client, screen)
    alerting = Alerting(client, screen)
    alerting.make(receiver.team_url)
    traffic = Traffic(client, screen, arms)
    story = Story(client, screen, traffic, Places(base_url, made["experiment_id"], made["monitor_id"]))
    receiver.open(
        made["secret"],
        story.inbox.put,
        lambda text: screen.say(f"In the team's chat: {text.splitlines()[0]}" if text else ""),
    )
    traffic.start()
    story.begin()
    look_at = time.monotonic()
    while True:
        traffic.run_until(time.monotonic() + TICK_SECONDS)
        story.tick()
        alerting.tick()
        if time.monotonic() >= look_at:
            look_at = math.inf if monitors.activate(client, screen) else time.monotonic() + MONITOR_SECONDS


def tell_history(screen: Screen, client: Client, arms: dict[str, Arm], began_at: datetime) -> None:
    began = time.monotonic()
    sent = history.send(client, screen, arms, began_at)
    if sent == 0:
        screen.say("The two weeks of history are there. If the admin's password is not:")
        screen.say(
            f"TRIAGEOPS_DATA_DIR={os.environ.get('TRIAGEOPS_DATA_DIR', '')} bin/manage changepassword admin"
        )
        return
    history.wait_until_counted(client, screen, began_at)
    screen.say(
        f"Two weeks of history are in: {grouped(sent)} answers in {lasting(time.monotonic() - began)}."
    )


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    screen = Screen()
    try:
        run(screen, given("TRIAGEOPS_BASE_URL").rstrip("/"), given("TRIAGEOPS_API_KEY"))
    except KeyboardInterrupt:
        return 0
    except (CannotRun, history.Rejected, Refused) as failure:
        # Exit code 0: a supervisor that starts it again would only read the same line again.
        screen.say(f"The demo cannot go on: {failure}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
