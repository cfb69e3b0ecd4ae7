"""bin/manage alerts verify ID, FILE or all: whether the logs of incidents are as they were written."""

from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from django.core.management import CommandError
from django.db import DatabaseError

from monitoring.exports.verifying import Finding, compare, verify_export, verify_incident
from monitoring.management.alerts.export import incident_named
from monitoring.management.alerts.word import Options, Word
from monitoring.management.console.acts import Said
from monitoring.models import Incident
from triageops import wording
from triageops.rest import InvalidInput

ALL = "all"
NO_DATABASE = "No database of the product could be asked (TRIAGEOPS_DATA_DIR says where that of bin/up is)"
_AT_ONCE = 200


def run(options: Options, now: datetime) -> Said:
    """Raises CommandError, and with it exit code 1, when anything is not as it was written."""
    subject = options["subject"]
    try:
        findings = list(_found(subject))
    except DatabaseError as error:
        raise InvalidInput(f"{NO_DATABASE}: {type(error).__name__}.") from None
    wrong = [one for one in findings if not one.is_intact]
    if wrong:
        raise CommandError("\n".join(one.text for one in wrong))
    data = [
        {"subject": one.subject, "event_count": one.event_count, "head": one.head, "note": one.note}
        for one in findings
    ]
    if subject == ALL:
        return Said(data, [f"{wording.plural(len(findings), 'log is', 'logs are')} intact."])
    return Said(data, [one.text for one in findings])


def _found(subject: str) -> Iterator[Finding]:
    path = Path(subject)
    if subject == ALL:
        rows = Incident.objects.order_by("pk").prefetch_related("events")
        # Asked first, as a cursor of the server fails in another way where there is no such table.
        if rows.exists():
            yield from map(verify_incident, rows.iterator(_AT_ONCE))
    elif path.suffix in {".json", ".html"} or path.is_file():
        yield _of_file(_read(path))
    else:
        yield verify_incident(incident_named(subject))


def _of_file(data: bytes) -> Finding:
    """A file is looked at without a database, too: whoever receives it may have none."""
    finding = verify_export(data)
    try:
        return compare(data, finding)
    except DatabaseError:
        return replace(finding, note=f"{NO_DATABASE}, so only the file was looked at.")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error}.") from None


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "subject", metavar="ID|FILE|all", help="An incident, an exported file, or all incidents."
    )


WORD = Word("verify", "Whether the logs of incidents are as they were written.", _add_arguments, run)
