"""Folders of an SFTP server, reached through one login."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import ClassVar, Final

from connectors.codes import Code
from connectors.exceptions import ConnectorError, OutcomeUnknown, TemporaryError
from connectors.network import Dialer
from connectors.port import StepRecorder
from connectors.results import RemoteIdentity
from connectors.transports.drop import Entry, FileStore, Folder, NameTaken
from connectors.transports.sftp_protocol import Attributes, SftpClient, Status, StatusError
from connectors.transports.ssh import SshTarget, SshTransport, closed_after, log_in, silence_is_a_timeout, translated

_CODES: Final[dict[int, Code]] = {
    Status.NO_SUCH_FILE: Code.PATH_NOT_FOUND,
    Status.PERMISSION_DENIED: Code.PERMISSION_DENIED,
}


@contextmanager
def sftp_store(
    target: SshTarget, dialer: Dialer, steps: StepRecorder, recognise: Callable[[RemoteIdentity], None]
) -> Iterator[SftpStore]:
    """Log in, and log out at the end; see `log_in` for the arguments, steps and errors."""
    transport = log_in(target, dialer, steps, recognise)
    try:
        yield SftpStore(target, transport)
    finally:
        transport.close()


class SftpStore(FileStore):
    """The folders that one login may see; a relative path starts at the login folder."""

    transport: ClassVar[str] = "sftp"

    def __init__(self, target: SshTarget, transport: SshTransport) -> None:
        self.target = target
        self._transport = transport

    @cached_property
    def client(self) -> SftpClient:
        """The SFTP session, started when it is first needed."""
        timeout_s = self.target.timeout_s
        with (
            translated(self.target, " while starting SFTP"),
            silence_is_a_timeout(timeout_s),
            closed_after(timeout_s, self._transport),
        ):
            return SftpClient(self._transport, timeout_s=timeout_s)

    def finish_within(self, seconds: float) -> None:
        self.client.deadline = time.monotonic() + seconds

    def folder(self, path: str) -> SftpFolder:
        folder = SftpFolder(self, path)
        if not folder.exists():
            raise TemporaryError(Code.PATH_NOT_FOUND, path=path)
        return folder


class SftpFolder(Folder):
    """One folder of the server."""

    def __init__(self, store: SftpStore, path: str) -> None:
        self._store = store
        self._client = store.client
        self.path = path

    def exists(self) -> bool:
        """Return whether there is a folder at this path."""
        with self._asking(""):
            found = self._client.attributes(self.path, follow_links=True)
        return found is not None and found.is_folder

    def location(self, name: str) -> str:
        host = f"[{self._store.target.host}]" if ":" in self._store.target.host else self._store.target.host
        return f"sftp://{host}:{self._store.target.port}/{self._at(name).removeprefix('/')}"

    def entry(self, name: str) -> Entry | None:
        with self._asking(name):
            found = self._client.attributes(self._at(name))
        if found is None:
            return None
        if not found.is_file:
            raise TemporaryError(Code.PERMISSION_DENIED, path=self._at(name))
        return Entry(name=name, size=found.size or 0, modified=found.modified or 0)

    def entries(self, wanted: Callable[[str], bool], *, limit: int) -> list[Entry]:
        with self._asking(""):
            listed = self._client.list_folder(self.path, wanted, limit=limit)
        found = [
            Entry(name=name, size=attributes.size or 0, modified=attributes.modified or 0)
            for name, attributes in listed
            if attributes.is_file
        ]
        return sorted(found, key=lambda entry: entry.name)

    def read(self, name: str, *, limit: int) -> bytes:
        with self._asking(name):
            return self._client.read(self._at(name), limit=limit)

    def put(self, name: str, content: bytes, *, temp_name: str | None) -> None:
        if temp_name is None:
            # Cut half-way, the beginning lies under the final name; taken at once is what the file is for.
            with self._asking(name, if_cut=OutcomeUnknown):
                self._write(self._create(name, size=len(content)), name, content)
                self._check_size(name, self._client.attributes(self._at(name)), content)
            return
        with self._asking(temp_name):
            self._write(self._create_anew(temp_name, size=len(content)), temp_name, content)
            written, taken = self._look_at_both(temp_name, name)
            if written is None:
                raise OutcomeUnknown  # somebody takes even temporary files: this one may be on its way into the ERP
            self._check_size(temp_name, written, content)
            if taken is not None:  # some servers overwrite on rename: do not let it come to that
                self._discard(temp_name)
                raise NameTaken
        self._publish(temp_name, name)

    def remove(self, name: str) -> bool:
        with self._asking(name):
            try:
                self._client.remove(self._at(name))
            except StatusError as error:
                if error.status != Status.NO_SUCH_FILE:
                    raise
                return False
        return True

    def move(self, name: str, subfolder: str, new_name: str) -> None:
        target = self._at(f"{subfolder}/{new_name}")
        with self._asking(name):
            if self._client.attributes(self._at(subfolder)) is None:
                self._client.make_folder(self._at(subfolder))
            if self._client.attributes(target) is not None:
                raise NameTaken
            self._client.rename(self._at(name), target)

    def subfolder(self, name: str) -> SftpFolder | None:
        folder = SftpFolder(self._store, self._at(name))
        return folder if folder.exists() else None

    def _at(self, name: str) -> str:
        return f"{self.path.rstrip('/')}/{name}" if name else self.path

    def _create(self, name: str, *, size: int) -> bytes:
        """Create a file and return its handle; NameTaken when it exists."""
        try:
            return self._client.create(self._at(name))
        except StatusError as error:
            if error.status == Status.FAILURE and self._client.attributes(self._at(name)):
                raise NameTaken from None
            raise self._failure(error, name, writing=size) from None

    def _create_anew(self, name: str, *, size: int) -> bytes:
        """Create a file in the place of whatever an earlier attempt left under its name, and return its handle."""
        try:
            return self._client.create(self._at(name))
        except StatusError as error:
            try:
                self._client.remove(self._at(name))
            except StatusError:  # it was not there: that is not why
                raise self._failure(error, name, writing=size) from None
            return self._client.create(self._at(name))

    def _write(self, handle: bytes, name: str, content: bytes) -> None:
        """Write and close a new file; when that fails it is removed again."""
        try:
            self._client.write_and_close(handle, content)
        except StatusError as error:
            failure = self._failure(error, name, writing=len(content))
            self._discard(name)
            raise failure from None

    def _look_at_both(self, temp_name: str, name: str) -> tuple[Attributes | None, Attributes | None]:
        """Return what lies under the temporary and under the final name; a refusal removes the temporary file."""
        try:
            return self._client.attributes_of_both(self._at(temp_name), self._at(name))
        except StatusError:
            self._discard(temp_name)
            raise

    def _check_size(self, name: str, found: Attributes | None, content: bytes) -> None:
        if found and found.size != len(content):
            self._discard(name)
            raise TemporaryError(Code.NO_SPACE, path=self._at(name))

    def _publish(self, temp_name: str, name: str) -> None:
        """Give the complete file its final name, which must be free."""
        # Cut from here on, nobody knows whether it happened.
        with self._asking(name, if_cut=OutcomeUnknown):
            try:
                self._client.rename(self._at(temp_name), self._at(name))
            except StatusError as error:
                self._explain_refusal(error, temp_name, name)
                self._discard(temp_name)
                raise NameTaken from None

    def _explain_refusal(self, error: StatusError, temp_name: str, name: str) -> None:
        """Return when the name is taken, by whomever; raise when it still is free."""
        if self._client.attributes(self._at(name)):
            return
        if self._client.attributes(self._at(temp_name)) is None:
            raise OutcomeUnknown  # neither file is there: somebody has taken one of them
        self._discard(temp_name)
        raise self._failure(error, name) from None

    def _discard(self, name: str) -> None:
        with suppress(TemporaryError):
            self.remove(name)

    def _failure(self, error: StatusError, name: str, *, writing: int = 0) -> TemporaryError:
        """Say what a status means; version 3 of SFTP has none for a full disk, so ask how much is free."""
        path = self._at(name)
        if error.status == Status.FAILURE and writing:
            with suppress(StatusError):
                free = self._client.free_bytes(self.path)
                if free is not None and free < writing:
                    return TemporaryError(Code.NO_SPACE, path=path)
        code = _CODES.get(error.status, Code.REMOTE_ERROR)
        return TemporaryError(code, path=path, during=f" for {path} (SFTP status {error.status})")

    @contextmanager
    def _asking(self, name: str, *, if_cut: type[ConnectorError] = TemporaryError) -> Iterator[None]:
        with translated(self._store.target, f" for {self._at(name)}", error_class=if_cut):
            try:
                yield
            except StatusError as error:
                raise self._failure(error, name) from None
