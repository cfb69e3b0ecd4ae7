"""Reading an attribute by its path, such as `user.address.city` or `tags.length`."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from experiments.targeting.logic import Test


def of_attribute(name: str, test: Test) -> Test:
    """A test of what holds the attribute, out of a test of the attribute's value; absent is None."""
    if "." in name:
        readers = tuple(_reader(segment) for segment in name.split("."))

        def of_nested(holder: Any) -> bool:
            for read in readers:
                holder = read(holder)
            return test(holder)

        return of_nested
    read = _reader(name)
    return lambda holder: test(holder.get(name) if type(holder) is dict else read(holder))


def _reader(segment: str) -> Callable[[Any], Any]:
    """One step of a path. Lists have a length and places, written as JavaScript does; what is absent is None."""
    place = int(segment) if re.fullmatch("0|[1-9][0-9]{0,9}", segment) else None

    def read(holder: Any) -> Any:
        if isinstance(holder, (dict, Mapping)):
            return holder.get(segment)
        if not isinstance(holder, list):
            return None
        if segment == "length":
            return len(holder)
        return holder[place] if place is not None and place < len(holder) else None

    return read
