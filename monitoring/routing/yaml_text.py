"""YAML that people hand in: read to plain text, lists and mappings, within bounds."""

import re

import yaml

BYTES_MAX = 256_000
NODES_MAX = 50_000
"""Values, with every alias counted for all that it stands for."""

DEPTH_MAX = 50

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class InvalidConfiguration(ValueError):
    """What is wrong with the text, on which line, and how to mend it."""


class _Loader(yaml.SafeLoader):
    """Values stay the text that was typed, as Alertmanager reads them: 17:00 is no number, `on` is no truth."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(text: str) -> object:
    """Lists, dicts, text and None. Raises InvalidConfiguration."""
    size = len(text.encode(errors="surrogatepass"))
    if size > BYTES_MAX:
        raise InvalidConfiguration(
            f"The configuration has {size} bytes; the most is {BYTES_MAX}. Hand in its routes in parts."
        )
    try:
        _check_size(text)
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"Line {mark.line + 1}, column {mark.column + 1}" if mark else "The configuration"
        raise InvalidConfiguration(
            f"{place}: {', '.join(filter(None, (error.context, error.problem)))}."
        ) from None
    except yaml.YAMLError as error:
        raise InvalidConfiguration(f"The configuration is no YAML: {error}.") from None


def _check_size(text: str) -> None:
    """Depth and size with aliases written out, found from the events, before anything is built."""
    sizes: dict[str, int] = {}
    # One entry for each open collection: its anchor, and its size so far.
    opened: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        size = 0
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, 1))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, size = opened.pop()
            sizes |= {anchor: size} if anchor else {}
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in opened) and event.anchor not in sizes:
                raise InvalidConfiguration(f"Line {line}: “*{event.anchor}” stands inside itself; remove it.")
            size = sizes.get(str(event.anchor), 1)
        elif isinstance(event, yaml.ScalarEvent):
            size = 1
            sizes |= {event.anchor: 1} if event.anchor else {}
            if _UNSTORABLE.search(event.value):
                raise InvalidConfiguration(
                    f"Line {line}: a text holds a NUL character or half a surrogate pair; remove it."
                )
        if len(opened) > DEPTH_MAX:
            raise InvalidConfiguration(f"Line {line}: it is nested more than {DEPTH_MAX} deep; flatten it.")
        opened[-1] = (opened[-1][0], opened[-1][1] + size)
        if opened[-1][1] > NODES_MAX:
            raise InvalidConfiguration(
                f"Line {line}: with its aliases written out it has more than {NODES_MAX} values; use fewer aliases."
            )
