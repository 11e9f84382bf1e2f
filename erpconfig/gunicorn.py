"""How gunicorn serves the application: `gunicorn --config python:erpconfig.gunicorn`."""

from __future__ import annotations

import os
from typing import Any

from prometheus_client import multiprocess

from erpconfig.settings import LOGGING, WEB_THREADS

wsgi_app = "erpconfig.wsgi"
bind = "127.0.0.1:8000"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
worker_class = "erpconfig.web_worker.Worker"
threads = WEB_THREADS  # most of them only wait: for a test to end, for the database
timeout = 60
graceful_timeout = 15
keepalive = 5
control_socket_disable = True  # one more way in, which nobody uses

# What a head may have; see erpconfig/limits.py for the rest of the request.
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
# What two servers in a row could understand differently is refused, and no header names another path.
header_map = "refuse"
forwarder_headers = ""
permit_obsolete_folding = strip_header_spaces = casefold_http_method = False
permit_unconventional_http_method = permit_unconventional_http_version = False

# django-structlog logs each request with its id; gunicorn's own lines go the same way as all others.
accesslog = None
logconfig_dict = {
    **LOGGING,
    "loggers": {**LOGGING["loggers"], "gunicorn.error": {"level": "INFO", "handlers": [], "propagate": True}},
}


def child_exit(_: Any, worker: Any) -> None:
    """Forget the gauges of a process that is gone."""
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        multiprocess.mark_process_dead(worker.pid)
