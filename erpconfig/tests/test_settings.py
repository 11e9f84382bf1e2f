"""The settings as a whole: what they refuse, what they derive, what they hide."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import RequestFactory
from django.views.debug import SafeExceptionReporterFilter

from erpconfig.paths import BASE_DIR, DATA_DIR

MINIMAL = {
    "ENV_FILE": "",
    "SECRET_KEY": "K" + "0123456789" * 5,
    "ENCRYPTION_MASTER_KEY": "0123456789abcdef" * 4,
    "ALLOWED_HOSTS": "erp.example.com",
}


def load(monkeypatch: pytest.MonkeyPatch, **environment: str) -> dict[str, Any]:
    """Execute the settings module in exactly this environment."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in {**MINIMAL, **environment}.items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(str(BASE_DIR / "erpconfig" / "settings.py"))


REFUSED = [
    ("SECRET_KEY", "", "SECRET_KEY is not set. Run `make env`"),
    ("SECRET_KEY", "s3cret", "SECRET_KEY has fewer than 50 characters"),
    ("SECRET_KEY", "s" * 60, "SECRET_KEY is too easy to guess"),
    ("SECRET_KEY", "django-insecure-" + MINIMAL["SECRET_KEY"], "SECRET_KEY is too easy to guess"),
    ("ENCRYPTION_MASTER_KEY", "", "ENCRYPTION_MASTER_KEY is not set"),
    ("ENCRYPTION_MASTER_KEY", "s3cret", "ENCRYPTION_MASTER_KEY contains something other than the hexadecimal digits"),
    ("ENCRYPTION_MASTER_KEY", "ab" * 31, "ENCRYPTION_MASTER_KEY is too short"),
    ("ENCRYPTION_MASTER_KEY", "0f" * 33, "ENCRYPTION_MASTER_KEY is too long"),
    ("ENCRYPTION_MASTER_KEY", "0123456789abcdef" * 4 + " ", "ENCRYPTION_MASTER_KEY contains a space"),
    ("ENCRYPTION_MASTER_KEY", "0" * 64, "ENCRYPTION_MASTER_KEY is all zeros"),
    ("ENCRYPTION_MASTER_KEY", "ab" * 32, "ENCRYPTION_MASTER_KEY repeats one byte"),
    ("ENCRYPTION_PREVIOUS_KEYS", "0123456789abcdef" * 4 + ",", "ENCRYPTION_PREVIOUS_KEYS has an empty entry"),
    ("ENCRYPTION_PREVIOUS_KEYS", "s3cret", "ENCRYPTION_PREVIOUS_KEYS contains something other"),
    ("ALLOWED_HOSTS", "", "ALLOWED_HOSTS is not set. List the names"),
    ("ALLOWED_HOSTS", "https://erp.example.com", "ALLOWED_HOSTS has an entry that is no host name"),
    ("ALLOWED_HOSTS", "a.example.com,,b.example.com", "ALLOWED_HOSTS has an empty entry"),
    ("DATABASE_URL", "mysql://u:s3cret@h/d", "DATABASE_URL is no URL of the form postgresql://"),
    ("DATABASE_URL", "postgresql://u:s3cret@h", "DATABASE_URL is no URL of the form postgresql://"),
    ("DATABASE_URL", "postgresql://u:s3cret@h:port/d", "DATABASE_URL is no URL of the form postgresql://"),
    ("DATABASE_POOL_SIZE", "0", "DATABASE_POOL_SIZE is not a whole number"),
    ("EMAIL_URL", "smtps://u:s3cret@mail.example.com", "EMAIL_URL is no URL of the form smtp+tls://"),
    ("EMAIL_URL", "smtp+tls://u:s3cret@", "EMAIL_URL is no URL of the form smtp+tls://"),
    ("EMAIL_URL", "smtp+tls://u:s3cret@host:port", "EMAIL_URL is no URL of the form smtp+tls://"),
    ("PUBLIC_URL", "orders.example.com", "PUBLIC_URL is no URL of the form https://host"),
    ("DIGEST_HOUR", "24", "DIGEST_HOUR is not a whole number from 0 to 23"),
    ("DEBUG", "maybe", "DEBUG is neither true nor false"),
    ("HTTPS", "maybe", "HTTPS is neither true nor false"),
    ("DROPZONE_ROOT", "dropzone", "DROPZONE_ROOT is not an absolute path"),
    ("STATIC_ROOT", "static", "STATIC_ROOT is not an absolute path"),
    ("EGRESS_ALLOWED_NETWORKS", "10.0.0.0/8,10.0.0.1/8", "EGRESS_ALLOWED_NETWORKS has an entry (number 2)"),
    ("EGRESS_ALLOWED_NETWORKS", "localhost", "EGRESS_ALLOWED_NETWORKS has an entry (number 1)"),
    ("METRICS_ALLOWED_NETWORKS", "all", "METRICS_ALLOWED_NETWORKS has an entry (number 1)"),
    ("DOCUMENT_STORAGE", "documents", "DOCUMENT_STORAGE is not an absolute path"),
    ("DOCUMENT_STORAGE", "s3://key:s3cret@bucket", "DOCUMENT_STORAGE is no s3://bucket/prefix"),
    ("DOCUMENT_STORAGE", "s3://bucket?secret_key=s3cret", "DOCUMENT_STORAGE is no s3://bucket/prefix"),
    ("ACK_POLL_SECONDS", "0", "ACK_POLL_SECONDS is not a whole number"),
    ("SWEEP_SECONDS", "x", "SWEEP_SECONDS is not a whole number"),
    ("EXPORT_LEASE_SECONDS", "1", "EXPORT_LEASE_SECONDS is not a whole number"),
    ("EXPORT_MAX_ATTEMPTS", "0", "EXPORT_MAX_ATTEMPTS is not a whole number"),
    ("LOG_LEVEL", "LOUD", "LOG_LEVEL is not a word known here"),
    ("LOG_FORMAT", "xml", "LOG_FORMAT is not a word known here"),
]


