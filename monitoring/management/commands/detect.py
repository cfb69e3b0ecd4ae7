"""bin/manage detect FILE --kind rate: what a monitor would have said about a file of timestamp,value[,n]."""

import io
import json
import math
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.management import BaseCommand, CommandError, CommandParser

from monitoring.monitors.drift import Sides
from monitoring.monitors.reference import Tolerance
from monitoring.offline import question as questions
from monitoring.offline import report, words


class Command(BaseCommand):
    help = "Run a detector over a CSV file of timestamp,value[,n]: learn from its first part, or nothing, and watch the rest."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", metavar="FILE", help="CSV file, or - for the standard input.")
        parser.add_argument("--kind", required=True, choices=get_args(questions.Kind))
        parser.add_argument("--budget", type=float, default=1.0, help="False alarms in 30 days (1).")
        parser.add_argument("--bucket", type=int, default=300, metavar="SECONDS", help="Divides a day (300).")
        part = parser.add_mutually_exclusive_group()
        part.add_argument("--reference", type=float, default=0.5, metavar="SHARE", help="Of the time (0.5).")
        part.add_argument("--reference-until", metavar="TIME", help="ISO 8601, instead of a share.")
        parser.add_argument("--ignore-shift", type=float, default=0.1, metavar="SD", help="Of a mean (0.1).")
        parser.add_argument(
            "--ignore-ratio",
            type=float,
            default=0.1,
            metavar="RATIO",
            help="Relative change of a share, a volume, or a distribution's spread (0.1).",
        )
        parser.add_argument("--sides", choices=get_args(Sides), default="both")
        parser.add_argument(
            "--zone", default="UTC", help="Of times without one, of hours, and of what is shown."
        )
        parser.add_argument("--value-is", choices=get_args(questions.ValueIs), help="See docs/detect.md.")
        parser.add_argument("--bounds", type=_bounds, metavar="LOW,HIGH", help="Of values.")
        parser.add_argument("--level", type=float, help="Of slo_guard: the mean that is required.")
        parser.add_argument("--margin", type=float, help="Of slo_guard: by how much it may be missed (0).")
        parser.add_argument("--objective", type=float, help="Of burn_rate: share of good records, as 0.999.")
        parser.add_argument(
            "--worse-is", choices=get_args(questions.WorseIs), help="Of slo_guard and burn_rate: which side."
        )
        parser.add_argument("--plot", metavar="FILE.svg", help="Draw values, alarms and evidence.")
        parser.add_argument("--json", action="store_true", dest="is_json", help="Print JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with _opened(options["file"]) as lines:
                found = report.detect(lines, _question(options))
            if options["plot"]:
                name = "standard input" if options["file"] == "-" else Path(options["file"]).name
                Path(options["plot"]).write_text(words.picture(found, name), encoding="utf-8")
        except (questions.Unusable, OSError) as error:
            raise CommandError(str(error), returncode=2) from error
        said = (
            json.dumps(words.as_json(found), indent=2) if options["is_json"] else "\n".join(words.told(found))
        )
        self.stdout.write(said)


def _question(options: dict[str, Any]) -> questions.Question:
    return questions.Question(
        kind=options["kind"],
        budget=options["budget"],
        bucket_seconds=options["bucket"],
        reference_share=options["reference"],
        reference_until=_moment(options["reference_until"], _zone(options["zone"])),
        tolerance=Tolerance(
            shift=options["ignore_shift"], stretch=1 + options["ignore_ratio"], ratio=options["ignore_ratio"]
        ),
        sides=options["sides"],
        zone=options["zone"],
        value_is=options["value_is"],
        bounds=options["bounds"],
        level=options["level"],
        margin=options["margin"],
        worse_is=options["worse_is"],
        objective=options["objective"],
    )


@contextmanager
def _opened(name: str) -> Iterator[io.TextIOWrapper]:
    """Bytes that are no UTF-8 become a mark, which the line that has them is refused for."""
    if name != "-":
        with Path(name).open(encoding="utf-8-sig", errors="replace", newline="") as lines:
            yield lines
        return
    wrapped = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", errors="replace", newline="")
    try:
        yield wrapped
    finally:
        wrapped.detach()


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise questions.Unusable(f"there is no time zone {name!r}") from error


def _moment(text: str | None, zone: ZoneInfo) -> float | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise questions.Unusable(f"--reference-until {text!r} is no ISO 8601 time") from error
    return (found if found.tzinfo else found.replace(tzinfo=zone)).timestamp()


def _bounds(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not LOW,HIGH") from error
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ArgumentTypeError(f"{text!r} is not finite")
    return low, high
