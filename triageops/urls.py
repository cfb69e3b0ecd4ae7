from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from experiments.urls import protocol_urlpatterns
from monitoring.urls import alertmanager_urlpatterns
from triageops import health, rest

handler500 = rest.server_error
urlpatterns = [
    # First what is called most: addresses are tried in order.
    path("", include(protocol_urlpatterns)),
    path("api/v1/", include("feedback.urls")),
    path("api/v1/", include("experiments.urls")),
    path("api/v1/", include("monitoring.urls")),
    path("alertmanager/api/v2/", include(alertmanager_urlpatterns)),
    path("", RedirectView.as_view(pattern_name="admin:index", permanent=False)),
    path("admin/", admin.site.urls),
    path("health", health.health),
    path("ready", health.ready),
    path("metrics", health.prometheus),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    # No page and no redirect to one with a slash: a POST would become a GET on its way.
    path("api/<path:address>", rest.no_such_address),
]
