"""The demo, as `make demo` runs it: real processes, a database of its own, a dropzone on disk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from erpconfig.paths import BASE_DIR


def demo(root: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"DROPZONE_ROOT": str(root), "DOCUMENT_STORAGE": str(root / "documents")}
    return subprocess.run(
        [sys.executable, "manage.py", "demo"],
        cwd=BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_the_order_arrives_each_time_and_keys_are_shown_once(tmp_path: Path) -> None:
    first, second = demo(tmp_path), demo(tmp_path)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    for run in (first, second):
        assert "acknowledged   as SO-100042" in run.stdout
    assert len(list((tmp_path / "acme" / "outbox").glob("sales_order_SO-2025-0042-*.json"))) == 2
    assert len(list((tmp_path / "acme" / "acks" / "processed").glob("ack_*"))) == 2
    assert len(re.findall(r"erpk_\w{12}_", first.stdout)) == 1
    assert "erpk_" not in second.stdout


@pytest.mark.slow
def test_a_failure_is_told_in_one_line(tmp_path: Path) -> None:
    root = tmp_path / "not-a-folder"
    root.write_text("")

    run = demo(root)

    assert run.returncode == 1
    assert "Not a directory" in run.stderr
    assert "Traceback" not in run.stderr
