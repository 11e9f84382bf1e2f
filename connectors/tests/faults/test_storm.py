"""One round of the long form: workers and database break while a part of the matrix sends its orders."""

import subprocess
import sys

import pytest

from erpconfig.paths import BASE_DIR

pytestmark = pytest.mark.slow


def test_whatever_breaks_each_order_arrives_once():
    command = [sys.executable, "-m", "connectors.tests.faults", "--seed", "7", "--part", "0"]
    size = ["--rounds", "1", "--orders", "3", "--workers", "2"]

    done = subprocess.run([*command, *size], cwd=BASE_DIR, capture_output=True, text=True)

    print(done.stdout, done.stderr)  # the seed, and what was not as it has to be
    assert done.returncode == 0
