"""The Celery application and its schedule."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "triageops.settings")

app = Celery("triageops")
app.config_from_object("triageops.celery_settings")
app.autodiscover_tasks(["feedback", "experiments", "monitoring", "triageops.observability"])
