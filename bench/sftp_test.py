"""A full SFTP connection test against the bare exchanges of the protocol, one after the other: 20 ms away, and near.

Run from the root: python -m bench.sftp_test
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from bench.bare_ssh import BareSftp, handle_of, string, u32, u64
from bench.measure import Report, medians
from connectors.adapters.dropzone_json_v1 import DropzoneConfig, DropzoneJsonV1Connector
from connectors.testing import fakes
from connectors.tests.peers.distance import Distance
from connectors.tests.peers.openssh import USERNAME, OpenSSH, missing_packages

ROUND_TRIP_S: Final = 0.02

_OPEN, _CLOSE, _WRITE, _LSTAT, _OPENDIR, _READDIR, _REMOVE, _STAT, _RENAME, _EXTENDED = (
    3,
    4,
    6,
    7,
    11,
    12,
    13,
    17,
    18,
    200,
)
_NEW_FILE: Final = 0x2A  # write, create, fail where it exists


def main() -> int:
    """Print the ratios; return 1 when a target is missed."""
    if packages := missing_packages():
        print(f"SFTP test                skipped: needs apt-get install {' '.join(packages)}")
        return 0
    report = Report()
    with tempfile.TemporaryDirectory(prefix="connectors-") as folder:
        Path(folder).chmod(0o755)
        with OpenSSH(folder=Path(folder)) as server, Distance(server.port, round_trip_s=ROUND_TRIP_S) as distance:
            compare(report, "SFTP test, 20 ms away", server, distance.port, rounds=25, times=1.3)
            compare(report, "SFTP test, near", server, server.port, rounds=50, times=1.5)
    return report.exit_code


def compare(report: Report, what: str, server: OpenSSH, port: int, *, rounds: int, times: float) -> None:
    """Measure our test of the server behind `port`, and the bare exchanges."""
    private_key = server.client_key("ed25519")
    config = DropzoneConfig.parse(server.config(port=port, password=None, private_key=private_key))
    connector = DropzoneJsonV1Connector()
    key = load_ssh_private_key(private_key.encode(), None)
    assert isinstance(key, Ed25519PrivateKey)

    def ours() -> None:
        assert connector.test_connection(config, fakes.context()).success

    seconds, floor = medians(ours, lambda: bare_test(port, key), rounds=rounds)
    report.at_most(what, seconds, floor=floor, floor_name="bare exchanges", times=times)


def bare_test(port: int, key: Ed25519PrivateKey) -> None:
    """Do what a connection test does: find and list the folders, write a file as orders are written, remove it."""
    name, temp_name = string(b"inbox/bare.json"), string(b"inbox/bare.json.tmp")
    with BareSftp(port, USERNAME, key) as sftp:
        ask = sftp.ask
        ask(_STAT, string(b"inbox"))
        ask(_LSTAT, name)
        folder = handle_of(ask(_OPENDIR, string(b"inbox")))
        ask(_READDIR, folder)
        ask(_CLOSE, folder)

        ask(_LSTAT, name)
        file = handle_of(ask(_OPEN, temp_name, u32(_NEW_FILE), u32(0)))
        ask(_WRITE, file, u64(0), string(b'{"test_connection": true}\n'))
        ask(_EXTENDED, string(b"fsync@openssh.com"), file)
        ask(_CLOSE, file)
        ask(_LSTAT, temp_name)
        ask(_LSTAT, name)
        ask(_RENAME, temp_name, name)
        ask(_REMOVE, name)

        ask(_STAT, string(b"ack"))
        folder = handle_of(ask(_OPENDIR, string(b"ack")))
        ask(_READDIR, folder)
        ask(_READDIR, folder)
        ask(_CLOSE, folder)


if __name__ == "__main__":
    sys.exit(main())
