"""From the bytes of a request to shapes, or to problems that name field, index and fix.

Good input is decoded in one pass. Only when that fails is each item looked at by itself, to say which one is wrong and
why; the others are taken in all the same.
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from feedback.shapes import Bounds, Shape
from triageops.rest import InvalidInput, TooLarge

MAX_ITEMS = 5_000
MAX_BYTES = 5 * 1024 * 1024

# An escaped NUL whose backslash is not itself escaped; PostgreSQL text cannot hold it.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_AT = re.compile(r"^(?P<message>.*?) - at (?P<key>`key` in )?`\$\.?(?P<path>.*)`$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING = re.compile(r"missing required field `(?P<name>.*)`", re.DOTALL)
# Python's regular expression of a metric name says nothing to the author of a client.
_PATTERN = re.compile(r"matching regex '.*'")

ShapeT = TypeVar("ShapeT", bound=Shape)
Finish = Callable[[ShapeT, int], None]
"""What the caller adds to a decoded item (such as the user of a token) before it is checked; gets its index too."""


def _nothing(_item: Shape, _index: int) -> None: ...


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _bad_member(value: Any, path: str) -> str:
    """`metrics[...]` names no member: find the one whose value is neither a number nor null."""
    name = path.removesuffix("[...]")
    members = value.get(name) if isinstance(value, dict) else None
    if isinstance(members, dict):
        for key, member in members.items():
            if member is not None and (isinstance(member, bool) or not isinstance(member, int | float | str)):
                return f"{name}.{key}"
            if name == "metrics" and isinstance(member, str):
                return f"{name}.{key}"
    return name


def _problem(error: Exception, raw: bytes, known: tuple[str, ...]) -> InvalidInput:
    """What msgspec says, in words for the author of a client."""
    if isinstance(error, RecursionError):
        return InvalidInput("The JSON is nested too deeply.", fix="Send flat objects.")
    if isinstance(error, UnicodeDecodeError) or not isinstance(error, msgspec.ValidationError):
        reason = "is not valid UTF-8" if isinstance(error, UnicodeDecodeError) else "is not valid JSON"
        return InvalidInput(f"The body {reason}: {error}", fix="Send JSON in UTF-8, without NaN or Infinity.")
    found = _AT.match(str(error))
    message, path, is_key = (
        (found["message"], found["path"], bool(found["key"])) if found else (str(error), "", False)
    )
    message = _PATTERN.sub(
        "of letters, digits, '.', '_', '-', at most 64, starting with a letter or digit", message
    )
    unknown, missing = _UNKNOWN.search(message), _MISSING.search(message)
    if unknown:
        return InvalidInput(
            f"The field {unknown['name']!r} is not known.",
            field=_joined(path, unknown["name"]),
            fix=f"Remove it; known fields are {', '.join(known)}.",
        )
    if missing:
        return InvalidInput(
            f"The field {missing['name']!r} is missing.", field=_joined(path, missing["name"]), fix="Add it."
        )
    if path.endswith("[...]"):
        path = _bad_member(_lenient(raw), path)
    what = "A name" if is_key else (path or "The body")
    return InvalidInput(
        f"{what}: {message[0].lower()}{message[1:]}.",
        field=path or None,
        fix=_fix(message),
    )


def _fix(message: str) -> str:
    if message.startswith("Expected "):
        return f"Send {message.partition(', got')[0].removeprefix('Expected ')}."
    if "datetime" in message:
        return "Send ISO 8601 with a time zone, such as 2026-01-31T12:00:00Z."
    return "Send a finite number of at most 1e100."


def _lenient(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _refuse_nul(encoded: bytes) -> None:
    if _NUL.search(encoded):
        raise InvalidInput(
            "A text contains the character NUL (\\u0000).", fix="Remove it: it cannot be stored as text."
        )


class Decoder(Generic[ShapeT]):
    """Decodes one kind of fact."""

    def __init__(self, shape: type[ShapeT]) -> None:
        self._one = msgspec.json.Decoder(shape)
        self._many = msgspec.json.Decoder(list[shape])  # type: ignore[valid-type]
        self._raw = msgspec.json.Decoder(list[msgspec.Raw])
        self._known = shape.__struct_fields__

    def one(self, body: bytes, *, now: datetime, bounds: Bounds, finish: Finish[ShapeT] = _nothing) -> ShapeT:
        """Decode a body that is one object; raises InvalidInput."""
        try:
            item = self._one.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _problem(error, body, self._known) from None
        if b"\\u0000" in body:
            _refuse_nul(body)
        finish(item, 0)
        item.check(now, bounds)
        return item

    def many(
        self, body: bytes, *, is_lines: bool, now: datetime, bounds: Bounds, finish: Finish[ShapeT] = _nothing
    ) -> list[ShapeT | InvalidInput]:
        """Decode an array, or one object a line; raises InvalidInput when there are no items at all."""
        items = self._fast(body, is_lines=is_lines)
        if items is None:
            items = [self._alone(raw) for raw in self._split(body, is_lines=is_lines)]
        if not items:
            raise InvalidInput("There are no items in the body.", fix="Send an array, or one object a line.")
        if len(items) > MAX_ITEMS:
            raise TooLarge(f"{len(items)} items are too many.", fix=f"Send at most {MAX_ITEMS} in one call.")
        return [self._checked(item, index, now, bounds, finish) for index, item in enumerate(items)]

    def _fast(self, body: bytes, *, is_lines: bool) -> list[ShapeT | InvalidInput] | None:
        if b"\\u0000" in body:
            return None
        try:
            return list(self._one.decode_lines(body) if is_lines else self._many.decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def _split(self, body: bytes, *, is_lines: bool) -> Iterator[bytes]:
        if is_lines:
            yield from (line for line in body.split(b"\n") if line.strip())
            return
        try:
            yield from (bytes(raw) for raw in self._raw.decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _problem(error, body, self._known) from None

    def _alone(self, raw: bytes) -> ShapeT | InvalidInput:
        try:
            item = self._one.decode(raw)
            _refuse_nul(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return _problem(error, raw, self._known)
        except InvalidInput as problem:
            return problem
        return item

    @staticmethod
    def _checked(
        item: ShapeT | InvalidInput, index: int, now: datetime, bounds: Bounds, finish: Finish[ShapeT]
    ) -> ShapeT | InvalidInput:
        if isinstance(item, InvalidInput):
            return item
        try:
            finish(item, index)
            item.check(now, bounds)
        except InvalidInput as problem:
            return problem
        return item
