"""What monitoring asks of the database: the state of connections, tests and credentials, counted when it asks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Count
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from connectors.models import ConnectionTest, ERPConnection
from connectors.services import checks, installation


class ConnectionCollector(Collector):
    """Gauges without anything that is secret: labels are ids, states and kinds."""

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield the gauges as they are now."""
        yield GaugeMetricFamily(
            "erp_installation_armed", "1 if orders may leave from here.", value=float(installation.is_armed())
        )
        yield _connections()
        yield _breakers()
        yield _tests()
        yield _expiries()


def _connections() -> GaugeMetricFamily:
    gauge = GaugeMetricFamily("erp_connections", "Active connections by health.", labels=["health"])
    counts = ERPConnection.objects.active().values("health").annotate(count=Count("pk")).order_by("health")
    for health, count in counts.values_list("health", "count"):
        gauge.add_metric([health], count)
    return gauge


def _breakers() -> GaugeMetricFamily:
    still = ERPConnection.objects.active().exclude(retry_at=None).count()
    return GaugeMetricFamily("erp_connections_breaker_open", "Connections with an open breaker.", value=still)


def _tests() -> GaugeMetricFamily:
    gauge = GaugeMetricFamily("erp_connection_tests", "Tests that wait or run.", labels=["state"])
    counts = ConnectionTest.objects.unfinished().values("state").annotate(count=Count("pk")).order_by("state")
    for state, count in counts.values_list("state", "count"):
        gauge.add_metric([state], count)
    return gauge


def _expiries() -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(
        "erp_credential_expires_timestamp_seconds",
        "When a credential of an active connection expires, in seconds since 1970.",
        labels=["connection_id", "field", "kind"],
    )
    for connection in ERPConnection.objects.active().exclude(expiries=[], credentials_expire_on=None):
        for entry in checks.expiries(connection):
            moment = datetime.fromisoformat(entry["expires_at"]).timestamp()
            gauge.add_metric([str(connection.pk), entry["field"], entry["kind"]], moment)
    return gauge
