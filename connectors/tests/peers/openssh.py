"""A throw-away OpenSSH server with SFTP only: no system user, no file outside its folder.

nss_wrapper gives sshd a user database of its own. As root sshd checks the password against it; otherwise PAM does,
through pam_wrapper and pam_pwdfile.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import asyncssh

USERNAME = "erpdrop"
PASSWORD = "drop-s3cret"
PASSPHRASE = "opens-the-key"

_LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
_NSS_WRAPPER = _LIBRARIES / "libnss_wrapper.so"
_PAM_WRAPPER = _LIBRARIES / "libpam_wrapper.so"
_PAM_PWDFILE = Path("/lib/x86_64-linux-gnu/security/pam_pwdfile.so")
_SSHD = Path("/usr/sbin/sshd")
_UID_FOR_ROOT = 20001
_ALGORITHMS = {"ed25519": "ssh-ed25519", "ecdsa": "ecdsa-sha2-nistp256", "rsa": "ssh-rsa"}


def missing_packages(*, pam: bool = False) -> list[str]:
    """Return the Debian packages that have to be installed first."""
    needed = {"openssh-server": _SSHD, "libnss-wrapper": _NSS_WRAPPER}
    if pam or os.getuid() != 0:
        needed |= {"libpam-wrapper": _PAM_WRAPPER, "libpam-pwdfile": _PAM_PWDFILE}
    return [package for package, file in needed.items() if not file.exists()]


@dataclass(kw_only=True)
class OpenSSH:
    """One server; a context manager that starts and stops it."""

    folder: Path
    host_keys: tuple[str, ...] = ("ed25519", "ecdsa", "rsa")
    keyboard_interactive: bool = False
    """Offer no password login, only keyboard-interactive (through PAM)."""
    both: bool = False
    """Demand a key and a password."""
    sftp: str = ""
    """More options of sftp-server, such as `-P remove` to deny deleting."""
    extra: tuple[str, ...] = ()
    """More lines of sshd_config."""

    port: int = 0

    def __enter__(self) -> Self:
        for name in ("inbox", "ack", "readonly", "unlisted", "unsearchable"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        self._make_keys()
        self._make_user()
        self._write_config()
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)

    @property
    def home(self) -> Path:
        """The login folder, as this machine sees it."""
        return self.folder / "home"

    @property
    def uid(self) -> int:
        """Whose files its user writes."""
        return os.getuid() or _UID_FOR_ROOT

    def host_key(self, kind: str = "ed25519") -> str:
        """Return a host key as a public key line."""
        return (self.folder / f"host_{kind}.pub").read_text().strip()

    def client_key(self, kind: str) -> str:
        """Return a private key that may log in: ed25519, ecdsa, rsa or encrypted."""
        return (self.folder / f"client_{kind}").read_text()

    def certified(self, kind: str = "ed25519", **terms: Any) -> tuple[str, str]:
        """Return a private key that may log in only with its certificate, and the certificate.

        Args:
            kind: ed25519, ecdsa or rsa.
            terms: whatever asyncssh's generate_user_certificate takes, such as `valid_before`.
        """
        key = asyncssh.generate_private_key(_ALGORITHMS[kind])
        authority = asyncssh.read_private_key(self.folder / "authority")
        certificate = authority.generate_user_certificate(
            key.convert_to_public(), "a test", **({"principals": [USERNAME]} | terms)
        )
        return key.export_private_key().decode(), certificate.export_certificate().decode().strip()

    def config(self, **changes: object) -> dict[str, object]:
        """Return a dropzone configuration for this server."""
        config: dict[str, object] = {
            "mode": "sftp",
            "host": "127.0.0.1",
            "port": self.port,
            "username": USERNAME,
            "password": PASSWORD,
            "host_key": self.host_key(self.host_keys[0]),
            "export_path": "inbox",
            "ack_path": "ack",
            "timeout_s": 5,
        }
        return {name: value for name, value in (config | changes).items() if value is not None}

    def _make_keys(self) -> None:
        for kind in self.host_keys:
            self._make_key(f"host_{kind}", kind)
        for kind in _ALGORITHMS:
            self._make_key(f"client_{kind}", kind)
        self._make_key("client_encrypted", "ed25519", PASSPHRASE)
        self._make_key("authority", "ed25519")
        public = [path.read_text() for path in self.folder.glob("client_*.pub")]
        (self.folder / "authorized_keys").write_text("".join(public))

    def _make_key(self, name: str, kind: str, passphrase: str | None = None) -> None:
        key = asyncssh.generate_private_key(_ALGORITHMS[kind], comment=name)
        private = self.folder / name
        private.write_bytes(key.export_private_key(passphrase=passphrase))
        private.chmod(0o600)
        (self.folder / f"{name}.pub").write_bytes(key.export_public_key())

    def _make_user(self) -> None:
        uid = self.uid
        sshd = "sshd:x:102:65534::/run/sshd:/usr/sbin/nologin"
        user = f"{USERNAME}:x:{uid}:{uid}::{self.home}:/bin/false"
        (self.folder / "passwd").write_text(f"root:x:0:0::/root:/bin/sh\n{sshd}\n{user}\n")
        (self.folder / "group").write_text(f"root:x:0:\nnogroup:x:65534:\n{USERNAME}:x:{uid}:\n")
        command = ["/usr/bin/openssl", "passwd", "-6", PASSWORD]
        hashed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        (self.folder / "shadow").write_text(
            f"root:*:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\n{USERNAME}:{hashed}:19000:0:99999:7:::\n"
        )
        (self.folder / "pwdfile").write_text(f"{USERNAME}:{hashed}\n")
        (self.folder / "pam").mkdir(exist_ok=True)
        (self.folder / "pam" / "sshd").write_text(
            f"auth required {_PAM_PWDFILE} pwdfile={self.folder}/pwdfile\n"
            "account required pam_permit.so\nsession required pam_permit.so\n"
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
            for name in ("inbox", "ack", "unlisted", "unsearchable"):
                os.chown(self.home / name, uid, uid)
        else:
            (self.home / "readonly").chmod(0o555)
        (self.home / "unlisted").chmod(0o333)
        (self.home / "unsearchable").chmod(0o666)

    @property
    def _through_pam(self) -> bool:
        return self.keyboard_interactive or os.getuid() != 0

    def _write_config(self) -> None:
        yes_no = {True: "yes", False: "no"}
        lines = [
            "ListenAddress 127.0.0.1",
            "PidFile none",
            f"UsePAM {yes_no[self._through_pam]}",
            f"KbdInteractiveAuthentication {yes_no[self._through_pam]}",
            f"PasswordAuthentication {yes_no[not self.keyboard_interactive]}",
            *(f"HostKey {self.folder}/host_{kind}" for kind in self.host_keys),
            f"AuthorizedKeysFile {self.folder}/authorized_keys",
            f"TrustedUserCAKeys {self.folder}/authority.pub",
            *(["AuthenticationMethods publickey,password"] if self.both else []),
            "StrictModes no",
            "PermitRootLogin no",
            "UseDNS no",
            "AllowTcpForwarding no",
            "X11Forwarding no",
            "PermitTTY no",
            f"Subsystem sftp internal-sftp -u 0022 {self.sftp}",
            f"ForceCommand internal-sftp -u 0022 {self.sftp}",
            *self.extra,
        ]
        (self.folder / "sshd_config").write_text("\n".join(lines) + "\n")

    def _start(self) -> None:
        self.port = self.port or free_port()
        preload = [str(_NSS_WRAPPER)] + ([str(_PAM_WRAPPER)] if self._through_pam else [])
        environment = {
            "PATH": os.environ["PATH"],
            "LD_PRELOAD": ":".join(preload),
            "NSS_WRAPPER_PASSWD": str(self.folder / "passwd"),
            "NSS_WRAPPER_GROUP": str(self.folder / "group"),
            "NSS_WRAPPER_SHADOW": str(self.folder / "shadow"),
            "PAM_WRAPPER": "1",
            "PAM_WRAPPER_SERVICE_DIR": str(self.folder / "pam"),
        }
        log = self.folder / "sshd.log"
        command = [str(_SSHD), "-D", "-f", str(self.folder / "sshd_config"), "-E", str(log), "-p", str(self.port)]
        self._process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not _greets(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"sshd did not start: {log.read_text()}")
            time.sleep(0.02)


class SmallDisk:
    """A file system of 64 KB that the server's user may fill; needs root."""

    def __init__(self, mount_point: Path) -> None:
        self._mount_point = mount_point

    def __enter__(self) -> bool:
        """Return whether it could be mounted."""
        self._mount_point.mkdir()
        options = f"size=64k,uid={_UID_FOR_ROOT},gid={_UID_FOR_ROOT},mode=755"
        mount = shutil.which("mount")
        self._mounted = bool(
            mount
            and os.getuid() == 0
            and subprocess.run(
                [mount, "-t", "tmpfs", "-o", options, "small", str(self._mount_point)], stderr=subprocess.DEVNULL
            ).returncode
            == 0
        )
        return self._mounted

    def __exit__(self, *_: object) -> None:
        if self._mounted:
            subprocess.run(["/bin/umount", str(self._mount_point)], check=True)


def free_port() -> int:
    """Return a TCP port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _greets(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False
