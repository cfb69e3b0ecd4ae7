"""Celery's scheduler: it sends messages and runs no task, so it loads neither Django's apps nor the tasks.

That halves its memory. `celery --app triageops beat` does the same work with everything loaded.
"""

import os
from typing import Any

from celery import Celery, signals
from django.conf import settings

from triageops.observability import logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "triageops.settings")

app = Celery("triageops", fixups=[])
app.config_from_object("triageops.celery_settings")


@signals.setup_logging.connect
def use_json_logging(**_: Any) -> None:
    """Being connected keeps Celery from installing handlers of its own."""
    logging.configure(settings.LOG_LEVEL)