class TestRefusals:
    @pytest.mark.parametrize(("name", "value", "reason"), REFUSED, ids=[reason for _, _, reason in REFUSED])
    def test_a_bad_value_stops_the_start(
        self, monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
    ) -> None:
        with pytest.raises(ImproperlyConfigured) as error:
            load(monkeypatch, **{name: value})

        assert str(error.value).startswith(reason)
        assert len(value) < 5 or value not in str(error.value)
        assert "s3cret" not in str(error.value)

    def test_a_command_ends_with_the_reason_and_nothing_else(self) -> None:
        done = subprocess.run(
            [sys.executable, "manage.py", "check"],
            cwd=BASE_DIR,
            env={**os.environ, "ENCRYPTION_MASTER_KEY": "s3cret" * 8},
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 1
        assert done.stderr.startswith("manage.py: ENCRYPTION_MASTER_KEY contains something other")
        assert "s3cret" not in done.stderr + done.stdout
        assert "Traceback" not in done.stderr


class TestDefaults:
    def test_they_are_those_of_production(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = load(monkeypatch)

        assert settings["DEBUG"] is False
        assert settings["SECURE_SSL_REDIRECT"] is True
        assert settings["SESSION_COOKIE_SECURE"] is True
        assert settings["EGRESS_ALLOWED_NETWORKS"] == []
        assert settings["ACK_POLL_SECONDS"] == 60
        assert settings["LOG_FORMAT"] == "json"
        assert settings["DROPZONE_ROOT"] == str(DATA_DIR / "dropzone")
        assert settings["SESSION_COOKIE_NAME"].startswith("__Host-")
        assert settings["CSRF_COOKIE_NAME"].startswith("__Host-")

    def test_plain_http_on_request(self, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = load(monkeypatch, HTTPS="false")

        assert settings["SECURE_SSL_REDIRECT"] is False
        assert settings["SECURE_PROXY_SSL_HEADER"] is None
        assert settings["CSRF_COOKIE_SECURE"] is False

    def test_without_a_database_url_it_is_the_embedded_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        database = load(monkeypatch)["DATABASES"]["default"]

        assert database["NAME"] == "erpconnector"
        assert Path(database["HOST"]).is_absolute()


class TestDatabaseUrl:
    def test_its_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        url = "postgresql://erp:p%40ss%2Fword@db.example.com:6543/erp?sslmode=verify-full"

        database = load(monkeypatch, DATABASE_URL=url)["DATABASES"]["default"]

        assert {name: database[name] for name in ("HOST", "PORT", "USER", "PASSWORD", "NAME")} == {
            "HOST": "db.example.com", "PORT": 6543, "USER": "erp", "PASSWORD": "p@ss/word", "NAME": "erp",
        }  # fmt: skip
        assert database["OPTIONS"]["sslmode"] == "verify-full"
        assert database["CONN_MAX_AGE"] == 0
        assert database["OPTIONS"]["pool"]["max_size"] == 32

    def test_from_a_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        file = tmp_path / "url"
        file.write_text("postgresql://erp@db/from_file\n")

        assert load(monkeypatch, DATABASE_URL_FILE=str(file))["DATABASES"]["default"]["NAME"] == "from_file"


class TestDocumentStorage:
    def test_files_that_only_this_user_reads(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        options = load(monkeypatch, DOCUMENT_STORAGE=str(tmp_path))["STORAGES"]["documents"]["OPTIONS"]

        assert options["location"] == str(tmp_path)
        assert (options["file_permissions_mode"], options["directory_permissions_mode"]) == (0o600, 0o700)

    def test_s3(self, monkeypatch: pytest.MonkeyPatch) -> None:
        url = "s3://bucket/a/prefix?endpoint_url=https://s3.example.com&region_name=eu-central-1"

        storage = load(monkeypatch, DOCUMENT_STORAGE=url)["STORAGES"]["documents"]

        assert storage["BACKEND"] == "erpconfig.s3.DocumentBucket"
        assert storage["OPTIONS"] == {
            "bucket_name": "bucket", "location": "a/prefix",
            "endpoint_url": "https://s3.example.com", "region_name": "eu-central-1",
        }  # fmt: skip


class TestSecrecy:
    @pytest.fixture
    def secrets(self) -> dict[str, str]:
        return {
            "SECRET_KEY": MINIMAL["SECRET_KEY"],
            "ENCRYPTION_MASTER_KEY": "0123456789abcdef" * 4,
            "ENCRYPTION_PREVIOUS_KEYS": "fedcba9876543210" * 4,
            "DATABASE_URL": "postgresql://erp:s3cret-password@db/erp",
        }

    def test_diffsettings_does_not_show_them(self, secrets: dict[str, str]) -> None:
        done = subprocess.run(
            [sys.executable, "manage.py", "diffsettings", "--all"],
            cwd=BASE_DIR,
            env={**os.environ, **secrets},
            capture_output=True,
            text=True,
            check=True,
        )

        assert "ENCRYPTION_PREVIOUS_KEYS = ('********',)" in done.stdout
        for secret in (*list(secrets.values())[:3], "s3cret-password"):
            assert secret not in done.stdout

    def test_the_debug_page_does_not_show_them(self, monkeypatch: pytest.MonkeyPatch, secrets: dict[str, str]) -> None:
        settings = load(monkeypatch, **secrets)
        reporter = SafeExceptionReporterFilter()

        shown = {name: reporter.cleanse_setting(name, value) for name, value in settings.items() if name.isupper()}

        for secret in (*list(secrets.values())[:3], "s3cret-password"):
            assert secret not in str(shown)

    def test_nor_do_the_settings_themselves(self, rf: RequestFactory) -> None:
        from django.conf import settings

        shown = SafeExceptionReporterFilter().get_safe_settings()

        assert settings.ENCRYPTION_MASTER_KEY not in str(shown)
        assert settings.SECRET_KEY not in str(shown)
