"""bin/manage alerts verify ID, FILE or all: whether the logs of incidents are as they were written."""

from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from django.core.management import CommandError

from monitoring.exports.verifying import Finding, compare, verify_export, verify_incident
from monitoring.management.alerts.export import incident_named
from monitoring.management.alerts.word import Options, Word
from monitoring.management.console.acts import Said
from monitoring.models import Incident
from triageops import wording
from triageops.rest import InvalidInput

ALL = "all"
_AT_ONCE = 200


def run(options: Options, now: datetime) -> Said:
    """Raises CommandError, and with it exit code 1, when anything is not as it was written."""
    subject = options["subject"]
    findings = list(_found(subject))
    wrong = [one for one in findings if not one.is_intact]
    if wrong:
        raise CommandError("\n".join(one.text for one in wrong))
    data = [{"subject": one.subject, "event_count": one.event_count, "head": one.head} for one in findings]
    if subject == ALL:
        return Said(data, [f"{wording.plural(len(findings), 'log is', 'logs are')} intact."])
    return Said(data, [one.text for one in findings])


def _found(subject: str) -> Iterator[Finding]:
    path = Path(subject)
    if subject == ALL:
        rows = Incident.objects.order_by("pk").prefetch_related("events")
        yield from map(verify_incident, rows.iterator(_AT_ONCE))
    elif path.suffix in {".json", ".html"} or path.is_file():
        data = _read(path)
        yield compare(data, verify_export(data))
    else:
        yield verify_incident(incident_named(subject))


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
