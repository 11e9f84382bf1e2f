"""The same two calls in stock Django REST framework: what a good team writes in an afternoon, and nothing around it.

To be imported once Django is set up. Both views pass the same middleware, write or read the same table, and know the
caller by one query, as the framework's own TokenAuthentication does. Here are no roles, no throttle, no audit trail, no
idempotency, no refusal of a second export of the same order, and nothing is decrypted.
"""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from django.contrib.auth.models import User
from django.db import connection, models, transaction
from django.db.backends.postgresql.base import DatabaseWrapper as PlainWrapper
from django.urls import include, path
from procrastinate.contrib.django import app
from rest_framework import serializers
from rest_framework.authentication import TokenAuthentication
from rest_framework.generics import CreateAPIView
from rest_framework.pagination import CursorPagination
from rest_framework.parsers import JSONParser
from rest_framework.permissions import IsAuthenticated
from rest_framework.routers import SimpleRouter
from rest_framework.viewsets import ModelViewSet

from bench.in_process import Caller
from connectors.models import ERPConnection, ERPExport
from connectors.services.jobs import DRAIN
from erpconfig.urls import urlpatterns as ours
from tenants import scope
from tenants.models import Organization
from tenants.postgresql.base import DatabaseWrapper
from tenants.row_security import grant


class StockToken(models.Model):
    """As `rest_framework.authtoken` has it, and which connection its holder sends through."""

    key = models.CharField(max_length=40, primary_key=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE)
    org = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    connection = models.ForeignKey(ERPConnection, on_delete=models.CASCADE, related_name="+")

    class Meta:
        app_label = "bench"

    def __str__(self) -> str:
        return str(self.user)


def sign_in(through: ERPConnection) -> str:
    """Create the table of tokens and one token; return the header that goes with it."""
    with scope.as_owner():
        with connection.schema_editor() as editor:
            editor.create_model(StockToken)
        grant()
    user = User.objects.create_user("stock")
    token = StockToken.objects.create(key="0" * 40, user=user, org=through.org, connection=through)
    return f"Token {token.key}"


class StockCaller(Caller):
    """Tells the database no scope, as stock Django would not: the one that our own call told it last still holds."""

    def __call__(self, *arguments: Any, **headers: str) -> bytes:
        with patch.object(DatabaseWrapper, "create_cursor", PlainWrapper.create_cursor):
            return super().__call__(*arguments, **headers)


class StockAuthentication(TokenAuthentication):
    """The token with its user, in one query."""

    model = StockToken


class _Optional(serializers.CharField):
    """Text that may be left out."""

    def __init__(self, **options: Any) -> None:
        super().__init__(required=False, allow_null=True, **options)


class CustomerSerializer(serializers.Serializer[Any]):
    """Who ordered."""

    id = serializers.CharField(max_length=64)
    erp_customer_number = _Optional(max_length=64)
    name = _Optional(max_length=255)


class HeaderSerializer(serializers.Serializer[Any]):
    """What holds for the whole order."""

    external_order_number = _Optional(max_length=64)
    order_date = serializers.DateField(required=False, allow_null=True)
    currency = serializers.RegexField(r"^[A-Z]{3}$")
    requested_delivery_date = serializers.DateField(required=False, allow_null=True)
    notes = _Optional(max_length=4000)


class LineSerializer(serializers.Serializer[Any]):
    """One position."""

    line_no = serializers.IntegerField(min_value=1, max_value=999_999)
    internal_sku = serializers.CharField(max_length=64)
    qty = serializers.DecimalField(max_digits=18, decimal_places=3)
    uom = serializers.CharField(max_length=16)
    unit_price = serializers.DecimalField(max_digits=18, decimal_places=4)
    currency = serializers.RegexField(r"^[A-Z]{3}$")
    customer_sku_raw = _Optional(max_length=255)
    description = _Optional(max_length=1000)
    gtin = _Optional(max_length=14)
    requested_delivery_date = serializers.DateField(required=False, allow_null=True)


class OrderSerializer(serializers.Serializer[Any]):
    """One order, without its addresses and its origin."""

    order_id = serializers.CharField(max_length=64)
    approved_at = serializers.DateTimeField()
    customer = CustomerSerializer()
    header = HeaderSerializer()
    lines = LineSerializer(many=True)


class ExportSerializer(serializers.ModelSerializer[ERPExport]):
    """Every column of an export; the order is validated by its serializers, and stored as it came."""

    class Meta:
        model = ERPExport
        fields = "__all__"
        read_only_fields = tuple(
            column.name for column in ERPExport._meta.fields if column.name not in ("order", "idempotency_key")
        )

    def validate_order(self, order: Any) -> Any:
        """Let only orders in."""
        OrderSerializer(data=order).is_valid(raise_exception=True)
        return order


class BareExportSerializer(ExportSerializer):
    """The same without a look into the order."""

    def validate_order(self, order: Any) -> Any:
        """Let anything in."""
        return order


class StockExportsView(CreateAPIView[ERPExport]):
    """Stores an export and a job that sends it, in one transaction."""

    authentication_classes = (StockAuthentication,)
    permission_classes = (IsAuthenticated,)
    parser_classes = (JSONParser,)
    serializer_class = ExportSerializer

    def perform_create(self, serializer: Any) -> None:
        """Store both."""
        with transaction.atomic():
            export = serializer.save(
                org_id=self.request.auth.org_id,
                connection_id=self.request.auth.connection_id,
                order_id=serializer.validated_data["order"]["order_id"],
                order_fingerprint="0" * 64,
                actor_kind="API_KEY",
                actor_label=self.request.user.get_username(),
            )
            app.configure_task(DRAIN).defer(connection_id=str(export.connection_id))


class BareExportsView(StockExportsView):
    """The same without a look into the order."""

    serializer_class = BareExportSerializer


class ConnectionSerializer(serializers.ModelSerializer[ERPConnection]):
    """Every column of a connection but the encrypted one."""

    class Meta:
        model = ERPConnection
        exclude = ("config_encrypted",)


class NewestFirst(CursorPagination):
    """Pages of fifty."""

    page_size = 50
    ordering = ("-created_at", "-id")


class StockConnectionsView(ModelViewSet[ERPConnection]):
    """The connections of the token's organisation."""

    authentication_classes = (StockAuthentication,)
    permission_classes = (IsAuthenticated,)
    serializer_class = ConnectionSerializer
    pagination_class = NewestFirst

    def get_queryset(self) -> Any:
        """Return them without the encrypted column."""
        return ERPConnection.objects.filter(org_id=self.request.auth.org_id).defer("config_encrypted")


_router = SimpleRouter(trailing_slash=False)
_router.register("connectors", StockConnectionsView, basename="stock-connectors")

urlpatterns = [
    *ours,
    path("stock/exports", StockExportsView.as_view()),
    path("bare/exports", BareExportsView.as_view()),
    path("stock/", include(_router.urls)),
]
