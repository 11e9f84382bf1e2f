"""No secret comes out anywhere: a distinct one is planted in every secret leaf of every connector, and then looked for.

Looked for in every answer of the API, every page of the admin with DEBUG on and off, every log line, every command, the
whole database as text, every file, and in whatever Python itself can print or pickle.
"""

import copy
import io
import json
import logging.config
import pickle

import pytest
from django.conf import settings as django_settings
from django.contrib import admin
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.db import transaction
from django.urls import NoReverseMatch, reverse

from connectors.adapters.mock import MockConnector
from connectors.config import Secret
from connectors.exceptions import ConfigurationError
from connectors.models import ConnectionRevision, ConnectionTest, ERPConnection, ERPExport
from connectors.registry import registry
from connectors.services import (
    checks,
    configurations,
    connections,
    delivery,
    diagnosis,
    exports,
    jobs,
    revisions,
    webhooks,
)
from connectors.services.contexts import make_context
from connectors.testing import sample_orders
from connectors.tests.admin.pages import at
from connectors.tests.rows import an_acknowledgement
from connectors.tests.security.samples import SAMPLES, THOROUGH
from erpconfig import logging as project_logging
from tenants.models import AuditEvent

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:Warning. bcrypt.kdf")]  # a throw-away key


@pytest.fixture(autouse=True)
def _environment(settings, tmp_path):
    cache.clear()
    settings.DROPZONE_ROOT = str(tmp_path)


@pytest.fixture(params=THOROUGH, ids=str)
def planted(request, canaries, home):
    """A connector type and a configuration of it with a canary in each secret leaf."""
    return request.param.connector_type, request.param.config(canaries, home)


class Ear:
    """Listens to everything that comes out, and complains of the first leak."""

    def __init__(self, canaries):
        self._canaries = canaries
        self.heard = 0

    def hear(self, what, where):
        leaks = self._canaries.leaks(what)
        assert not leaks, f"{where}: {leaks}\n{self._canaries.where(what)}"
        self.heard += 1

    def answer(self, answer, where):
        content = b"".join(answer.streaming_content) if answer.streaming else answer.content
        self.hear(content, where)
        self.hear(str(dict(answer.headers)), f"headers of {where}")
        return answer


@pytest.fixture
def ear(canaries):
    return Ear(canaries)


@pytest.fixture(params=["json", "console"])
def logs(request, capfd):
    """Everything is logged, down to DEBUG, in one of our two formats."""
    logging.config.dictConfig(project_logging.config(level="DEBUG", renderer=request.param))
    yield capfd
    logging.config.dictConfig(django_settings.LOGGING)


def explode(config):
    """Raise an error with everything in it that an adapter could let slip."""
    revealed = config.reveal()
    try:
        raise KeyError(json.dumps(revealed))
    except KeyError as error:
        raise RuntimeError(f"could not log in with {revealed}", revealed) from error


def database_as_text():
    with database.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT t::text FROM "{table}" t')  # noqa: S608  # a name of our own
            yield table, "\n".join(row for (row,) in cursor.fetchall())


def test_nothing_comes_out_of_the_api(api, acme, planted, canaries, ear, logs, monkeypatch):
    connector_type, config = planted
    secrets = {name: config[name] for name in registry.get(connector_type).Config.secret_fields() if name in config}
    body = {"connector_type": connector_type, "config": config}

    def post(path, content=None, **headers):
        return ear.answer(api.post(path, content, **headers), f"POST {path}")

    post("connectors", body | {"status": "SIDEWAYS"})
    post("connectors", body | {"config": config | {"no_such_field": 1}})
    post("connectors", body | {"config": config | {name: value * 300 for name, value in secrets.items()}})
    post("connectors", body | {"config": config | {name: [value] for name, value in secrets.items()}})
    post("connectors", body | {"connector_type": "NONE"})
    ear.answer(api.post("connectors", raw=json.dumps(body)[:-1]), "broken JSON")
    post("connectors/test", body)
    post("connectors/test", body, Accept="text/event-stream")
    created = post("connectors", body | {"test_on_save": True}).json()
    post("connectors", body)  # a second active one
    url = f"connectors/{created['id']}"
    for edit in ({"timeout_s": 2}, {"latency_ms": 1}, {"account": "x"}, {"host": "127.0.0.2"}, secrets, {"port": 1}):
        ear.answer(api.patch(url, {"config": edit}), f"PATCH {sorted(edit)}")
        post(f"{url}/test", {"config": edit})
    post(f"{url}/test", Accept="text/event-stream")
    post(f"{url}/test", Prefer="respond-async")
    post(f"{url}/staged", {"config": secrets})
    post(f"{url}/staged/test")
    post(f"{url}/staged/promote", {"reason": "because"})
    post(f"{url}/revert", {"revision": 1})
    post(f"{url}/identity")
    post(f"{url}/host-key", {"fingerprint": "SHA256:" + "A" * 43})
    post(f"{url}/activate", {"replace": True, "reason": "because"})
    ear.answer(api.submit(sample_orders.minimal().as_json()), "export")
    delivery.drain(created["id"])
    connector = registry.get(connector_type)
    for verb in ("test_connection", "export", "render", "open_session", "find_export"):
        monkeypatch.setattr(type(connector), verb, lambda self, *args: explode(args[-2]))
    post(f"{url}/test")
    post("exports/preview", {"order": sample_orders.minimal().as_json()})
    ERPConnection.objects.update(health="HEALTHY", retry_at=None)
    ERPExport.objects.update(next_attempt_at=None)
    delivery.drain(created["id"])
    ERPConnection.objects.update(config_encrypted=ERPConnection.objects.get().config_encrypted[:-1] + b"x")
    post(f"{url}/test")
    for path in (
        "me", "connectors", url, f"{url}/tests", f"{url}/revisions", f"{url}/monitoring", f"{url}/staged",
        f"{url}/delivery", f"exports/{ERPExport.objects.get().pk}/timeline",
        "connector-types", "exports", f"exports/{ERPExport.objects.get().pk}",
        f"exports/{ERPExport.objects.get().pk}/attempts", f"exports/{ERPExport.objects.get().pk}/document",
        "acknowledgements", "audit-events", "schema", "/metrics", "/readyz",
    ):  # fmt: skip
        ear.answer(api.get(path), path)
    for table, rows in database_as_text():
        ear.hear(rows, f"table {table}")
    out, err = logs.readouterr()
    assert "connection.tested" in err
    ear.hear(out + err, "the log")
    assert ear.heard > 100


