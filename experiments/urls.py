from django.urls import path

from experiments import views

urlpatterns = [
    path("experiments", views.ExperimentsView.as_view()),
    path("experiments/<str:key>", views.ExperimentView.as_view()),
    path("experiments/<str:key>/assign", views.AssignView.as_view()),
]
