from django.apps import AppConfig


class TriageopsConfig(AppConfig):
    name = "triageops"
    label = "triageops"
    verbose_name = "TriageOps"

    def ready(self) -> None:
        # Importing the application binds @shared_task in web processes too.
        from triageops.celery import app  # noqa: F401, PLC0415
