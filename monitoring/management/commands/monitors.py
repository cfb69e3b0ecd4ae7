"""bin/manage monitors: what REST and the admin do with monitors, from a terminal or a script."""

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.utils.encoders import JSONEncoder

from monitoring.management.console import acts
from monitoring.management.console.acts import Act, Said
from monitoring.management.console.suggesting import suggest
from monitoring.management.console.trying import backtest
from monitoring.models import MarkerKind, MonitorState
from monitoring.slices import ALL
from triageops.rest import Problem

_BACKTEST = "backtest"

ACTS: dict[str, Act] = {
    "list": acts.show_all,
    "show": acts.show,
    "create": acts.create,
    "set": acts.change,
    "activate": acts.activate,
    "pause": acts.pause,
    "learn": acts.learn,
    "accept": acts.accept,
    "check": acts.check,
    "effects": acts.effects,
    "markers": acts.markers,
    "mark": acts.add_marker,
    "end-marker": acts.end_marker,
    "budget": acts.budget,
    "suggest": suggest,
}


class Command(BaseCommand):
    help = "Define, try out and run monitors; MONITOR is an id or a name."

    def add_arguments(self, parser: CommandParser) -> None:
        words = parser.add_subparsers(dest="act", required=True, metavar="WORD")

        def add(name: str, said: str, *, monitor: bool = True, signed: bool = False) -> ArgumentParser:
            one: ArgumentParser = words.add_parser(name, help=said, description=said)
            one.add_argument("--json", action="store_true", dest="is_json", help="Print JSON.")
            if monitor:
                one.add_argument("monitor", metavar="MONITOR")
            if signed:
                one.add_argument("--by", metavar="USERNAME", help="Who does it.")
            return one

        _add_reading(add)
        _add_defining(add)
        _add_suggesting(add)
        _add_running(add)
        _add_fleet(add)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            said = self._done(options)
        except Problem as problem:
            raise _error(problem.field, problem.detail, problem.fix) from None
        except ValidationError as error:
            raise _error(*_first(error.detail)) from None
        text = json.dumps(said.data, cls=JSONEncoder, indent=2, ensure_ascii=False)
        self.stdout.write(text if options["is_json"] else "\n".join(said.lines))

    def _done(self, options: dict[str, Any]) -> Said:
        if options["act"] == _BACKTEST:
            return backtest(options, clock=timezone.now, tell=self._tell)
        return ACTS[options["act"]](options, timezone.now())

    def _tell(self, progress: float) -> None:
        self.stderr.write(f"{progress:.0%}", ending="\r" if sys.stderr.isatty() else "\n")


def _add_reading(add: Any) -> None:
    one = add("list", "All monitors.", monitor=False)
    one.add_argument("--state", choices=MonitorState.values)
    one.add_argument("--metric")
    add("show", "One monitor with its slices and their evidence.")
    one = add("effects", "How far the last 24 hours, or an open incident, are from the reference.")
    one.add_argument("--slice", default=ALL, metavar="KEY", help="Key of a slice (all).")


def _add_defining(add: Any) -> None:
    settings = {
        "nargs": "*",
        "metavar": "NAME=VALUE",
        "help": "For example where.model=gpt-4 severity=error.",
    }
    one = add("create", "A monitor that watches nothing yet.", monitor=False)
    one.add_argument("name", metavar="NAME")
    one.add_argument(
        "pairs",
        **{**settings, "help": "kind=… and metric=… are needed, parameters.level=… and others may be."},
    )
    one = add(
        "set", "Change settings; of a monitor that watches, another question needs --reason.", signed=True
    )
    one.add_argument("pairs", **settings)
    one.add_argument("--reason", default="", help="Stands with the new reference.")


def _add_suggesting(add: Any) -> None:
    one = add(
        "suggest", "What could be watched; with KEYs these monitors are made.", monitor=False, signed=True
    )
    one.add_argument("keys", nargs="*", metavar="KEY")


def _add_running(add: Any) -> None:
    one = add("activate", "Watch from now on.", signed=True)
    one.add_argument("--without-backtest", metavar="REASON", help="Why it need not be tried out first.")
    add("pause", "Stop watching. Open incidents stay open.")
    one = add("learn", "Learn what is usual for what it asks now, unless it has.", signed=True)
    one.add_argument("--reason", default="")
    one = add("accept", "What is shown now is usual from now on; open incidents are over.", signed=True)
    one.add_argument("--reason", required=True)
    one.add_argument(
        "--from", dest="start", metavar="TIME", help="Default: since the earliest open incident."
    )
    one.add_argument("--to", dest="end", metavar="TIME", help="Default: now.")
    one = add(
        _BACKTEST, "Try its settings, or other ones, out on the past, and wait for the report.", signed=True
    )
    one.add_argument("pairs", nargs="*", metavar="NAME=VALUE", help="Settings other than the present ones.")
    one.add_argument("--apply", metavar="REASON", help="Put these settings into force afterwards.")
    add("check", "Check all closed buckets now instead of within a minute, and show the last ones.")


def _add_fleet(add: Any) -> None:
    add("markers", "The last markers.", monitor=False)
    one = add("mark", "Say that something is known to happen: it is no evidence.", monitor=False, signed=True)
    one.add_argument("kind", choices=MarkerKind.values)
    one.add_argument("name", metavar="NAME", help="For example “release 4.2”.")
    one.add_argument("--minutes", type=int, help="How long it lasts.")
    one.add_argument("--from", dest="starts_at", metavar="TIME", help="Default: now.")
    one.add_argument("--to", dest="ends_at", metavar="TIME")
    one.add_argument("--where", action="append", default=[], metavar="NAME=VALUE", help="Only these records.")
    one = add("end-marker", "Have a marker end now, or at another time.", monitor=False)
    one.add_argument("id", type=int)
    one.add_argument("--at", metavar="TIME")
    one = add("budget", "The common budget of false alarms; with NAME=VALUE it is changed.", monitor=False)
    one.add_argument("pairs", nargs="*", metavar="NAME=VALUE", help="For example alarms_per_30_days=2.")


def _error(field: str | None, detail: str, fix: str | None = None) -> CommandError:
    return CommandError(
        " ".join(part for part in (f"{field}:" if field else "", detail, fix) if part), returncode=2
    )


def _first(detail: Any, field: str = "") -> tuple[str, str]:
    """Field and message of the first error in nested lists and mappings."""
    if isinstance(detail, dict):
        name, inner = next(iter(detail.items()))
        return _first(inner, f"{field}.{name}" if field else str(name))
    if isinstance(detail, list):
        return _first(detail[0], field)
    return field, str(detail)
