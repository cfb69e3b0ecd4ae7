"""What parsing the settings cannot see."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from feedback.cells import GRAINS


@register(Tags.security, deploy=True)
def secret_key_is_shared(**_: Any) -> list[CheckMessage]:
    if not settings.HAS_RANDOM_SECRET_KEY:
        return []
    return [
        Error(
            "TRIAGEOPS_SECRET_KEY is not set, so every process has made up one of its own.",
            hint="Set it, or name a file in TRIAGEOPS_SECRET_KEY_FILE.",
            id="triageops.E001",
        )
    ]


@register()
def bucket_divides_an_hour(**_: Any) -> list[CheckMessage]:
    if settings.BUCKET_SECONDS in GRAINS:
        return []
    return [
        Error(
            f"TRIAGEOPS_BUCKET_SECONDS is {settings.BUCKET_SECONDS}.",
            hint=f"Use one of {', '.join(map(str, GRAINS))}.",
            id="triageops.E002",
        )
    ]
