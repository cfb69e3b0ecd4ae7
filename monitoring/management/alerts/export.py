"""bin/manage alerts export ID: everything that is known of an incident, as a file that can be checked."""

from argparse import ArgumentParser
from datetime import datetime
from pathlib import Path
from uuid import UUID

from django.db import transaction

from monitoring.exports.export_page import as_html
from monitoring.exports.exporting import as_json, export
from monitoring.management.alerts.word import Options, Word
from monitoring.management.console.acts import Said
from monitoring.models import Incident
from triageops.rest import InvalidInput


def run(options: Options, now: datetime) -> Said:
    with transaction.atomic():
        exported = export(incident_named(options["incident"]), now)
    text = as_html(exported) if options["is_html"] else as_json(exported)
    output = options["output"]
    if output is None:
        return Said(exported, [text.rstrip("\n")])
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{output} cannot be written: {error}.") from None
    return Said(
        {"file": output, "head": exported["head"]}, [f"{output} holds {len(exported['events'])} events."]
    )


def incident_named(text: str) -> Incident:
    """Raises InvalidInput."""
    try:
        incident = Incident.objects.select_related("monitor").filter(pk=UUID(text)).first()
    except ValueError:
        incident = None
    if incident is None:
        raise InvalidInput(f"There is no incident “{text}”.")
    return incident


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("incident", metavar="ID")
    parser.add_argument("--html", action="store_true", dest="is_html", help="A page instead of JSON.")
    parser.add_argument("--output", metavar="FILE", help="Default: print it.")


WORD = Word("export", "Everything that is known of an incident, as JSON or as a page.", _add_arguments, run)
