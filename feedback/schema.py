"""The request bodies of facts for the OpenAPI file, out of the very types that decode them."""

from typing import Any

import msgspec
from drf_spectacular.utils import inline_serializer
from rest_framework import serializers
from rest_framework.serializers import BaseSerializer

from feedback.decoding import MAX_ITEMS
from feedback.shapes import Shape


def _described(shape: type[Shape]) -> dict[str, Any]:
    _, components = msgspec.json.schema_components([shape], ref_template="#/components/schemas/{name}")
    (found,) = components.values()
    # `title` would be the name of our class, which says nothing to a client.
    return {name: value for name, value in found.items() if name not in {"title", "description"}}


def page_of(serializer: type[BaseSerializer[Any]]) -> serializers.Serializer[Any]:
    """One page of a list."""
    name = serializer.__name__.removesuffix("Serializer")
    return inline_serializer(
        f"{name}Page",
        {
            "results": serializer(many=True),
            "next": serializers.URLField(allow_null=True),
            "previous": serializers.URLField(allow_null=True),
        },
    )


def body_of(shape: type[Shape]) -> dict[str, Any]:
    """One fact."""
    return {"application/json": _described(shape)}


def bulk_body_of(shape: type[Shape]) -> dict[str, Any]:
    """An array of facts, or one a line."""
    return {
        "application/json": {
            "type": "array",
            "items": _described(shape),
            "minItems": 1,
            "maxItems": MAX_ITEMS,
        },
        "application/x-ndjson": {"type": "string", "description": "One object a line, as in the array."},
    }
