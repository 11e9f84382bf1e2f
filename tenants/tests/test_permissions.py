"""What is not allowed is refused."""

import pytest
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from tenants.actors import Actor
from tenants.authentication import Forbidden, Principal
from tenants.models import Organization, Role
from tenants.permissions import ALL, CONFIGURE, OPERATE, HasRole


class Undeclared(APIView):
    """A view whose author forgot to say who may call it."""


class ReadOnly(APIView):
    """A view that says who may read."""

    roles = {"GET": ALL}  # noqa: RUF012  # as the views of the API write it


def request(method, user):
    made = APIRequestFactory().generic(method, "/")
    made.user = user
    return made


@pytest.fixture(params=Role)
def principal(request):
    return Principal(org=Organization(slug="acme"), role=request.param, actor=Actor.system("test"))


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE", "PUT", "OPTIONS"])
def test_a_view_without_declared_roles_refuses_every_role(principal, method):
    with pytest.raises(Forbidden) as refused:
        HasRole().has_permission(request(method, principal), Undeclared())

    assert "nobody" in refused.value.hint


def test_a_method_that_is_not_declared_is_refused(principal):
    assert HasRole().has_permission(request("GET", principal), ReadOnly())
    assert HasRole().has_permission(request("HEAD", principal), ReadOnly())
    with pytest.raises(Forbidden):
        HasRole().has_permission(request("POST", principal), ReadOnly())


def test_who_is_no_principal_is_refused():
    assert not HasRole().has_permission(request("GET", object()), ReadOnly())


def test_the_sets_are_those_of_the_contract():
    assert {"ADMIN", "INTEGRATOR", "OPS", "VIEWER"} == ALL
    assert {"ADMIN", "INTEGRATOR", "OPS"} == OPERATE
    assert {"ADMIN", "INTEGRATOR"} == CONFIGURE
