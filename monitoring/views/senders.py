"""Who calls, and what exactly was sent, where the bytes count or their number has a limit of its own."""

import json
from typing import Any

from django.core.exceptions import RequestDataTooBig
from rest_framework.request import Request

from feedback.authentication import grant_in
from feedback.models import ApiKey
from triageops.rest import InvalidInput, TooLarge


def actor_of(request: Request) -> str:
    """As it stands in an incident's log: a key is no user, and who did it must still be known."""
    name = ApiKey.objects.values_list("name", flat=True).get(pk=grant_in(request).key_id)
    return f"API key “{name}”"


def raw_body(request: Request, most: int) -> bytes:
    """Raises TooLarge."""
    too_large = TooLarge(f"The body is larger than {most} bytes.", fix="Send less in one call.")
    if int(request.META.get("CONTENT_LENGTH") or 0) > most:
        raise too_large
    try:
        body: bytes = request._request.body  # noqa: SLF001 - DRF's own way to the raw body parses it
    except RequestDataTooBig:
        raise too_large from None
    if len(body) > most:
        raise too_large
    return body


def json_body(request: Request, most: int) -> Any:
    """Raises InvalidInput and TooLarge."""
    try:
        return json.loads(raw_body(request, most))
    except (ValueError, RecursionError):
        raise InvalidInput("The body is not JSON in UTF-8.", fix="Send an object.") from None
