"""bin/manage alerts: what an operator does with incidents and routes from a terminal or a script."""

import json
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from rest_framework.utils.encoders import JSONEncoder

from monitoring.management.alerts import export, import_alertmanager, preview, verify
from monitoring.management.alerts.word import Word
from triageops.rest import Problem

WORDS: tuple[Word, ...] = (import_alertmanager.WORD, preview.WORD, export.WORD, verify.WORD)
"""A new one: one file in monitoring/management/alerts, one entry here."""


class Command(BaseCommand):
    help = "Routes taken over from an Alertmanager, who would be told, the evidence of incidents as files, and whether it is intact."

    def add_arguments(self, parser: CommandParser) -> None:
        words = parser.add_subparsers(dest="word", required=True, metavar="WORD")
        for word in WORDS:
            one = words.add_parser(word.name, help=word.help, description=word.help)
            one.add_argument("--json", action="store_true", dest="is_json", help="Print JSON.")
            word.add_arguments(one)

    def handle(self, *args: Any, **options: Any) -> None:
        word = next(one for one in WORDS if one.name == options["word"])
        try:
            said = word.run(options, timezone.now())
        except Problem as problem:
            parts = (f"{problem.field}:" if problem.field else "", problem.detail, problem.fix)
            raise CommandError(" ".join(part for part in parts if part), returncode=2) from None
        text = json.dumps(said.data, cls=JSONEncoder, indent=2, ensure_ascii=False)
        self.stdout.write(text if options["is_json"] else "\n".join(said.lines))
