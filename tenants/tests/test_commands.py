"""The commands that create organisations and API keys: outcome, exit code, and what they print where."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tenants.models import ApiKey, AuditEvent, Organization, Role, ServiceAccount

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command(*arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def refused(*arguments: str) -> CommandError:
    with pytest.raises(CommandError) as refusal:
        run(*arguments)
    return refusal.value


@pytest.fixture
def acme() -> Organization:
    return Organization.objects.create(slug="acme", name="Acme GmbH")


def test_creates_an_organization_and_says_so_in_the_audit_trail() -> None:
    run("create_organization", "acme", "--name", "Acme GmbH")

    organization = Organization.objects.get(slug="acme")
    assert organization.name == "Acme GmbH"
    event = AuditEvent.objects.get()
    assert (event.org, event.action, event.actor_label) == (
        organization, "organization.created", "create_organization"
    )  # fmt: skip


def test_a_second_organization_of_the_same_slug_is_refused(acme: Organization) -> None:
    assert refused("create_organization", acme.slug, "--name", "Other").returncode == 1


@pytest.mark.parametrize(("slug", "name"), [("Acme", "A"), ("a b", "A"), ("x" * 64, "A"), ("acme", "")])
def test_an_unusable_organization_is_refused_on_one_line(slug: str, name: str) -> None:
    error = refused("create_organization", slug, "--name", name)

    assert error.returncode == 2
    assert "\n" not in str(error)
    assert not Organization.objects.exists()


def test_the_api_key_stands_alone_on_stdout_and_works(acme: Organization) -> None:
    out, err = run("create_api_key", "acme", "--role", "ops", "--name", "night shift")

    token = out.removesuffix("\n")
    key = ApiKey.objects.authenticate(token)
    assert key is not None
    assert (key.org, key.role, key.name, key.expires_at) == (acme, Role.OPS, "night shift", None)
    assert token not in err
    assert token.split("_", 2)[2] not in str(list(AuditEvent.objects.values()))


def test_an_api_key_can_expire(acme: Organization) -> None:
    run("create_api_key", "acme", "--role", "VIEWER", "--name", "guest", "--expires-in-days", "90")

    key = ApiKey.objects.get()
    assert key.expires_at is not None
    assert (key.expires_at - key.created_at).days in (89, 90)


@pytest.mark.parametrize("days", ["0", "-1", "99999999"])
def test_a_nonsensical_expiry_is_refused(acme: Organization, days: str) -> None:
    error = refused("create_api_key", "acme", "--role", "OPS", "--name", "x", f"--expires-in-days={days}")

    assert error.returncode == 2
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize("name", ["", "n" * 101])
def test_an_unusable_key_name_is_refused(acme: Organization, name: str) -> None:
    assert refused("create_api_key", "acme", "--role", "OPS", "--name", name).returncode == 2


def test_an_unknown_organization_is_answered_with_the_known_ones(acme: Organization) -> None:
    error = refused("create_api_key", "acne", "--role", "OPS", "--name", "x")

    assert error.returncode == 2
    assert "'acne'" in str(error)
    assert "acme" in str(error)


def test_without_any_organization_the_remedy_is_named() -> None:
    assert "create_organization" in str(refused("create_api_key", "acme", "--role", "OPS", "--name", "x"))


def test_a_key_can_be_confined_and_belong_to_an_account(acme: Organization) -> None:
    account = ServiceAccount.objects.create(org=acme, name="web shop", role=Role.OPS)
    common = ("create_api_key", "acme", "--name", "till", "--account", "web shop")
    run(
        *(*common, "--role", "OPS", "--scope", "exports:submit", "--scope", "exports:read"),
        *("--network", "203.0.113.0/24", "--network", "2001:db8::/32", "--expires-in", "12h"),
    )

    key = ApiKey.objects.get()
    assert (key.account, key.scopes) == (account, ["exports:read", "exports:submit"])
    assert key.networks == ["203.0.113.0/24", "2001:db8::/32"]
    assert timedelta(hours=11) < key.expires_at - timezone.now() < timedelta(hours=13)
    for wrong in (
        (*common, "--role", "ADMIN"),
        (*common, "--role", "VIEWER", "--scope", "exports:submit"),
        (*common, "--role", "OPS", "--scope", "exports:teleport"),
        (*common, "--role", "OPS", "--network", "203.0.113.1/24"),
        (*common, "--role", "OPS", "--expires-in", "0d"),
        (*common, "--role", "OPS", "--account", "no such"),
    ):
        assert refused(*wrong).returncode == 2, wrong
    assert ApiKey.objects.count() == 1
