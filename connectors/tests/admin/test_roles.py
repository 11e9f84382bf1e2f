"""Who may open and do what: every page and verb, for every role, in one's own organisation and in another's."""

from __future__ import annotations

from http import HTTPStatus
from uuid import uuid4

import pytest
from django.contrib import admin
from django.db import transaction
from django.test import Client
from django.urls import reverse

from connectors.models import AcknowledgementRecord, ConnectionTest, EncryptionKey, ERPConnection, ERPExport, Webhook
from connectors.services import diagnosis, exports, webhooks
from connectors.testing import sample_orders
from connectors.tests.admin.pages import at
from connectors.tests.rows import an_acknowledgement, an_invitation, things_done
from tenants.models import ApiKey, AuditEvent, Invitation, Membership, Organization, Role, ServiceAccount

OK, REDIRECT, FORBIDDEN, NOT_FOUND = 200, 302, 403, 404

CONFIGURE = (Role.ADMIN, Role.INTEGRATOR)
OPERATE = (*CONFIGURE, Role.OPS)
OURS = (
    Organization,
    ApiKey,
    ServiceAccount,
    Invitation,
    AuditEvent,
    ERPConnection,
    ConnectionTest,
    ERPExport,
    AcknowledgementRecord,
    Webhook,
)


def rows_of(org, actor):
    """Return one row of each kind that belongs to `org`."""
    connection = ERPConnection.objects.of(org).first()
    test = diagnosis.test(connection, actor)
    export, _ = exports.submit(org, actor, sample_orders.minimal(), idempotency_key="k")
    webhook, _ = webhooks.create(org, actor, name=f"Shop of {org.slug}", url="https://169.254.169.254/hook")
    key, _ = ApiKey.objects.issue(org=org, role=Role.VIEWER, name="key")
    return {
        "organization": org,
        "apikey": key,
        "serviceaccount": ServiceAccount.objects.create(org=org, name="program", role=Role.OPS),
        "invitation": an_invitation(org),
        "auditevent": AuditEvent.objects.of(org).first(),
        "erpconnection": connection,
        "connectiontest": test,
        "erpexport": export,
        "webhook": webhook,
        "acknowledgementrecord": an_acknowledgement(connection),
    }


@pytest.fixture
def own(acme, mock, actor):
    return rows_of(acme, actor)


@pytest.fixture
def others(globex, foreign, actor):
    return rows_of(globex, actor)


PAGES = [
    ("organization", "change", tuple(Role)),
    ("apikey", "change", (Role.ADMIN,)),
    ("serviceaccount", "change", (Role.ADMIN,)),
    ("invitation", "change", (Role.ADMIN,)),
    ("auditevent", "change", CONFIGURE),
    ("erpconnection", "change", CONFIGURE),
    ("erpconnection", "delete", CONFIGURE),
    ("connectiontest", "change", CONFIGURE),
    ("erpexport", "change", tuple(Role)),
    ("erpexport", "document", tuple(Role)),
    ("webhook", "change", CONFIGURE),
    ("acknowledgementrecord", "change", tuple(Role)),
]
VERBS = [
    ("apikey", "revoke", (Role.ADMIN,)),
    ("apikey", "rotate", (Role.ADMIN,)),
    ("erpconnection", "test", CONFIGURE),
    ("erpconnection", "activate", CONFIGURE),
    ("erpconnection", "disable", CONFIGURE),
    ("erpconnection", "pause", CONFIGURE),
    ("erpconnection", "resume", CONFIGURE),
    ("erpconnection", "delivery", CONFIGURE),
    ("erpconnection", "pin-host-key", CONFIGURE),
    ("erpconnection", "accept-identity", CONFIGURE),
    ("erpconnection", "revert", CONFIGURE),
    ("erpconnection", "stage", CONFIGURE),
    ("erpconnection", "test-staged", CONFIGURE),
    ("erpconnection", "promote", CONFIGURE),
    ("erpconnection", "discard", CONFIGURE),
    ("connectiontest", "cancel", CONFIGURE),
    ("erpconnection", "delete", CONFIGURE),
    ("erpexport", "retry", OPERATE),
    ("erpexport", "resend", OPERATE),
    ("erpexport", "dismiss", OPERATE),
    ("erpexport", "approve", (Role.ADMIN, Role.OPS)),
    ("erpexport", "cancel", OPERATE),
    *(("webhook", verb, CONFIGURE) for verb in ("test", "enable", "disable", "rotate-secret", "remove")),
    ("acknowledgementrecord", "resolve", OPERATE),
]


