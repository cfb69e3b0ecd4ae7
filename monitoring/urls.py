from django.urls import path

from monitoring import views

urlpatterns = [
    path("monitors", views.MonitorsView.as_view()),
    path("monitors/<int:monitor_id>", views.MonitorView.as_view()),
    path("incidents", views.IncidentsView.as_view()),
    path("incidents/<uuid:incident_id>", views.IncidentView.as_view()),
]
