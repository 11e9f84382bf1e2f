"""Row-level security: what a query without any filter finds is what its scope says."""

import contextvars
import threading

import pytest
from django.apps import apps
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import ProgrammingError, connection, transaction

from tenants import scope
from tenants.actors import Actor
from tenants.models import ApiKey, AuditEvent, Organization, record
from tenants.postgresql.base import role_of

MODELS = [model for model in apps.get_models() if "org" in {field.name for field in model._meta.concrete_fields}]


@pytest.fixture
def orgs(db):
    """Two organisations with a key and an event each."""
    orgs = [Organization.objects.create(slug=slug, name=slug) for slug in ("acme", "globex")]
    for org in orgs:
        ApiKey.objects.issue(org=org, role="ADMIN", name=org.slug)
        record(Actor.system("test"), "organization.created", org=org)
    record(Actor.system("test"), "installation.armed", org=None)
    return orgs


def names():
    return {org.slug for org in Organization.objects.all()}, {key.name for key in ApiKey.objects.all()}


def test_a_query_without_filter_finds_what_is_in_scope(orgs):
    acme, globex = orgs
    with scope.only(acme.pk):
        assert names() == ({"acme"}, {"acme"})
        assert [event.org for event in AuditEvent.objects.all()] == [acme]
    with scope.only(acme.pk, globex.pk):
        assert names() == ({"acme", "globex"}, {"acme", "globex"})
    with scope.only():
        assert names() == (set(), set())
    with scope.everything():
        assert AuditEvent.objects.filter(org=None).exists()


@pytest.mark.parametrize("wanted", [scope.NOTHING, "00000000-0000-0000-0000-000000000000"])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.db_table)
def test_every_table_with_an_organisation_is_closed(orgs, model, wanted):
    with scope.as_owner(), connection.cursor() as cursor:
        cursor.execute("SELECT relrowsecurity FROM pg_class WHERE oid = %s::regclass", [model._meta.db_table])
        assert cursor.fetchone() == (True,)
    with scope.within(wanted):
        assert not model._base_manager.exists()


def test_what_is_out_of_scope_can_be_neither_changed_nor_written(orgs):
    acme, globex = orgs
    with scope.only(acme.pk):
        assert ApiKey.objects.update(name="renamed") == 1
        assert Organization.objects.filter(pk=globex.pk).update(name="renamed") == 0
        assert ApiKey.objects.filter(org=globex).delete()[0] == 0
        for write in (
            lambda: ApiKey.objects.issue(org=globex, role="ADMIN", name="intruder"),
            lambda: ApiKey.objects.update(org=globex),
            lambda: Organization.objects.create(slug="third", name="third"),
        ):
            with pytest.raises(ProgrammingError, match="row-level security"), transaction.atomic():
                write()
    assert set(ApiKey.objects.values_list("name", flat=True)) == {"renamed", "globex"}


def test_a_rollback_takes_no_scope_back(orgs):
    acme, globex = orgs
    with scope.only(acme.pk):
        assert names()[0] == {"acme"}
        with transaction.atomic():
            with scope.only(globex.pk):
                assert names()[0] == {"globex"}
            transaction.set_rollback(True)
        assert names()[0] == {"acme"}
    with pytest.raises(ProgrammingError), transaction.atomic(), scope.only(globex.pk), connection.cursor() as cursor:
        cursor.execute("SELECT nothing")  # the scope changes back while the transaction takes no statement
    assert names()[0] == {"acme", "globex"}


@pytest.mark.django_db(transaction=True)
def test_a_connection_from_the_pool_forgets_whom_it_served():
    acme = Organization.objects.create(slug="acme", name="acme")
    with scope.only(acme.pk):
        assert names()[0] == {"acme"}
        connection.close()
    with scope.within(scope.NOTHING):
        assert names()[0] == set()
        connection.close()
    with scope.only(acme.pk), transaction.atomic():
        assert names()[0] == {"acme"}
        transaction.set_rollback(True)
    with scope.within(scope.NOTHING):
        assert names()[0] == set()


def test_a_thread_begins_with_nothing(orgs):
    seen = []
    for run in (lambda look: look(), contextvars.copy_context().run):
        thread = threading.Thread(target=run, args=(lambda: seen.append(scope.current()),))
        thread.start()
        thread.join()
    assert seen == [scope.NOTHING, scope.EVERYTHING]


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE api_key DISABLE ROW LEVEL SECURITY",
        "DROP POLICY organizations_in_scope ON api_key",
        "TRUNCATE membership",
        "DELETE FROM django_migrations",
        "CREATE TABLE loot (id int)",
        "SET session_replication_role = replica",
        "COPY api_key TO PROGRAM 'cat'",
    ],
)
def test_the_application_owns_nothing(db, statement):
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == (role_of(connection.settings_dict["NAME"]),)
        with pytest.raises(ProgrammingError), transaction.atomic():
            cursor.execute(statement)


@pytest.mark.parametrize(
    "mistake",
    [
        "ALTER TABLE membership DISABLE ROW LEVEL SECURITY",
        "DROP POLICY organizations_in_scope ON membership",
        "CREATE POLICY another ON membership USING (true)",
        "ALTER POLICY organizations_in_scope ON membership USING (true)",
        "CREATE TABLE new_table (id int, org_id uuid)",
    ],
)
def test_check_names_the_table_that_is_open(db, mistake):
    call_command("check")
    with scope.as_owner(), connection.cursor() as cursor:
        cursor.execute(mistake)
    table = "new_table" if "new_table" in mistake else "membership"
    with pytest.raises(SystemCheckError, match=rf"(?s)tenants.E001.*The table {table} "):
        call_command("check")


def test_the_role_of_a_database_with_a_long_name():
    assert role_of("erpconnector") == "erpconnector_app"
    assert len(role_of("ü" * 40).encode()) <= 63
