"""The addresses of the whole project."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularSwaggerSplitView

from connectors.api import inbound
from connectors.api.schema_view import SchemaView
from erpconfig import health
from tenants import invitations

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
    path("invitation/", invitations.page, name="invitation"),
    path("api/v1/schema", SchemaView.as_view(), name="schema"),
    path("api/v1/docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("api/v1/", include("connectors.api.urls")),
    path("as2/<uuid:connection_id>", inbound.receive, name="inbound"),
    path("livez", health.livez),
    path("readyz", health.readyz),
    path("metrics", health.metrics),
]

handler400 = "erpconfig.problems.bad"
handler404 = "erpconfig.problems.not_found"
handler500 = "erpconfig.problems.internal_error"
