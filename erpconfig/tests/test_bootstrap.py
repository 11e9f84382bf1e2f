"""What `make` and manage.py prepare before Django starts."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from erpconfig import bootstrap
from erpconfig.paths import BASE_DIR


class TestDotEnv:
    def test_it_is_private_and_has_fresh_keys(self, tmp_path: Path) -> None:
        first, second = tmp_path / "first", tmp_path / "second"

        assert bootstrap.write_env(first)
        assert bootstrap.write_env(second)

        assert stat.S_IMODE(first.stat().st_mode) == 0o600
        for name in ("SECRET_KEY=", "ENCRYPTION_MASTER_KEY="):
            assert line(first, name) != line(second, name)

    def test_it_is_all_that_is_needed_to_start(self, tmp_path: Path) -> None:
        bootstrap.write_env(tmp_path / ".env")
        environment = {"PATH": os.defpath, "ENV_FILE": str(tmp_path / ".env")}

        done = subprocess.run(
            [sys.executable, "-c", "from erpconfig import settings; print(settings.SECURE_SSL_REDIRECT)"],
            cwd=BASE_DIR,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )

        assert done.stdout.strip() == "False"

    def test_an_existing_one_stays_as_it_is(self, tmp_path: Path) -> None:
        mine = tmp_path / ".env"
        mine.write_text("SECRET_KEY=mine\n")

        assert not bootstrap.write_env(mine)
        assert mine.read_text() == "SECRET_KEY=mine\n"

    def test_of_many_at_once_one_writes_it(self, tmp_path: Path) -> None:
        with ThreadPoolExecutor(16) as pool:
            written = list(pool.map(bootstrap.write_env, [tmp_path / ".env"] * 16))

        assert written.count(True) == 1
        assert [path.name for path in tmp_path.iterdir()] == [".env"]


class TestDatabase:
    def test_a_configured_one_is_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgresql://erp@db/erp")

        bootstrap.ensure_database()

        assert os.environ["DATABASE_URL"] == "postgresql://erp@db/erp"


class TestTheFirstKey:
    def test_it_can_be_made_before_anything_is_configured(self) -> None:
        done = subprocess.run(
            [sys.executable, "manage.py", "generate_master_key"],
            cwd=BASE_DIR,
            env={"PATH": os.defpath, "ENV_FILE": ""},
            capture_output=True,
            text=True,
            check=True,
        )

        assert len(bytes.fromhex(done.stdout.strip())) == 32


def line(file: Path, name: str) -> str:
    return next(each for each in file.read_text().splitlines() if each.startswith(name))
