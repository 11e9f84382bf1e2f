"""The addresses below /api/v1/."""

from django.urls import path

from connectors.api import accounts, audit, connections, connector_types, exports

app_name = "api"

urlpatterns = [
    path("me", accounts.MeView.as_view(), name="me"),
    path("connector-types", connector_types.ConnectorTypesView.as_view(), name="connector-types"),
    path("connector-types/<str:connector_type>", connector_types.ConnectorTypeView.as_view(), name="connector-type"),
    path("connectors", connections.ConnectionsView.as_view(), name="connectors"),
    path("connectors/test", connections.UnsavedTestView.as_view(), name="connectors-test"),
    path("connectors/<uuid:connection_id>", connections.ConnectionView.as_view(), name="connector"),
    path("connectors/<uuid:connection_id>/test", connections.ConnectionTestView.as_view(), name="connector-test"),
    path("connectors/<uuid:connection_id>/tests", connections.ConnectionTestsView.as_view(), name="connector-tests"),
    path(
        "connectors/<uuid:connection_id>/activate",
        connections.ConnectionActivationView.as_view(),
        name="connector-activate",
    ),
    path("exports", exports.ExportsView.as_view(), name="exports"),
    path("exports/preview", exports.ExportPreviewView.as_view(), name="exports-preview"),
    path("exports/<uuid:export_id>", exports.ExportView.as_view(), name="export"),
    path("exports/<uuid:export_id>/attempts", exports.ExportAttemptsView.as_view(), name="export-attempts"),
    path("exports/<uuid:export_id>/document", exports.ExportDocumentView.as_view(), name="export-document"),
    path("exports/<uuid:export_id>/retry", exports.ExportRetryView.as_view(), name="export-retry"),
    path("exports/<uuid:export_id>/cancel", exports.ExportCancelView.as_view(), name="export-cancel"),
    path("audit-events", audit.AuditEventsView.as_view(), name="audit-events"),
]
