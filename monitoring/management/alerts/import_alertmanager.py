"""bin/manage alerts import-alertmanager FILE: its routes, receivers, intervals and inhibitions become ours."""

import sys
from argparse import ArgumentParser
from datetime import datetime
from pathlib import Path

from monitoring.management.alerts.word import Options, Word
from monitoring.management.console import words
from monitoring.management.console.acts import Said
from monitoring.notifying.route_import import Imported, apply_import, plan_import
from monitoring.routing.yaml_text import BYTES_MAX
from monitoring.serializers.routes import ImportedSerializer
from triageops import wording
from triageops.rest import InvalidInput


def run(options: Options, now: datetime) -> Said:
    done = apply_import(plan_import(_read(options["file"])), is_dry_run=options["dry_run"])
    return Said(ImportedSerializer(done).data, _lines(done))


def _lines(done: Imported) -> list[str]:
    head = "Nothing was stored; this would be done:" if done.is_dry_run else "This was done:"
    rows = [[one.what, one.name, one.act, one.note] for one in done.outcomes]
    lines = [head, "", *words.table(["what", "name", "", ""], rows)]
    missing = done.plan.unmapped
    if missing:
        count = wording.plural(len(missing), "part has", "parts have")
        lines += ["", f"{count} no counterpart here:", *(f"  {one}" for one in missing)]
    return lines


def _read(file: str) -> str:
    try:
        if file == "-":
            return sys.stdin.read(BYTES_MAX + 1)
        with Path(file).open(encoding="utf-8") as opened:
            return opened.read(BYTES_MAX + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} cannot be read: {error}.") from None


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="An alertmanager.yml; - reads what is piped in.")
    parser.add_argument("--dry-run", action="store_true", help="Say what would be done, and store nothing.")


WORD = Word(
    "import-alertmanager",
    "Take over an Alertmanager configuration's routes, receivers, intervals and inhibitions.",
    _add_arguments,
    run,
)
