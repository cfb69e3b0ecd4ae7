from monitoring.admin import backtests, budget, channels, deliveries, incidents, markers, monitors

__all__ = ["backtests", "budget", "channels", "deliveries", "incidents", "markers", "monitors"]
