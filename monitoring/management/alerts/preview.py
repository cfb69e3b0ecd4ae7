"""bin/manage alerts preview severity=critical model=m2: who would be told, when, and why others would not."""

from argparse import ArgumentParser
from datetime import datetime

from monitoring.management.alerts.word import Options, Word
from monitoring.management.console import parsing, words
from monitoring.management.console.acts import Said
from monitoring.notifying.route_preview import Preview, Told, preview
from monitoring.routing.tree import Outcome
from monitoring.serializers.routes import RoutePreviewSerializer
from triageops.rest import InvalidInput

_INDENT = "  "


def run(options: Options, now: datetime) -> Said:
    labels = dict(_pair(text) for text in options["labels"])
    found = preview(labels, parsing.moment(options["at"], "--at") or now)
    return Said(RoutePreviewSerializer(found).data, _lines(found))


def _lines(found: Preview) -> list[str]:
    if not found.has_routes:
        return [
            "There are no routes yet: monitors tell the channels that they name, and nobody else is told."
        ]
    rows = [
        [f"{told.at:%Y-%m-%d %H:%M:%S %Z}", _channel(told), way.leaf.name, told.why]
        for way in found.ways
        for told in way.told
        if not told.is_again
    ]
    rows += [
        [f"{step.at:%Y-%m-%d %H:%M:%S %Z}", _channel(told), f"{way.leaf.name}, step {step.number}", told.why]
        for way in found.ways
        for step in way.steps
        for told in step.told
    ]
    lines = words.table(["when", "channel", "route", "why"], rows) if rows else ["Nobody is told."]
    lines += [f"Held back: {one.why}" for one in found.held_back]
    lines += [f"Held back while its source is open: {name}" for name in found.may_hold]
    lines += ["", "Every route:"]
    for one in found.verdicts:
        mark = {Outcome.TOOK: "+", Outcome.PASSED_ON: ">"}.get(one.outcome, "-")
        lines.append(f"{_INDENT * (one.depth + 1)}{mark} {one.name}: {one.because}")
    return lines


def _channel(told: Told) -> str:
    return told.channel.name if told.channel.is_enabled else f"{told.channel.name} (disabled)"


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise InvalidInput(f"“{text}” is not of the form label=value.")
    return name.strip(), value.strip()


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "labels", nargs="*", metavar="LABEL=VALUE", help="For example severity=critical model=m2."
    )
    parser.add_argument("--at", metavar="TIME", help="Default: now.")


WORD = Word("preview", "Who would be told of something with these labels, when and why.", _add_arguments, run)
