"""What a server's first line says of it, however it is written."""

from __future__ import annotations

import pytest

from connectors.transports.ssh import printable, product


@pytest.mark.parametrize(
    ("greeting", "expected"),
    [
        ("SSH-2.0-OpenSSH_9.2p1 Debian-2", "OpenSSH"),
        ("SSH-2.0-OpenSSH_for_Windows_8.1", "OpenSSH_for_Windows"),
        ("SSH-1.99-OpenSSH_3.9", "OpenSSH"),
        ("SSH-2.0-AWS_SFTP_1.1", "AWS_SFTP"),
        ("SSH-2.0-mod_sftp/0.9.9", "mod_sftp"),
        ("SSH-2.0-APACHE-SSHD-2.9.0", "APACHE-SSHD"),
        ("SSH-2.0-GoAnywhere7.1.1", "GoAnywhere"),
        ("SSH-2.0-L3SSH_2", "L3SSH"),
        ("SSH-2.0-SFTPGo", "SFTPGo"),
        ("SSH-2.0-Cerberus FTP Server 12", "Cerberus"),
        ("SSH-2.0-1.82 sshlib: GlobalScape", "sshlib: GlobalScape"),
        ("SSH-2.0-9.17 FlowSsh: Bitvise SSH Server (WinSSHD) 9.17", "FlowSsh: Bitvise SSH Server (WinSSHD)"),
        ("SSH-2.0-0.0", None),
        ("SSH-2.0-", None),
        ("", None),
    ],
)
def test_product_without_its_version(greeting: str, expected: str | None) -> None:
    assert product(greeting) == expected


def test_nothing_but_printable_ascii_is_shown() -> None:
    assert printable("SSH-2.0-\x1b[31mred\u202e\x00ü") == "SSH-2.0-?[31mred???"
    assert len(printable("SSH-2.0-" + "x" * 10_000)) == 255
