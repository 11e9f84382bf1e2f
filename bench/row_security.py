"""What row-level security adds to a page of fifty connections, as seen by the caller: PostgreSQL's work included.

The floor is the same call as the account that owns the tables, which no policy binds. The scope is told with the
statement that finds the key, so there is no statement more. A second organisation has as many rows.

Run from the root: python -m bench.row_security
"""

from __future__ import annotations

import sys
from unittest.mock import patch

from bench.in_process import Caller, application
from bench.list import connections_of
from bench.measure import Report, medians


def main() -> int:
    """Print the ratio; return 1 when the target is missed."""
    with application():
        from tenants.models import ApiKey, Organization, Role
        from tenants.postgresql import base

        orgs = [Organization.objects.create(slug=slug, name=slug) for slug in ("acme", "globex")]
        for org in orgs:
            connections_of(org)
        _, token = ApiKey.objects.issue(org=orgs[0], role=Role.INTEGRATOR, name="bench")
        call = Caller(f"Bearer {token}")

        def guarded() -> None:
            call("GET", "/api/v1/connectors")

        def unguarded() -> None:
            with patch.object(base, "role_of", lambda _: "none"):
                call("GET", "/api/v1/connectors")

        seconds, floor = medians(guarded, unguarded, rounds=300)
    report = Report()
    report.at_most("list 50, row-level security", seconds, floor=floor, floor_name="without", times=1.05)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
