"""Bodies of calls that are taken as they are, or refused by the name of the field."""

import json
from collections.abc import Iterable
from typing import Any

from rest_framework import serializers

from triageops.rest import InvalidInput


def checked_object(data: Any) -> dict[str, Any]:
    """The body of a call, when it is an object of JSON that can be stored. Raises InvalidInput."""
    if not isinstance(data, dict):
        raise InvalidInput(
            "The body is not a JSON object.", fix="Send an object with Content-Type: application/json."
        )
    try:
        text = json.dumps(data, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (ValueError, RecursionError):
        raise InvalidInput(
            "The body holds an infinity, half a surrogate pair or too deep a nesting.", fix="Leave it out."
        ) from None
    if "\\u0000" in text.replace("\\\\", ""):
        raise InvalidInput("The body holds a NUL character.", fix="Leave it out.")
    return data


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields that it does not know, by name: misspelt, they would do nothing."""

    def to_internal_value(self, data: Any) -> Any:
        for name in checked_object(data):
            if name not in self.fields:
                raise InvalidInput(
                    f"The field {name!r} is not known.",
                    field=name,
                    fix=f"Leave it out; known: {', '.join(self.fields)}.",
                )
        return super().to_internal_value(data)


class TextField(serializers.CharField):
    """Text as it was sent: no number, which would silently become one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class WordField(serializers.ChoiceField):
    """One of a few words; a refusal names them."""

    def __init__(self, choices: Iterable[Any], **options: Any) -> None:
        words = list(choices)
        said = ", ".join(str(word[0] if isinstance(word, tuple) else word) for word in words)
        options["error_messages"] = {"invalid_choice": f"{{input!r}} is none of: {said}."}
        super().__init__(words, **options)
