"""A small part of Django's template language, for people who may not run code: values, if, for, and a few filters.

Nothing is looked up but keys of mappings and places of lists; there is no attribute, no call, no load, no include. Every
step is counted, so that no text can keep a worker busy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NoReturn

from django.template import Context, Engine, Library, Node, NodeList, Template, TemplateSyntaxError
from django.template.base import FilterExpression, Lexer, Parser, Token, Variable
from django.template.defaulttags import do_if
from django.utils.functional import Promise
from django.utils.safestring import SafeString

from monitoring.templating.text_filters import FILTERS, VALUE_MAX, shown

STEPS_MAX = 20_000
LOOPS_INSIDE_EACH_OTHER_MAX = 2
IFS_INSIDE_EACH_OTHER_MAX = 20

Schema = Mapping[str, "Schema"] | Sequence["Schema"] | None
"""What may be named: the keys of a mapping, what a list has in it, or anything (None)."""

LEAF: Schema = ()
"""A text or a number: there is nothing in it to be named."""

_LOOP: Schema = dict.fromkeys(("counter", "counter0", "first", "last"), LEAF)
_CONSTANTS: Mapping[str, Schema] = dict.fromkeys(("True", "False", "None"), LEAF)
_PAIR: Schema = {"name": LEAF, "value": None}
_FOR = re.compile(r"for\s+([a-z][a-z0-9_]*)\s+in\s+([a-z0-9_.]+)")


class TooMuch(Exception):
    """The text asks for more steps than STEPS_MAX."""


class Counted(Context):
    """What a text may read, and how many steps it has left."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values, autoescape=False, use_l10n=False, use_tz=False)
        self.steps_left = STEPS_MAX

    def spend(self) -> None:
        self.steps_left -= 1
        if self.steps_left < 0:
            raise TooMuch


class Expression(FilterExpression):
    """A value and its filters; the parent's own lookup, which reaches attributes and calls functions, is not used."""

    def resolve(self, context: Context, ignore_failures: bool = False) -> Any:  # noqa: FBT001, FBT002 - Django's
        value = _resolved(context, self.var) if self.is_var else str(self.var)
        for function, arguments in self.filters:
            given = [_resolved(context, part) if is_variable else part for is_variable, part in arguments]
            _spend(context)
            value = function(value, *given)
        # An `if` compares the value itself; everything else shows it.
        return value if ignore_failures else shown(value)


def _resolved(context: Context, variable: Variable) -> Any:
    return variable.literal if variable.lookups is None else _value(context, variable.lookups)


def _value(context: Context, lookups: tuple[str, ...]) -> Any:
    _spend(context)
    current: Any = context
    for part in lookups:
        if isinstance(current, Context | dict):
            current = current.get(part)
        elif isinstance(current, list) and part.isdecimal() and len(part) < 6:
            current = current[int(part)] if int(part) < len(current) else None
        else:
            return None
    return current


def _spend(context: Context) -> None:
    assert isinstance(context, Counted)
    context.spend()


