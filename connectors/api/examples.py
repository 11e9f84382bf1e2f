"""The examples of the API description; each is checked against its shape by a test."""

from __future__ import annotations

from typing import Any, Final

ORDER: Final[dict[str, Any]] = {
    "order_id": "SO-2025-0042",
    "approved_at": "2025-12-26T10:00:00Z",
    "customer": {"id": "c-17", "erp_customer_number": "4711", "name": "Muster GmbH"},
    "header": {
        "external_order_number": "PO-12345",
        "order_date": "2025-12-01",
        "currency": "EUR",
        "requested_delivery_date": "2025-12-10",
        "notes": None,
    },
    "ship_to": {
        "name": "Muster GmbH, Lager 2",
        "street": "Industriestraße 5",
        "postal_code": "80331",
        "city": "München",
        "country": "DE",
    },
    "bill_to": None,
    "lines": [
        {
            "line_no": 1,
            "internal_sku": "INT-999",
            "qty": "10",
            "uom": "M",
            "unit_price": "1.23",
            "currency": "EUR",
            "customer_sku_raw": "AB-123",
            "description": "Kabel NYM-J 3x1,5",
        }
    ],
    "meta": {"created_by": "ops@acme.example", "source_document": None},
}

EXPORT_INPUT: Final[dict[str, Any]] = {"order": ORDER}

CONNECTION_INPUT: Final[dict[str, Any]] = {
    "connector_type": "DROPZONE_JSON_V1",
    "name": "Warehouse ERP",
    "config": {
        "mode": "sftp",
        "host": "sftp.example.com",
        "username": "acme",
        "password": "correct horse battery staple",  # nosec B105  # nobody's password
        "host_key": "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8",
        "export_path": "/orders/in",
        "ack_path": "/orders/ack",
    },
    "test_on_save": True,
}

UNSAVED_TEST_INPUT: Final[dict[str, Any]] = {name: CONNECTION_INPUT[name] for name in ("connector_type", "config")}

CONNECTION_PATCH: Final[dict[str, Any]] = {"config": {"ack_path": None, "timeout_s": 30}, "revision": 3}

TEST_REPORT: Final[dict[str, Any]] = {
    "success": True,
    "latency_ms": 141,
    "steps": [
        {"name": "connect", "status": "passed", "latency_ms": 22, "detail": "", "code": None, "hint": ""},
        {"name": "log_in", "status": "passed", "latency_ms": 87, "detail": "", "code": None, "hint": ""},
        {"name": "write", "status": "passed", "latency_ms": 32, "detail": "", "code": None, "hint": ""},
    ],
    "not_proven": ["That the ERP reads this folder."],
    "identity": None,
}

FAILED_TEST_REPORT: Final[dict[str, Any]] = {
    "success": False,
    "latency_ms": 3,
    "steps": [
        {
            "name": "connect",
            "status": "failed",
            "latency_ms": 3,
            "detail": "sftp.example.com:22 refused the connection.",
            "code": "CONNECTION_REFUSED",
            "hint": "Check the port, and that the service is running and lets this server in.",
        },
        {
            "name": "log_in",
            "status": "skipped",
            "latency_ms": 0,
            "detail": "Skipped because connect failed.",
            "code": None,
            "hint": "",
        },
    ],
    "not_proven": [],
    "identity": None,
}

CONNECTION: Final[dict[str, Any]] = {
    "id": "0b7f8a52-4a58-4f0c-9d0a-5a3f0e6d1c11",
    "connector_type": "DROPZONE_JSON_V1",
    "name": "Warehouse ERP",
    "status": "ACTIVE",
    "health": "HEALTHY",
    "config": {
        "mode": "sftp",
        "host": "sftp.example.com",
        "port": 22,
        "username": "acme",
        "host_key": "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8",
        "export_path": "/orders/in",
        "ack_path": "/orders/ack",
        "atomic_write": True,
        "temp_suffix": ".tmp",
        "timeout_s": 10,
    },
    "secrets": {
        "password": {"set": True, "updated_at": "2025-12-26T09:00:00Z"},
        "private_key": {"set": False, "updated_at": None},
        "passphrase": {"set": False, "updated_at": None},
    },
    "revision": 3,
    "tested_revision": 3,
    "last_test_at": "2025-12-26T09:00:01Z",
    "last_test": TEST_REPORT,
    "created_at": "2025-12-20T08:00:00Z",
    "updated_at": "2025-12-26T09:00:01Z",
}

