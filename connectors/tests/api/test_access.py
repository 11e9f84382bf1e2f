"""Every address, every method, every role, two organisations: taken from the URL table, so that no new one escapes."""

import re
from collections import defaultdict
from contextlib import contextmanager
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from connectors.api.urls import urlpatterns
from connectors.models import ERPConnection, ERPExport
from connectors.testing import sample_orders
from connectors.tests.api.conftest import Caller, problem
from connectors.tests.rows import an_acknowledgement, an_invitation, things_done
from tenants.models import Membership
from tenants.roles import Role, Scope

EVERYBODY = {"ADMIN", "INTEGRATOR", "OPS", "VIEWER"}
OPERATORS = {"ADMIN", "INTEGRATOR", "OPS"}
INTEGRATORS = {"ADMIN", "INTEGRATOR"}
APPROVERS = {"ADMIN", "OPS"}
ADMINISTRATORS = {"ADMIN"}

# The contract, written once more: a role that is added to a view has to be added here as well.
CONTRACT = {
    ("GET", "me"): EVERYBODY,
    ("GET", "connector-types"): EVERYBODY,
    ("GET", "connector-types/<connector_type>"): EVERYBODY,
    ("GET", "connectors"): INTEGRATORS,
    ("POST", "connectors"): INTEGRATORS,
    ("POST", "connectors/test"): INTEGRATORS,
    ("GET", "connectors/<connection_id>"): INTEGRATORS,
    ("PATCH", "connectors/<connection_id>"): INTEGRATORS,
    ("DELETE", "connectors/<connection_id>"): INTEGRATORS,
    ("POST", "connectors/<connection_id>/test"): INTEGRATORS,
    ("GET", "connectors/<connection_id>/tests"): INTEGRATORS,
    ("POST", "connectors/<connection_id>/activate"): INTEGRATORS,
    ("GET", "connectors/tests/<test_id>"): INTEGRATORS,
    ("POST", "connectors/tests/<test_id>/cancel"): INTEGRATORS,
    ("GET", "connectors/<connection_id>/monitoring"): INTEGRATORS,
    ("PATCH", "connectors/<connection_id>/monitoring"): INTEGRATORS,
    ("POST", "connectors/<connection_id>/identity"): INTEGRATORS,
    ("GET", "connectors/<connection_id>/revisions"): INTEGRATORS,
    ("POST", "connectors/<connection_id>/revert"): INTEGRATORS,
    ("POST", "connectors/<connection_id>/host-key"): INTEGRATORS,
    ("GET", "connectors/<connection_id>/staged"): INTEGRATORS,
    ("POST", "connectors/<connection_id>/staged"): INTEGRATORS,
    ("DELETE", "connectors/<connection_id>/staged"): INTEGRATORS,
    ("POST", "connectors/<connection_id>/staged/test"): INTEGRATORS,
    ("POST", "connectors/<connection_id>/staged/promote"): INTEGRATORS,
    ("GET", "connectors/<connection_id>/delivery"): INTEGRATORS,
    ("PATCH", "connectors/<connection_id>/delivery"): INTEGRATORS,
    ("POST", "connectors/<connection_id>/pause"): OPERATORS,
    ("POST", "connectors/<connection_id>/resume"): OPERATORS,
    ("GET", "exports"): EVERYBODY,
    ("POST", "exports"): OPERATORS,
    ("POST", "exports/preview"): OPERATORS,
    ("POST", "exports/retry"): OPERATORS,
    ("GET", "exports/<export_id>"): EVERYBODY,
    ("GET", "exports/<export_id>/attempts"): EVERYBODY,
    ("GET", "exports/<export_id>/document"): EVERYBODY,
    ("POST", "exports/<export_id>/retry"): OPERATORS,
    ("POST", "exports/<export_id>/cancel"): OPERATORS,
    ("GET", "acknowledgements"): EVERYBODY,
    ("POST", "acknowledgements/<acknowledgement_id>/resolve"): OPERATORS,
    ("GET", "webhooks"): INTEGRATORS,
    ("POST", "webhooks"): INTEGRATORS,
    ("GET", "webhooks/<webhook_id>"): INTEGRATORS,
    ("PATCH", "webhooks/<webhook_id>"): INTEGRATORS,
    ("DELETE", "webhooks/<webhook_id>"): INTEGRATORS,
    ("POST", "webhooks/<webhook_id>/rotate-secret"): INTEGRATORS,
    ("POST", "webhooks/<webhook_id>/test"): INTEGRATORS,
    ("GET", "webhooks/<webhook_id>/deliveries"): INTEGRATORS,
    ("POST", "webhooks/<webhook_id>/deliveries/<delivery_id>/redeliver"): INTEGRATORS,
    ("POST", "exports/<export_id>/approve"): APPROVERS,
    ("POST", "exports/<export_id>/resend"): OPERATORS,
    ("POST", "exports/<export_id>/dismiss"): OPERATORS,
    ("GET", "exports/<export_id>/timeline"): EVERYBODY,
    ("GET", "audit-events"): INTEGRATORS,
    ("GET", "audit-events/export"): INTEGRATORS,
    ("GET", "api-keys"): ADMINISTRATORS,
    ("POST", "api-keys"): ADMINISTRATORS,
    ("GET", "api-keys/<key_id>"): ADMINISTRATORS,
    ("PATCH", "api-keys/<key_id>"): ADMINISTRATORS,
    ("DELETE", "api-keys/<key_id>"): ADMINISTRATORS,
    ("POST", "api-keys/<key_id>/rotate"): ADMINISTRATORS,
    ("GET", "service-accounts"): ADMINISTRATORS,
    ("POST", "service-accounts"): ADMINISTRATORS,
    ("GET", "service-accounts/<account_id>"): ADMINISTRATORS,
    ("PATCH", "service-accounts/<account_id>"): ADMINISTRATORS,
    ("DELETE", "service-accounts/<account_id>"): ADMINISTRATORS,
    ("GET", "members"): ADMINISTRATORS,
    ("GET", "members/<member_id>"): ADMINISTRATORS,
    ("PATCH", "members/<member_id>"): ADMINISTRATORS,
    ("DELETE", "members/<member_id>"): ADMINISTRATORS,
    ("GET", "invitations"): ADMINISTRATORS,
    ("POST", "invitations"): ADMINISTRATORS,
    ("GET", "invitations/<invitation_id>"): ADMINISTRATORS,
    ("DELETE", "invitations/<invitation_id>"): ADMINISTRATORS,
}

