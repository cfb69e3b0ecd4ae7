from django.apps import AppConfig
from django.conf import settings

from triageops.observability import logging


class TriageopsConfig(AppConfig):
    name = "triageops"
    verbose_name = "TriageOps"

    def ready(self) -> None:
        logging.configure(settings.LOG_LEVEL)
        # Importing these binds @shared_task in web processes too, and registers the system checks.
        from triageops import celery, system_checks  # noqa: F401, PLC0415
