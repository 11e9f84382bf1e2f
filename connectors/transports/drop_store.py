"""How a file drop reaches its folders: over SFTP, or on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from connectors.port import Context
from connectors.results import RemoteIdentity
from connectors.transports.drop import FileDrop, FileStore
from connectors.transports.drop_config import DropConfig
from connectors.transports.filesystem import FilesystemStore
from connectors.transports.sftp import sftp_store
from connectors.transports.ssh import SshTarget


@contextmanager
def open_store(
    config: DropConfig, context: Context, recognise: Callable[[RemoteIdentity], None] | None = None
) -> Iterator[FileStore]:
    """Log in where that is needed.

    Args:
        config: which folders, and how to reach them.
        context: tools and deadline.
        recognise: is told who the far end says it is; by default the context, which refuses a changed one.
    """
    if config.mode == "filesystem":
        with FilesystemStore(context.dropzone_root) as files:
            yield files
    else:
        target = _ssh_target(config, context)
        with sftp_store(target, context.dialer, context.steps, recognise or context.recognise) as server:
            yield server


def export_drop(store: FileStore, config: DropConfig) -> FileDrop:
    """Return the export folder as a place for documents."""
    return FileDrop(
        folder=store.folder(config.export_path),
        atomic=config.atomic_write,
        temp_suffix=config.temp_suffix,
        temp_folder=store.folder(config.temp_path) if config.temp_path else None,
    )


def _ssh_target(config: DropConfig, context: Context) -> SshTarget:
    assert config.host is not None  # the configuration demands both for sftp
    assert config.username is not None
    return SshTarget(
        host=config.host,
        port=config.port,
        username=config.username,
        password=config.password.get_secret_value() if config.password else None,
        private_key=config.private_key.get_secret_value() if config.private_key else None,
        passphrase=config.passphrase.get_secret_value() if config.passphrase else None,
        certificate=config.certificate,
        host_key=config.host_key,
        timeout_s=min(config.timeout_s, context.remaining_s),
    )
