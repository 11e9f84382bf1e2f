"""A 500-line order validated and rendered, against its limit and against a bare json.dumps of the same document.

Run from the root: python -m bench.render
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from uuid import UUID

from bench.measure import Report, medians
from connectors.formats import orderflow_json_v1
from connectors.order import Order
from connectors.testing.sample_orders import large_input

LINES = 500
LIMIT_S = 0.025


def main() -> int:
    order_input = large_input(LINES)

    def validate_and_render() -> bytes:
        return orderflow_json_v1.render(
            Order.parse(order_input), org_slug="acme", export_id=UUID(int=1), created_at=datetime.now(UTC)
        ).content

    floats = json.loads(validate_and_render())

    def dump_floats() -> bytes:
        return json.dumps(floats, ensure_ascii=False, separators=(",", ":")).encode()

    seconds, floor = medians(validate_and_render, dump_floats, rounds=50)
    report = Report()
    report.under(f"render {LINES} lines", seconds, limit=LIMIT_S)
    print(f"{'':<24} {seconds / floor:.0f}x of json.dumps, which checks nothing and rounds ({floor * 1000:.2f} ms)")
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
