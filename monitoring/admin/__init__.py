from monitoring.admin import channels, deliveries, incidents, monitors

__all__ = ["channels", "deliveries", "incidents", "monitors"]