class Writing(Parser):
    """Knows at every place which names there are, and notes those that are not."""

    def __init__(self, tokens: list[Token], names: Mapping[str, Schema]) -> None:
        super().__init__(tokens, {}, [LIBRARY], None)
        self.scopes: list[Mapping[str, Schema]] = [_CONSTANTS, names]
        self.unknown: list[str] = []
        self.line = 1

    def next_token(self) -> Token:
        token = super().next_token()
        self.line = token.lineno or self.line
        return token

    def compile_filter(self, token: str) -> FilterExpression:
        if len(self.command_stack) > IFS_INSIDE_EACH_OTHER_MAX:
            raise TemplateSyntaxError(f"More than {IFS_INSIDE_EACH_OTHER_MAX} blocks inside each other.")
        expression = Expression(token, self)
        parts = [expression.var, *(part for _, given in expression.filters for _, part in given)]
        if any(isinstance(part, Promise) for part in parts):
            raise TemplateSyntaxError("Nothing is translated here: write the text without “_( )”.")
        variables = [part for part in parts if isinstance(part, Variable)]
        for variable in variables:
            # A number has no lookups: it stands for itself.
            if variable.lookups is not None:
                self.schema_of(variable.lookups)
        return expression

    def find_filter(self, filter_name: str) -> Any:
        if filter_name not in FILTERS:
            raise TemplateSyntaxError(f"There is no filter “{filter_name}”; there are {', '.join(FILTERS)}.")
        return super().find_filter(filter_name)

    def invalid_block_tag(self, token: Token, command: str, parse_until: Any = None) -> NoReturn:
        closing = f" “{parse_until[-1]}” is missing before it." if parse_until else ""
        raise self.error(token, f"There is no “{command}” here; there are if and for.{closing}")

    def unclosed_block_tag(self, parse_until: Any) -> NoReturn:
        command, token = self.command_stack.pop()
        raise self.error(token, f"“{command}” has no “{parse_until[-1]}”.")

    def schema_of(self, lookups: tuple[str, ...]) -> Schema:
        """What is known of a name; an unknown one is noted."""
        current: Schema = {name: schema for scope in self.scopes for name, schema in scope.items()}
        for number, part in enumerate(lookups):
            if current is None:
                return None
            if isinstance(current, Mapping) and part in current:
                current = current[part]
            elif current and isinstance(current, Sequence) and part.isdecimal():
                current = current[0]
            else:
                self.unknown.append(f"line {self.line}: there is no “{'.'.join(lookups[: number + 1])}”")
                return None
        return current


class Loop(Node):
    """`for name in list`: ends when what it wrote fills a message. A mapping is a list of names and values."""

    child_nodelists = ("body",)

    def __init__(self, name: str, lookups: tuple[str, ...], body: NodeList) -> None:
        self.name = name
        self.lookups = lookups
        self.body = body

    def render(self, context: Context) -> SafeString:
        items = _value(context, self.lookups)
        if isinstance(items, dict):
            items = [{"name": name, "value": value} for name, value in items.items()]
        if not isinstance(items, list):
            return SafeString("")
        written: list[str] = []
        size = 0
        with context.push():
            for loop, item in _numbered(items):
                _spend(context)
                context["forloop"], context[self.name] = loop, item
                written.append(self.body.render(context))
                size += len(written[-1])
                if size > VALUE_MAX:
                    break
        return SafeString("".join(written))


def _numbered(items: list[Any]) -> Iterator[tuple[dict[str, Any], Any]]:
    for number, item in enumerate(items):
        yield (
            {
                "counter": number + 1,
                "counter0": number,
                "first": number == 0,
                "last": number == len(items) - 1,
            },
            item,
        )


def _for(parser: Writing, token: Token) -> Loop:
    found = _FOR.fullmatch(" ".join(token.split_contents()))
    if found is None:
        raise TemplateSyntaxError("Write “for name in list”.")
    loops = sum(command == "for" for command, _ in parser.command_stack)
    if loops > LOOPS_INSIDE_EACH_OTHER_MAX:
        raise TemplateSyntaxError(f"More than {LOOPS_INSIDE_EACH_OTHER_MAX} loops inside each other.")
    name, path = found[1], tuple(found[2].split("."))
    schema = parser.schema_of(path)
    if schema == LEAF:
        parser.unknown.append(f"line {parser.line}: “{found[2]}” is not a list")
    parser.scopes.append({"forloop": _LOOP, name: _item_of(schema)})
    body = parser.parse(("endfor",))
    parser.scopes.pop()
    parser.delete_first_token()
    return Loop(name, path, body)


def _item_of(schema: Schema) -> Schema:
    if isinstance(schema, Mapping):
        return _PAIR
    return schema[0] if schema else None


LIBRARY = Library()
LIBRARY.tags.update({"if": do_if, "for": _for})
LIBRARY.filters.update(FILTERS)


class _Bare(Engine):
    default_builtins: ClassVar[list[str]] = []


_ENGINE = _Bare(loaders=[], autoescape=False)


class Text(Template):
    """A parsed text; `unknown` says which names in it there are not, with their lines."""

    def __init__(self, source: str, names: Mapping[str, Schema]) -> None:
        self.names = names
        self.unknown: list[str] = []
        super().__init__(source, engine=_ENGINE)

    def compile_nodelist(self) -> NodeList:
        parser = Writing(Lexer(self.source).tokenize(), self.names)
        found = parser.parse()
        self.unknown = parser.unknown
        return found