EXPORT: Final[dict[str, Any]] = {
    "id": "7d3d4c1e-9a0e-4f6c-8a43-2f1d7f8b9c10",
    "status": "ACKED",
    "connector": {name: CONNECTION[name] for name in ("id", "connector_type", "name")},
    "order_id": "SO-2025-0042",
    "filename": "sales_order_SO-2025-0042_20251226T100001Z_7d3d4c1e.json",
    "document": {"sha256": "ab" * 32, "size": 812, "media_type": "application/json", "purged_at": None},
    "receipt": {
        "transport": "sftp",
        "location": "/orders/in/sales_order_SO-2025-0042_20251226T100001Z_7d3d4c1e.json",
        "size": 812,
        "sha256": "ab" * 32,
        "already_delivered": False,
        "taken": False,
    },
    "erp_order_id": "SO-88123",
    "error": None,
    "warnings": [],
    "attempts": 1,
    "next_attempt_at": None,
    "outcome_unknown": False,
    "held": False,
    "retry_of": None,
    "superseded": False,
    "reason": None,
    "dismissed": False,
    "created_at": "2025-12-26T10:00:01Z",
    "updated_at": "2025-12-26T10:01:00Z",
    "sent_at": "2025-12-26T10:00:02Z",
    "finished_at": "2025-12-26T10:01:00Z",
}

PENDING_EXPORT: Final[dict[str, Any]] = EXPORT | {
    "status": "PENDING",
    "filename": None,
    "document": None,
    "receipt": None,
    "erp_order_id": None,
    "attempts": 0,
    "sent_at": None,
    "finished_at": None,
}

WEBHOOK_INPUT: Final[dict[str, Any]] = {
    "name": "Shop",
    "url": "https://shop.example.com/hooks/erp",
    "events": ["export.acknowledged", "export.rejected", "export.failed"],
}

STAGED_CREDENTIALS: Final = {"config": {"password": "the-next-one"}}  # nosec B105  # an example

RESOLVED_ACKNOWLEDGEMENT: Final[dict[str, Any]] = {
    "id": "5a3f0e6d-1c11-4a58-8f0c-0b7f8a524f0c",
    "connector": EXPORT["connector"],
    "export_id": None,
    "name": "ack_sales_order_SO-2025-0041.json",
    "sha256": "cd" * 32,
    "outcome": "UNMATCHED",
    "status": "ACKED",
    "erp_order_id": "SO-88122",
    "error": None,
    "open": False,
    "problem": {
        "code": "ACKNOWLEDGEMENT_UNMATCHED",
        "message": "Nothing that this acknowledgement could answer was sent.",
        "hint": "Compare its name with the file name of the order it is meant for. It stays where it lies.",
    },
    "processed_at": "2025-12-26T10:00:40Z",
    "received_at": "2025-12-26T10:01:00Z",
    "resolved_at": "2025-12-26T11:30:00Z",
}

DELIVERY_PATCH: Final[dict[str, Any]] = {
    "window": 1,
    "max_per_minute": 60,
    "maintenance_windows": [
        {"days": ["fri", "sat"], "start": "22:00", "end": "02:00", "timezone": "Europe/Berlin"},
        {"from": "2026-12-24T12:00:00+01:00", "until": "2026-12-27T06:00:00+01:00"},
    ],
    "approval_limits": {"EUR": "10000.00"},
    "ack_expected_within": 120,
}

DELIVERY: Final[dict[str, Any]] = DELIVERY_PATCH | {
    "paused": {"since": "2026-11-25T09:12:44Z", "reason": "Stocktaking until noon"},
    "closed_until": None,
}
