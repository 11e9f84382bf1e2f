"""What a strange adapter is handed: the configuration of one connection, an order, and a context; nothing of Django."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType, MethodType, ModuleType
from typing import Any

import pytest
from django.conf import LazySettings
from django.db.models import Model
from django.http import HttpRequest

from connectors.adapters.mock import MockConnector
from connectors.codes import Code
from connectors.exceptions import TemporaryError
from connectors.models import ERPExport
from connectors.registry import registry
from connectors.services import connections, delivery, diagnosis, exports
from connectors.testing import sample_orders

handed: list[Any] = []


class Curious(MockConnector):
    connector_type = "CURIOUS"
    title = "Curious"

    def export(self, order: Any, config: Any, context: Any) -> Any:
        handed.extend((order, config, context))
        return super().export(order, config, context)

    def test_connection(self, config: Any, context: Any) -> Any:
        handed.extend((config, context))
        return super().test_connection(config, context)


@pytest.fixture(autouse=True)
def _curious() -> Iterator[None]:
    handed.clear()
    registry.register(Curious)
    yield
    registry._connectors.pop("CURIOUS")


def within(thing: Any, seen: dict[int, Any]) -> dict[int, Any]:
    """Return everything that can be reached from a thing by its attributes and members."""
    if id(thing) in seen or isinstance(thing, type | ModuleType | FunctionType | MethodType):
        return seen
    seen[id(thing)] = thing
    slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    parts = [*getattr(thing, "__dict__", {}).values(), *(getattr(thing, name, None) for name in slots)]
    if isinstance(thing, dict):
        parts += [*thing.keys(), *thing.values()]
    elif isinstance(thing, list | tuple | set | frozenset):
        parts += thing
    for part in parts:
        within(part, seen)
    return seen


def test_it_sees_one_configuration_and_nothing_of_django(acme, globex, actor):
    own = connections.create(acme, actor, connector_type="CURIOUS", config={"api_key": "s3cret-own"})
    connections.create(globex, actor, connector_type="CURIOUS", config={"api_key": "s3cret-foreign"})
    diagnosis.test(own, actor)
    exports.submit(acme, actor, sample_orders.minimal(), idempotency_key="k")
    delivery.drain(own.pk)

    assert len(handed) == 5
    assert ERPExport.objects.get().status == "SENT"
    reached = list(within(handed, {}).values())
    assert not [thing for thing in reached if isinstance(thing, Model | LazySettings | HttpRequest)]
    texts = {thing for thing in reached if isinstance(thing, str)}
    texts |= {config.api_key.get_secret_value() for config in reached if isinstance(config, MockConnector.Config)}
    assert "s3cret-own" in texts
    assert "s3cret-foreign" not in texts


def test_its_dialer_goes_where_the_installation_allows(acme, actor, settings):
    settings.EGRESS_ALLOWED_NETWORKS = []
    own = connections.create(acme, actor, connector_type="CURIOUS", config={})
    diagnosis.test(own, actor)
    context = handed[-1]

    for host in ("127.0.0.1", "169.254.169.254", "10.0.0.1"):
        with pytest.raises(TemporaryError) as error:
            context.dialer.connect(host, 443, timeout_s=1)
        assert error.value.code == Code.EGRESS_DENIED