@pytest.mark.parametrize("debug", [False, True])
def test_nothing_comes_out_of_the_admin(superuser, acme, actor, planted, ear, settings, debug, logs, monkeypatch):
    settings.DEBUG = debug
    superuser.raise_request_exception = False
    connector_type, config = planted
    connection = connections.create(acme, actor, connector_type=connector_type, config=config)
    secrets = {name: config[name] for name in registry.get(connector_type).Config.secret_fields() if name in config}
    change, add = at("erpconnection", "change", connection.pk), at("erpconnection", "add")

    def get(address):
        return ear.answer(superuser.get(address), address)

    def post(address, form=None):
        return ear.answer(superuser.post(address, form or {}, follow=True), address)

    form = {f"config-{name}": value for name, value in config.items()}
    chosen = f"{add}?org={acme.pk}&connector_type={connector_type}"
    get(chosen)
    post(chosen, form | {"name": "x" * 200, "status": "DISABLED"})
    post(chosen, form | {"name": "second", "status": "ACTIVE"})
    post(change, form | {"name": "changed", "revision": "1", "config-timeout_s": "0", "config-latency_ms": "-1"})
    post(change, form | {"name": "changed", "revision": "77"})
    for verb in ("test", "activate", "disable", "delete"):
        post(at("erpconnection", verb, connection.pk))
    revisions.stage(connection, actor, secrets)
    for address in (change, at("erpconnection", "changelist"), at("erpconnection", "history", connection.pk)):
        get(address)
    get(at("connectiontest", "change", ConnectionTest.objects.first().pk))
    get(at("auditevent", "changelist"))
    get("/admin/")
    # Django's own debug page shows the locals of every frame.
    monkeypatch.setattr(configurations, "describe", lambda row: explode(configurations.load(row)[1]))
    broken = get(change)
    assert broken.status_code == 500
    out, err = logs.readouterr()
    ear.hear(out + err, "the log")


def admin_addresses(rows):
    """Yield every address of the admin; what names a row is given one of `rows`, by model."""
    for pattern in admin.site.get_urls():
        for page in getattr(pattern, "url_patterns", [pattern]):
            if page.name is None:
                continue
            model = page.name.split("_")[1] if "_" in page.name else ""
            names = page.pattern.converters or page.pattern.regex.groupindex
            try:
                yield reverse(f"admin:{page.name}", args=[rows.get(model, 1)] if "object_id" in names else [])
            except NoReverseMatch:
                continue


