"""The addresses below /api/v1/."""

from django.urls import path

from connectors.api import (
    accounts,
    acknowledgements,
    audit,
    connections,
    connector_types,
    diagnosis,
    exports,
    revisions,
    webhooks,
)

app_name = "api"

urlpatterns = [
    path("me", accounts.MeView.as_view(), name="me"),
    path("connector-types", connector_types.ConnectorTypesView.as_view(), name="connector-types"),
    path("connector-types/<str:connector_type>", connector_types.ConnectorTypeView.as_view(), name="connector-type"),
    path("connectors", connections.ConnectionsView.as_view(), name="connectors"),
    path("connectors/test", diagnosis.UnsavedTestView.as_view(), name="connectors-test"),
    path("connectors/tests/<uuid:test_id>", diagnosis.TestView.as_view(), name="test"),
    path("connectors/tests/<uuid:test_id>/cancel", diagnosis.TestCancellationView.as_view(), name="test-cancel"),
    path("connectors/<uuid:connection_id>", connections.ConnectionView.as_view(), name="connector"),
    path("connectors/<uuid:connection_id>/test", diagnosis.ConnectionTestView.as_view(), name="connector-test"),
    path("connectors/<uuid:connection_id>/tests", diagnosis.ConnectionTestsView.as_view(), name="connector-tests"),
    path("connectors/<uuid:connection_id>/monitoring", connections.MonitoringView.as_view(), name="monitoring"),
    path("connectors/<uuid:connection_id>/identity", diagnosis.IdentityView.as_view(), name="connector-identity"),
    path("connectors/<uuid:connection_id>/revisions", revisions.RevisionsView.as_view(), name="connector-revisions"),
    path("connectors/<uuid:connection_id>/revert", revisions.RevertView.as_view(), name="connector-revert"),
    path("connectors/<uuid:connection_id>/host-key", revisions.HostKeyView.as_view(), name="connector-host-key"),
    path("connectors/<uuid:connection_id>/staged", revisions.StagedView.as_view(), name="connector-staged"),
    path("connectors/<uuid:connection_id>/staged/test", diagnosis.StagedTestView.as_view(), name="staged-test"),
    path("connectors/<uuid:connection_id>/staged/promote", revisions.PromotionView.as_view(), name="staged-promote"),
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
    path("acknowledgements", acknowledgements.AcknowledgementsView.as_view(), name="acknowledgements"),
    path(
        "acknowledgements/<uuid:acknowledgement_id>/resolve",
        acknowledgements.AcknowledgementResolutionView.as_view(),
        name="acknowledgement-resolve",
    ),
    path("webhooks", webhooks.WebhooksView.as_view(), name="webhooks"),
    path("webhooks/<uuid:webhook_id>", webhooks.WebhookView.as_view(), name="webhook"),
    path("webhooks/<uuid:webhook_id>/rotate-secret", webhooks.SecretView.as_view(), name="webhook-rotate-secret"),
    path("webhooks/<uuid:webhook_id>/test", webhooks.WebhookTestView.as_view(), name="webhook-test"),
    path("webhooks/<uuid:webhook_id>/deliveries", webhooks.DeliveriesView.as_view(), name="webhook-deliveries"),
    path(
        "webhooks/<uuid:webhook_id>/deliveries/<uuid:delivery_id>/redeliver",
        webhooks.RedeliveryView.as_view(),
        name="webhook-redeliver",
    ),
    path("audit-events", audit.AuditEventsView.as_view(), name="audit-events"),
]
