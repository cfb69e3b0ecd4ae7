from django.urls import path

from experiments.views import assignments, changes, definitions, history, ofrep, outcomes, payload

urlpatterns = [
    path("experiments", definitions.ExperimentsView.as_view()),
    path("experiments/assign", assignments.AssignAllView.as_view()),
    path("experiments/import", definitions.ImportView.as_view()),
    path("experiments/<str:key>", definitions.ExperimentView.as_view()),
    path("experiments/<str:key>/assign", assignments.AssignView.as_view()),
    path("experiments/<str:key>/assignments", assignments.AssignmentsView.as_view()),
    path("experiments/<str:key>/audit", history.AuditView.as_view()),
    path("experiments/<str:key>/clone", definitions.CloneView.as_view()),
    path("experiments/<str:key>/coverage", changes.CoverageView.as_view()),
    path("experiments/<str:key>/epochs", history.EpochsView.as_view()),
    path("experiments/<str:key>/export", definitions.ExportView.as_view()),
    path("experiments/<str:key>/forced", changes.ForcedListView.as_view()),
    path("experiments/<str:key>/forced/<path:unit>", changes.ForcedView.as_view()),
    path("experiments/<str:key>/looks", outcomes.LooksView.as_view()),
    path("experiments/<str:key>/power", outcomes.PowerView.as_view()),
    path("experiments/<str:key>/results", outcomes.ResultsView.as_view()),
    path("experiments/<str:key>/results.csv", outcomes.ResultsCsvView.as_view()),
    path("experiments/<str:key>/transitions", changes.TransitionsView.as_view()),
    path("experiments/<str:key>/variants/revise", changes.RevisionsView.as_view()),
    path("experiments/<str:key>/weights", changes.WeightsView.as_view()),
]

# What SDKs that others wrote call, at the addresses that their protocols fix.
protocol_urlpatterns = [
    path("ofrep/v1/evaluate/flags", ofrep.evaluate_all),
    # Any path: a flag of that name does not exist, and a client that does not escape it hears so.
    path("ofrep/v1/evaluate/flags/<path:key>", ofrep.evaluate),
    path("ofrep/<path:address>", ofrep.no_such_address),
    path("api/features/<str:client_key>", payload.features),
]