@pytest.mark.slow
@pytest.mark.parametrize("planted", [SAMPLES[-1]], ids=str, indirect=True)  # the last one has a secret of each kind
def test_nothing_comes_out_of_any_page(superuser, acme, actor, planted, ear, settings, capfd):
    settings.DEBUG = True  # whose error pages say the most
    superuser.raise_request_exception = False
    connector_type, config = planted
    secrets = {name: config[name] for name in registry.get(connector_type).Config.secret_fields() if name in config}
    connection = connections.create(acme, actor, connector_type=connector_type, config=config)
    revisions.stage(connection, actor, secrets)
    tried = diagnosis.start(connection, actor, patch=secrets)
    webhook, _ = webhooks.create(acme, actor, name="shop", url="https://169.254.169.254/hook")
    export, _ = exports.submit(acme, actor, sample_orders.minimal(), idempotency_key="k")
    rows = {
        "erpconnection": connection.pk,
        "connectiontest": tried.pk,
        "erpexport": export.pk,
        "webhook": webhook.pk,
        "acknowledgementrecord": an_acknowledgement(connection, export=export, outcome="CONTRADICTS").pk,
        "organization": acme.pk,
        "auditevent": AuditEvent.objects.first().pk,
    }
    form = {f"config-{name}": value for name, value in config.items()}
    addresses = sorted(set(admin_addresses(rows)) - {reverse("admin:logout")})
    assert at("erpconnection", "promote", connection.pk) in addresses
    for address in addresses:
        for accept in ("text/html", "text/event-stream"):
            ear.answer(superuser.get(address, headers={"Accept": accept}), f"GET {address}")
        for extra in ({"_try": "yes"}, {"_save_and_test": "yes", "confirmed": "yes", "reason": "because"}):
            with transaction.atomic():  # what a page does must not be in the way of the next
                ear.answer(superuser.post(address, form | extra, follow=True), f"POST {address}")
                transaction.set_rollback(True)
    out, err = capfd.readouterr()
    ear.hear(out + err, "the log")
    assert ear.heard > 6 * len(addresses)


def test_nothing_comes_out_of_commands_and_dumps(acme, actor, planted, ear, capfd, tmp_path):
    connector_type, config = planted
    connection = connections.create(acme, actor, connector_type=connector_type, config=config)
    connections.change(connection, actor, config={"latency_ms": 1} if connector_type == "MOCK" else {"timeout_s": 2})
    diagnosis.start_new(acme, actor, connector_type=connector_type, config=config)
    order = tmp_path / "order.json"
    order.write_text(json.dumps(sample_orders.minimal().as_json()))

    def run(*command):
        out, err = io.StringIO(), io.StringIO()
        try:
            call_command(*command, stdout=out, stderr=err)
        except CommandError as error:
            ear.hear(repr(error) + str(error), f"{command}")
        except SystemExit:
            pass
        ear.hear(out.getvalue() + err.getvalue(), f"{command}")

    for command in (
        ("test_connections", "--all"), ("test_connections", "--all", "--json"), ("list_connectors", "--json"),
        ("push_order", str(order), "--org", "acme"), ("poll_acks",), ("encryption_status", "--json"),
        ("rotate_encryption_key", "--dry-run"), ("arm_installation",), ("check",),
        ("decrypt_connector_config", str(connection.pk)), ("dumpdata",), ("dumpdata", "--format", "xml"),
    ):  # fmt: skip
        run(*command)
    checks.announce_expiries()
    out, err = capfd.readouterr()
    ear.hear(out + err, "stdout and stderr")
    for table, rows in database_as_text():
        ear.hear(rows, f"table {table}")


def test_nothing_comes_out_of_python_itself(acme, actor, planted, ear):
    connector_type, config = planted
    connection = connections.create(acme, actor, connector_type=connector_type, config=config)
    secrets = {name: config[name] for name in registry.get(connector_type).Config.secret_fields() if name in config}
    revisions.stage(connection, actor, secrets)
    slot, test = ConnectionRevision.objects.get(), diagnosis.start(connection, actor)
    connector, parsed = configurations.load(connection)
    context = make_context(acme, seconds=1, connection=connection)
    for thing in (connection, slot, test, connector, parsed, context, parsed.public(), parsed.json_schema()):
        ear.hear(f"{thing!r} {thing} {getattr(thing, '__dict__', '')!r}", repr(type(thing)))
    ear.hear(f"{parsed.model_dump()} {parsed.model_dump_json()} {copy.deepcopy(parsed)!r}", "dumps")
    for row in (connection, slot, test):
        ear.hear(pickle.dumps(row), "a pickled row")
    with pytest.raises(TypeError):
        pickle.dumps(parsed)
    with pytest.raises(TypeError):
        pickle.dumps(next(value for value in dict(parsed).values() if isinstance(value, Secret)))
    try:
        registry.get(connector_type).Config.parse(config | {"no_such_field": config})
    except ConfigurationError as error:
        ear.hear(f"{error!r} {error} {error.__context__!r} {error.__cause__!r} {pickle.dumps(error)!r}", "an error")
    else:
        pytest.fail("it was accepted")


def test_the_job_of_a_test_carries_nothing(acme, actor, canaries):
    diagnosis.start_new(acme, actor, connector_type="MOCK", config={"api_key": canaries.plant("api_key")})

    with database.cursor() as cursor:
        cursor.execute("SELECT args::text FROM procrastinate_jobs WHERE task_name = %s", [jobs.TEST])
        assert cursor.fetchall() == [("{}",)]


def test_a_mock_forgets_the_secret(acme, actor, canaries, ear):
    secret = canaries.plant("api_key")
    connection = connections.create(acme, actor, connector_type="MOCK", config={"api_key": secret})
    MockConnector.reset()

    diagnosis.test(connection, actor)

    ear.hear(repr(MockConnector.received()) + repr(vars(MockConnector)), "the mock")
