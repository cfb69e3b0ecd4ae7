from django.apps import AppConfig


class ObservabilityConfig(AppConfig):
    name = "triageops.observability"
    verbose_name = "Operations"
