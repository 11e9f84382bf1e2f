"""What the requests are about: rows in every state, and a key of every role."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

from schemathesis import Case
from schemathesis.core.parameters import ParameterLocation

from connectors.models import ERPConnection
from connectors.tests.rows import a_connection, an_export
from connectors.tests.security.belongings import Belongings
from tenants.models import ApiKey, Role

_STATES = ("PENDING", "SENT", "ACKED", "REJECTED", "FAILED", "UNCONFIRMED", "CANCELLED")


@dataclass(frozen=True, kw_only=True)
class World:
    """One organisation, and who calls for it."""

    keys: dict[str, str]
    ids: dict[str, list[str]]
    """By their place in an address."""

    @classmethod
    def made(cls) -> World:
        """Make one."""
        own = Belongings.of("zqownqz")
        ids = {place: [each] for place, each in own.ids.items()}
        connection = ERPConnection.objects.get(pk=ids["connection_id"][0])
        ids["export_id"] += [str(an_export(connection, status).pk) for status in _STATES]
        ids["export_id"].append(str(an_export(connection, held=True).pk))
        failing = a_connection(own.org, status="DISABLED", name="refuses")
        failing.write_config({"account": "a", "fail_with": "AuthenticationFailed"})
        failing.save()
        unreadable = a_connection(own.org, status="DISABLED", name="unreadable", health="UNREADABLE")
        ERPConnection.objects.filter(pk=unreadable.pk).update(config_encrypted=unreadable.config_encrypted[:-1] + b"x")
        ids["connection_id"] += [str(failing.pk), str(unreadable.pk)]
        keys = {role: ApiKey.objects.issue(org=own.org, role=role, name=role)[1] for role in Role}
        return cls(keys=keys, ids=ids)

    def address(self, case: Case, number: int) -> None:
        """Put ids that exist into most of the places of a valid request."""
        if case.path_parameters and not _is_negative(case, ParameterLocation.PATH) and number % 4:
            known = {place: ids[number % len(ids)] for place, ids in self.ids.items()}
            case.path_parameters = {name: known.get(name, value) for name, value in case.path_parameters.items()}
        if case.query and not _is_negative(case, ParameterLocation.QUERY):
            # A cursor is signed, and a filter that fits is likelier to find something.
            fitting = {"connector": self.ids["connection_id"][0], "export": self.ids["export_id"][0]}
            chosen = {name: value for name, value in case.query.items() if name != "cursor"}
            case.query = {name: fitting.get(name, value) if number % 2 else value for name, value in chosen.items()}


_numbers: dict[str, int] = {}


def number_of(case: Case) -> int:
    """Return a number that is the same for the same request, also when it is repeated after `World.address`."""
    parts: tuple[Any, ...] = (case.method, case.path_parameters, case.query, dict(case.headers or {}), case.body)
    return _numbers.setdefault(case.id, zlib.crc32(repr(parts).encode("utf-8", "surrogatepass")))


def _is_negative(case: Case, location: ParameterLocation) -> bool:
    return case.meta is not None and case.meta.is_negative_at(location)