@pytest.mark.parametrize("role", Role)
class TestOwnOrganization:
    def test_a_page_opens_for_its_roles_only(self, person, sign_in, acme, own, role):
        client = sign_in(person(acme, role))
        for model, page, allowed in PAGES:
            answer = client.get(at(model, page, own[model].pk))

            # A row that the role may not see at all does not exist for it.
            expected = (OK,) if role in allowed else (FORBIDDEN, NOT_FOUND)
            assert answer.status_code in expected, (model, page)

    def test_a_verb_obeys_its_roles_only(self, person, sign_in, acme, own, role):
        client, before = sign_in(person(acme, role)), things_done().count()
        for model, verb, allowed in VERBS:
            with transaction.atomic():
                answer = client.post(at(model, verb, own[model].pk))
                after = things_done().count()
                transaction.set_rollback(True)  # for the next one

            if role in allowed:
                assert answer.status_code in (OK, REDIRECT), (model, verb)
            else:
                assert answer.status_code in (FORBIDDEN, NOT_FOUND), (model, verb)
                assert after == before, (model, verb)

    def test_a_list_shows_own_rows_only(self, person, sign_in, acme, own, others, role):
        client = sign_in(person(acme, role))
        for name in (model._meta.model_name for model in OURS):
            allowed = next(roles for page_model, _, roles in PAGES if page_model == name)

            answer = client.get(at(name, "changelist"))

            if role not in allowed:
                assert answer.status_code == FORBIDDEN, name
                continue
            shown = {row.pk for row in answer.context["cl"].result_list}
            assert own[name].pk in shown, name
            assert others[name].pk not in shown, name
            assert b"globex" not in answer.content.lower(), name


@pytest.mark.parametrize("role", Role)
class TestAnotherOrganization:
    def test_its_rows_do_not_exist(self, person, sign_in, acme, own, others, role):
        client = sign_in(person(acme, role))
        for model, page, _ in PAGES:
            answer = client.get(at(model, page, others[model].pk))

            # Who may see no row of this kind at all is refused before anybody looks whether there is one.
            assert answer.status_code == client.get(at(model, page, "nothing")).status_code, (model, page)
            assert answer.status_code in (FORBIDDEN, NOT_FOUND), (model, page)
            if client.get(at(model, page, own[model].pk)).status_code == OK:
                assert answer.status_code == NOT_FOUND, (model, page)

    def test_nothing_can_be_done_to_it(self, person, sign_in, acme, others, role):
        client, before = sign_in(person(acme, role)), things_done().count()
        for model, verb, _ in VERBS:
            answer = client.post(at(model, verb, others[model].pk), {"confirmed": "yes"})

            missing = client.post(at(model, verb, uuid4()), {"confirmed": "yes"})
            assert answer.status_code == missing.status_code, (model, verb)
            assert answer.status_code in (FORBIDDEN, NOT_FOUND), (model, verb)
            assert things_done().count() == before, (model, verb)


class TestForgedRequests:
    """Ids in a POST are only wishes."""

    @pytest.mark.parametrize(
        ("model", "action"),
        [
            ("erpconnection", "test_selected"),
            ("erpexport", "retry_selected"),
            ("erpexport", "cancel_selected"),
            ("apikey", "revoke_selected"),
            ("acknowledgementrecord", "resolve_selected"),
        ],
    )
    def test_a_bulk_action_leaves_foreign_rows_alone(self, person, sign_in, acme, own, others, model, action):
        before = things_done().count()

        sign_in(person(acme, Role.ADMIN)).post(
            at(model, "changelist"), {"action": action, "_selected_action": others[model].pk, "confirmed": "yes"}
        )

        assert things_done().count() == before

    def test_a_role_counts_only_where_it_is_held(self, person, sign_in, acme, globex, own, others):
        """A viewer of acme who administers globex cancels there and not here."""
        user = person(acme, Role.VIEWER)
        Membership.objects.create(user=user, org=globex, role=Role.ADMIN)
        selected = [own["erpexport"].pk, others["erpexport"].pk]

        sign_in(user).post(
            at("erpexport", "changelist"),
            {"action": "cancel_selected", "_selected_action": selected, "confirmed": "yes"},
        )

        assert ERPExport.objects.get(pk=selected[0]).status == "PENDING"
        assert ERPExport.objects.get(pk=selected[1]).status == "CANCELLED"

    def test_a_connection_is_not_added_to_another_organization(self, integrator, globex):
        address = f"{at('erpconnection', 'add')}?org={globex.pk}&connector_type=MOCK"

        assert integrator.get(address).status_code == NOT_FOUND
        answer = integrator.post(address, {"name": "x", "status": "ACTIVE", "config-acknowledgement": "none"})

        assert answer.status_code == NOT_FOUND
        assert not ERPConnection.objects.exists()

    def test_a_key_is_not_issued_for_another_organization(self, person, sign_in, acme, globex):
        answer = sign_in(person(acme, Role.ADMIN)).post(
            at("apikey", "add"), {"org": globex.pk, "name": "mine", "role": Role.ADMIN}
        )

        assert answer.context["errors"]
        assert not ApiKey.objects.exists()

    def test_a_member_of_another_organization_is_not_changed(self, person, sign_in, acme, globex):
        foreign = Membership.objects.create(user=person(), org=globex, role=Role.VIEWER)
        form = {
            "name": acme.name,
            "memberships-TOTAL_FORMS": 1,
            "memberships-INITIAL_FORMS": 1,
            "memberships-0-id": foreign.pk,
            "memberships-0-org": globex.pk,
            "memberships-0-role": Role.ADMIN,
        }

        sign_in(person(acme, Role.ADMIN)).post(at("organization", "change", acme.pk), form)

        foreign.refresh_from_db()
        assert (foreign.org, foreign.role) == (globex, Role.VIEWER)


