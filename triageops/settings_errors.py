"""What is wrong with the settings that come from the environment, one line each.

python -m triageops.settings_errors    says it; exit code 1 when there is anything
"""

import sys

from django.conf import settings
from environs import EnvValidationError


def lines(error: EnvValidationError) -> list[str]:
    """`NAME: what is wrong with its value`; environs has collected all of them."""
    found = error.error_messages
    if not isinstance(found, dict):
        return [str(error)]
    return [f"{name}: {' '.join(map(str, messages))}" for name, messages in found.items()]


def main() -> None:
    try:
        # Any one makes Django read them all.
        _ = settings.BASE_URL
    except EnvValidationError as error:
        sys.exit("\n".join(lines(error)))


if __name__ == "__main__":
    main()
