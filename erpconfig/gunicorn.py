"""How gunicorn serves the application: `gunicorn --config python:erpconfig.gunicorn`."""

from __future__ import annotations

import os
from typing import Any

from prometheus_client import multiprocess

from erpconfig.settings import LOGGING, WEB_THREADS

wsgi_app = "erpconfig.wsgi"
bind = "127.0.0.1:8000"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
worker_class = "gthread"
threads = WEB_THREADS  # most of them only wait: for a test to end, for the database
timeout = 60
graceful_timeout = 15
keepalive = 5
control_socket_disable = True  # one more way in, which nobody uses

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
