#!/usr/bin/env python
import os
import sys

from django.core.management import execute_from_command_line
from environs import EnvValidationError

from triageops import settings_errors

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "triageops.settings")
    try:
        execute_from_command_line(sys.argv)
    except EnvValidationError as error:
        sys.exit("\n".join(settings_errors.lines(error)))
