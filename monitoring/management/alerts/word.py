"""What each word after `bin/manage alerts` is: its arguments, and what it does with them."""

from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from monitoring.management.console.acts import Said

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Word:
    """run: returns what is said, as JSON and in lines; raises Problem. The command prints it, and reads the clock."""

    name: str
    help: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Options, datetime], Said]
