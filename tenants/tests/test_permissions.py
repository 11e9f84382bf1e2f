"""What is not allowed is refused."""

import pytest
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from tenants.actors import Actor
from tenants.authentication import Forbidden, Principal
from tenants.models import ApiKey, Organization, ServiceAccount
from tenants.permissions import HasScope
from tenants.roles import ALL, CONFIGURE, HOLDERS, OPERATE, Role, Scope, held_by


class Undeclared(APIView):
    """A view whose author forgot to say who may call it."""


class ReadOnly(APIView):
    """A view that says who may read."""

    scopes = {"GET": Scope.EXPORTS_READ}  # noqa: RUF012  # as the views of the API write it


def request(method, user):
    made = APIRequestFactory().generic(method, "/")
    made.user = user
    return made


@pytest.fixture(params=Role)
def principal(request):
    return Principal(org=Organization(slug="acme"), role=request.param, actor=Actor.system("test"))


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE", "PUT", "OPTIONS"])
def test_a_view_without_declared_scopes_refuses_every_role(principal, method):
    with pytest.raises(Forbidden) as refused:
        HasScope().has_permission(request(method, principal), Undeclared())

    assert "nobody" in refused.value.hint


def test_a_method_that_is_not_declared_is_refused(principal):
    assert HasScope().has_permission(request("GET", principal), ReadOnly())
    assert HasScope().has_permission(request("HEAD", principal), ReadOnly())
    with pytest.raises(Forbidden):
        HasScope().has_permission(request("POST", principal), ReadOnly())


def test_who_is_no_principal_is_refused():
    assert not HasScope().has_permission(request("GET", object()), ReadOnly())


def test_the_sets_are_those_of_the_contract():
    assert {"ADMIN", "INTEGRATOR", "OPS", "VIEWER"} == ALL
    assert {"ADMIN", "INTEGRATOR", "OPS"} == OPERATE
    assert {"ADMIN", "INTEGRATOR"} == CONFIGURE


def test_every_scope_is_held_by_an_administrator_and_by_nobody_unknown():
    assert set(HOLDERS) == set(Scope) == held_by(Role.ADMIN)


def test_a_key_has_what_its_role_its_account_and_its_scopes_have_in_common():
    account = ServiceAccount(role=Role.OPS)
    named = [Scope.EXPORTS_SUBMIT, Scope.EXPORTS_APPROVE, Scope.AUDIT_READ]

    assert ApiKey(role=Role.VIEWER).rights == held_by(Role.VIEWER)
    assert ApiKey(role=Role.INTEGRATOR, scopes=named).rights == {Scope.EXPORTS_SUBMIT, Scope.AUDIT_READ}
    assert ApiKey(role=Role.INTEGRATOR, scopes=named, account=account).rights == {Scope.EXPORTS_SUBMIT}
    assert ApiKey(role=Role.ADMIN, scopes=["exports:teleport"]).rights == set()
