"""What SDKs that others wrote call, at the addresses that their protocols fix."""

from django.urls import path

from experiments.views import ofrep, payload

urlpatterns = [
    path("ofrep/v1/evaluate/flags", ofrep.evaluate_all),
    # Any path: a flag of that name does not exist, and a client that does not escape it hears so.
    path("ofrep/v1/evaluate/flags/<path:key>", ofrep.evaluate),
    path("ofrep/<path:address>", ofrep.no_such_address),
    path("api/features/<str:client_key>", payload.features),
]
