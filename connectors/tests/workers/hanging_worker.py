"""A worker like any other, but it stops in the middle of a delivery: `before` or `after` the file has its name."""

import os
import sys
import time

from django.core.management import execute_from_command_line

from connectors.transports.filesystem import FilesystemFolder


def hang(moment: str) -> None:
    publish = FilesystemFolder._check_and_publish

    def publish_and_hang(*args):
        if moment == "after":
            publish(*args)
        time.sleep(60)

    FilesystemFolder._check_and_publish = publish_and_hang


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "erpconfig.settings")
    hang(sys.argv[1])
    execute_from_command_line(["manage.py", "procrastinate", "worker"])
