"""What could be watched, and making it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from monitoring import choosing, suggestions
from monitoring.management.console import parsing, words
from monitoring.management.console.acts import Said
from monitoring.serializers import MonitorSerializer
from monitoring.serializers.suggestions import SuggestionSerializer


def suggest(options: Mapping[str, Any], now: datetime) -> Said:
    """Without keys what is suggested, else the monitors that were made of them."""
    if options["keys"]:
        made = choosing.choose(options["keys"], by=parsing.person(options["by"]), now=now)
        rows: Any = MonitorSerializer(made, many=True).data
        return Said(rows, words.monitors(rows))
    found = SuggestionSerializer(suggestions.propose(now), many=True).data
    shown = [[one["key"], one["name"], one["blocked"] or one["seen"]] for one in found]
    if not shown:
        return Said(found, ["Everything that came in is watched already, or nothing came in."])
    return Said(found, words.table(["key", "name", "what it would see, or what has to be done first"], shown))