# And what an API key needs that is confined to scopes, by the first part of the address and the method; then what
# differs from that. None: nothing.
BY_RESOURCE = {
    "me": {"GET": None},
    "connector-types": {"GET": None},
    "connectors": dict.fromkeys(("POST", "PATCH", "DELETE"), "connections:write") | {"GET": "connections:read"},
    "exports": {"GET": "exports:read", "POST": "exports:manage"},
    "acknowledgements": {"GET": "acknowledgements:read", "POST": "acknowledgements:resolve"},
    "webhooks": dict.fromkeys(("POST", "PATCH", "DELETE"), "webhooks:write") | {"GET": "webhooks:read"},
    "audit-events": {"GET": "audit:read"},
    "api-keys": dict.fromkeys(("POST", "PATCH", "DELETE"), "keys:manage") | {"GET": "keys:read"},
    "service-accounts": dict.fromkeys(("POST", "PATCH", "DELETE"), "keys:manage") | {"GET": "keys:read"},
    "members": dict.fromkeys(("PATCH", "DELETE"), "members:manage") | {"GET": "members:read"},
    "invitations": dict.fromkeys(("POST", "DELETE"), "members:manage") | {"GET": "members:read"},
}
OTHERWISE = {
    "connectors/test": "connections:test",
    "connectors/tests/<test_id>/cancel": "connections:test",
    "connectors/<connection_id>/test": "connections:test",
    "connectors/<connection_id>/staged/test": "connections:test",
    "connectors/<connection_id>/pause": "connections:pause",
    "connectors/<connection_id>/resume": "connections:pause",
    "exports/preview": "exports:submit",
    "exports/<export_id>/approve": "exports:approve",
}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def routes():
    return [re.sub(r"<\w+:", "<", str(pattern.pattern)) for pattern in urlpatterns]


def operations():
    """Return (method, route) of everything the URL table offers."""
    return [
        (method, route)
        for pattern, route in zip(urlpatterns, routes(), strict=True)
        for method in METHODS
        if method in pattern.callback.cls().allowed_methods
    ]


def filled(route, ids):
    return re.sub(r"<(\w+)>", lambda match: str(ids[match[1]]), route)


def needed(method, route):
    """Return the scope that a call needs."""
    if (method, route) == ("POST", "exports"):
        return "exports:submit"
    return OTHERWISE.get(route, BY_RESOURCE[route.partition("/")[0]][method])


def nothing():
    """Return an id for each place in a route, of which there is no row."""
    return defaultdict(uuid4, connector_type="MOCK")


def test_the_url_table_is_the_contract():
    assert set(operations()) == set(CONTRACT)


