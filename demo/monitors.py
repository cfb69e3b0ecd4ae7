"""Monitors that learn, made over REST as any client may: from the history, tried out on it, and then activated."""

from datetime import UTC, datetime, timedelta
from typing import Any

from demo.client import Client, Refused
from demo.screen import Screen

WANTED: tuple[dict[str, Any], ...] = (
    {
        "name": "Latency of answers",
        "description": "Slow answers are given up by patients who are in a hurry.",
        "kind": "distribution",
        "metric": "latency_seconds",
        "parameters": {"side": "up"},
        "severity": "warning",
    },
    {
        "name": "Failed answers",
        "description": "Nobody gets an answer.",
        "kind": "rate",
        "metric": "error",
        "parameters": {"side": "up"},
    },
    {
        "name": "Groundedness by variant",
        "description": "Answers without sources are made up.",
        "kind": "distribution",
        "metric": "groundedness",
        "split_by": ["variant"],
        "max_slices": 3,
    },
)
RELEASE_AGE = timedelta(days=4)


def make(client: Client, screen: Screen) -> None:
    """Make those that are missing and have them tried out; a worker does it, in its own time."""
    known = {row["name"] for row in client.call("GET", "/monitors?page_size=100")["results"]}
    for wanted in WANTED:
        if wanted["name"] not in known:
            made = client.call("POST", "/monitors", wanted)
            client.call("POST", f"/monitors/{made['id']}/backtests", {})
    if not known.issuperset(wanted["name"] for wanted in WANTED):
        at = datetime.now(UTC) - RELEASE_AGE
        times = {"starts_at": at.isoformat(), "ends_at": (at + timedelta(minutes=30)).isoformat()}
        client.call("POST", "/markers", {"kind": "deploy", "name": "release 4.2", **times})
        screen.say(
            f"{len(WANTED)} monitors learn from the history and are tried out on it; they start by themselves."
        )


def activate(client: Client, screen: Screen) -> bool:
    """Have those watch that were tried out; whether nothing is left to do."""
    waiting = False
    for row in client.call("GET", "/monitors?page_size=100")["results"]:
        if row["name"] not in {wanted["name"] for wanted in WANTED}:
            continue
        waiting = waiting or row["state"] == "learning"
        if row["state"] == "backtested":
            try:
                client.call("POST", f"/monitors/{row['id']}/activate", {})
            except Refused:
                waiting = True
            else:
                screen.say(f"“{row['name']}” watches from now on.")
    return not waiting
