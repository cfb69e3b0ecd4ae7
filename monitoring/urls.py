from django.urls import path

from monitoring.views import backtests, evidence, fleet, incidents, monitors, suggestions

urlpatterns = [
    path("monitors", monitors.MonitorsView.as_view()),
    path("monitors/<int:monitor_id>", monitors.MonitorView.as_view()),
    path("monitors/<int:monitor_id>/accept-baseline", monitors.AcceptView.as_view()),
    path("monitors/<int:monitor_id>/activate", monitors.ActivateView.as_view()),
    path("monitors/<int:monitor_id>/backtests", backtests.BacktestsView.as_view()),
    path("monitors/<int:monitor_id>/effects", evidence.EffectsView.as_view()),
    path("monitors/<int:monitor_id>/evaluations", evidence.EvaluationsView.as_view()),
    path("monitors/<int:monitor_id>/learn", monitors.LearnView.as_view()),
    path("monitors/<int:monitor_id>/pause", monitors.PauseView.as_view()),
    path("monitors/<int:monitor_id>/references", evidence.ReferencesView.as_view()),
    path("monitors/<int:monitor_id>/slices", evidence.SlicesView.as_view()),
    path("backtests/<uuid:backtest_id>", backtests.BacktestView.as_view()),
    path("backtests/<uuid:backtest_id>/apply", backtests.ApplyView.as_view()),
    path("backtests/<uuid:backtest_id>/cancel", backtests.CancelView.as_view()),
    path("budget", fleet.BudgetView.as_view()),
    path("incidents", incidents.IncidentsView.as_view()),
    path("incidents/<uuid:incident_id>", incidents.IncidentView.as_view()),
    path("markers", fleet.MarkersView.as_view()),
    path("markers/<int:marker_id>", fleet.MarkerView.as_view()),
    path("suggestions", suggestions.SuggestionsView.as_view()),
]