def test_a_key_with_scopes_may_what_they_say_and_no_more(acme, caller):
    with_only = {scope: caller(acme, scopes=[scope]) for scope in Scope}
    with_all_but = {scope: caller(acme, scopes=[each for each in Scope if each != scope]) for scope in Scope}
    for method, route in operations():
        scope, path = needed(method, route), filled(route, nothing())
        with undone():
            assert with_only[scope or Scope.AUDIT_READ](method, path).status_code not in (401, 403), (method, route)

        if scope:
            hint = problem(with_all_but[scope](method, path), 403, "FORBIDDEN")["hint"]
            assert hint == f"It needs the scope {scope}.", (method, route)


@pytest.fixture
def ids(acme, api, mock):
    webhook = api.post("webhooks", {"name": "shop", "url": "https://169.254.169.254/hook"}).json()  # nothing goes there
    export = api.submit(sample_orders.minimal().as_json()).json()
    api.post(f"connectors/{mock['id']}/test")
    test = api.get(f"connectors/{mock['id']}/tests").json()["results"][0]
    answer = an_acknowledgement(ERPConnection.objects.get())
    return {
        "connector_type": "MOCK",
        "connection_id": mock["id"],
        "export_id": export["id"],
        "test_id": test["id"],
        "acknowledgement_id": str(answer.pk),
        "webhook_id": webhook["id"],
        "delivery_id": api.get(f"webhooks/{webhook['id']}/deliveries").json()["results"][0]["id"],
        "key_id": api.post("api-keys", {"name": "till", "role": "VIEWER"}).json()["id"],
        "account_id": api.post("service-accounts", {"name": "shop", "role": "OPS"}).json()["id"],
        "member_id": str(Membership.objects.create(user=User.objects.create_user("ada"), org=acme, role="OPS").pk),
        "invitation_id": str(an_invitation(acme).pk),
    }


@pytest.mark.parametrize(("method", "route"), sorted(CONTRACT))
def test_a_role_may_what_the_contract_says(acme, caller, ids, method, route):
    for role in Role:
        with undone():
            answer = caller(acme, role)(method, filled(route, ids))

        if role in CONTRACT[method, route]:
            assert answer.status_code not in (401, 403, 405), role
        else:
            hint = problem(answer, 403, "FORBIDDEN")["hint"]
            assert set(hint.removeprefix("It is for: ").rstrip(".").split(", ")) == CONTRACT[method, route], role


@contextmanager
def undone():
    """Let nothing be left of what the body changed."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_nobody_gets_in_without_a_key(db):
    for method, route in sorted(CONTRACT):
        answer = Caller()(method, filled(route, nothing()))

        problem(answer, 401, "AUTH_REQUIRED")
        assert answer["WWW-Authenticate"] == "Bearer", (method, route)


@pytest.mark.parametrize("route", routes())
def test_any_other_method_is_405(api, route):
    offered = {method for method, each in CONTRACT if each == route}
    for method in set(METHODS) - offered:
        answer = api(method, filled(route, nothing()))

        problem(answer, 405, "METHOD_NOT_ALLOWED")
        assert set(answer["Allow"].split(", ")) - {"HEAD"} == offered, method


@pytest.mark.parametrize(("method", "route"), [each for each in sorted(CONTRACT) if "_id>" in each[1]])
def test_what_belongs_to_another_organisation_is_404(stranger, api, mock, ids, method, route):
    before = ERPConnection.objects.values().get(), ERPExport.objects.values().get(), things_done().count()

    theirs = problem(stranger(method, filled(route, ids)), 404, "NOT_FOUND")
    missing = problem(stranger(method, filled(route, nothing())), 404, "NOT_FOUND")

    del theirs["request_id"], missing["request_id"]
    assert theirs == missing
    after = ERPConnection.objects.values().get(), ERPExport.objects.values().get(), things_done().count()
    assert before == after


@pytest.mark.parametrize("route", [route for method, route in sorted(CONTRACT) if method == "GET" and "<" not in route])
def test_lists_end_at_the_organisation(stranger, ids, route):
    answer = stranger.get(route)
    content = (b"".join(answer) if answer.streaming else answer.content).decode()

    assert ids["connection_id"] not in content
    assert ids["export_id"] not in content
    assert "acme" not in content


def test_another_organisations_order_and_key_do_not_matter(stranger, ids):
    stranger.post("connectors", {"connector_type": "MOCK", "config": {}})

    assert stranger.submit(sample_orders.minimal().as_json()).status_code == 202


def test_a_misspelt_parameter_is_refused(api, ids):
    for method, route in sorted(CONTRACT):
        answer = api(method, f"{filled(route, ids)}?stauts=SENT")

        content = problem(answer, 422, "VALIDATION_ERROR")
        assert [fault["path"] for fault in content["errors"]] == ["stauts"], (method, route)


@pytest.mark.parametrize("path", ["me", "connectors", "exports?limit=0"])
def test_answers_stay_out_of_caches(api, path):
    assert api.get(path)["Cache-Control"] == "no-store"
