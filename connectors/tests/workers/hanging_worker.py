"""A worker like any other, but it stops in the middle of a delivery: `before` or `after` the file has its name."""

import os
import sys
import time

from django.core.management import execute_from_command_line

from connectors.transports import filesystem


def hang(*_):
    time.sleep(60)


def publish_and_hang(*arguments, publish=filesystem._publish):
    publish(*arguments)
    hang()


STEP_AT = {"before": ("_link_without_replacing", hang), "after": ("_publish", publish_and_hang)}


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "erpconfig.settings")
    setattr(filesystem, *STEP_AT[sys.argv[1]])
    execute_from_command_line(["manage.py", "procrastinate", "worker"])