@pytest.mark.parametrize(
    ("model", "verb"), [verb[:2] for verb in VERBS if verb[1] != "delete"], ids=lambda value: str(value)
)
def test_a_verb_does_not_answer_a_get(superuser, own, model, verb):
    assert superuser.get(at(model, verb, own[model].pk)).status_code == HTTPStatus.METHOD_NOT_ALLOWED


def test_a_post_without_a_csrf_token_is_refused(person, acme, mock):
    client = Client(enforce_csrf_checks=True)
    client.force_login(person(acme, Role.ADMIN))

    assert client.post(at("erpconnection", "test", mock.pk)).status_code == FORBIDDEN
    assert not ConnectionTest.objects.exists()


def test_staff_without_a_membership_sees_nothing_of_ours(person, sign_in, own):
    client = sign_in(person())

    for model in OURS:
        assert client.get(at(model._meta.model_name, "changelist")).status_code == FORBIDDEN


def test_whoever_is_no_staff_is_sent_to_the_login(person, sign_in, acme, mock):
    user = person(acme, Role.ADMIN)
    user.is_staff = False
    user.save()

    answer = sign_in(user).post(at("erpconnection", "test", mock.pk))

    assert answer.url.startswith(reverse("admin:login"))
    assert not ConnectionTest.objects.exists()


def test_only_a_superuser_sees_master_keys(person, sign_in, superuser, acme):
    EncryptionKey.objects.create(key_id="ab" * 32, state="ACTIVE")

    assert superuser.get(at("encryptionkey", "changelist")).status_code == OK
    answer = sign_in(person(acme, Role.ADMIN)).get(at("encryptionkey", "changelist"))
    assert answer.status_code == FORBIDDEN


class TestEveryPage:
    """Whatever is registered opens, with rows in it."""

    @pytest.fixture(autouse=True)
    def _rows(self, own):
        EncryptionKey.objects.create(key_id="ab" * 32, state="ACTIVE")

    def test_the_overview_and_the_apps_open(self, superuser):
        assert superuser.get(reverse("admin:index")).status_code == OK
        for label in ("connectors", "tenants"):
            assert superuser.get(reverse("admin:app_list", args=[label])).status_code == OK

    @pytest.mark.parametrize("model", admin.site._registry, ids=lambda model: model._meta.label)
    def test_list_add_change_and_history(self, superuser, model):
        prefix = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        add = superuser.get(reverse(f"{prefix}_add"))

        assert superuser.get(reverse(f"{prefix}_changelist")).status_code == OK
        assert add.status_code in (OK, FORBIDDEN)
        for row in model._default_manager.all()[:1]:
            assert superuser.get(reverse(f"{prefix}_change", args=[row.pk])).status_code == OK
            assert superuser.get(reverse(f"{prefix}_history", args=[row.pk])).status_code in (OK, REDIRECT)

    @pytest.mark.parametrize(
        "model", ["auditevent", "connectiontest", "erpexport", "acknowledgementrecord", "encryptionkey"]
    )
    def test_history_is_not_written_by_hand(self, superuser, own, model):
        row = own.get(model) or EncryptionKey.objects.get()

        assert superuser.get(at(model, "add")).status_code == FORBIDDEN
        assert superuser.post(at(model, "delete", row.pk), {"post": "yes"}).status_code == FORBIDDEN
        assert superuser.post(at(model, "change", row.pk), {"org": ""}).status_code in (OK, FORBIDDEN)
