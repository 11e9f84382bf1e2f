"""The built-in connectors keep the contract that every connector keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from connectors.adapters.dropzone_json_v1 import DropzoneJsonV1Connector
from connectors.adapters.mock import MockConnector
from connectors.exceptions import AuthenticationFailed, ConnectorError, OutcomeUnknown
from connectors.testing.contract import ConnectorContract, Provocation
from connectors.tests.adapters.provocations import Failures, in_a_folder
from connectors.tests.peers.openssh import PASSPHRASE, OpenSSH, free_port


class TestMock(ConnectorContract):
    connector_class = MockConnector
    uses_network = False

    @pytest.fixture(autouse=True)
    def empty_outbox(self) -> Iterator[None]:
        MockConnector.reset()
        yield
        MockConnector.reset()

    def config(self) -> dict[str, Any]:
        return {"api_key": "s3cret-mock-key"}

    def far_end(self) -> Mapping[str, bytes]:
        return {item.document.filename: item.document.content for item in MockConnector.received()}

    def broken_configs(self) -> list[dict[str, Any]]:
        return [self.config() | {"fail_with": name} for name in ("AuthenticationFailed", "TemporaryError")]

    def failures(self) -> Failures:
        def failing(kind: type[ConnectorError]) -> Callable[[], Provocation]:
            return lambda: Provocation(config=self.config() | {"fail_with": kind.__name__})

        return {kind: failing(kind) for kind in MockConnector.raises}


class TestDropzoneOnFilesystem(ConnectorContract):
    connector_class = DropzoneJsonV1Connector
    uses_network = False
    out_of_reach = frozenset(
        {AuthenticationFailed, OutcomeUnknown}
    )  # a folder of this machine asks nobody, and answers

    @pytest.fixture(autouse=True)
    def folders(self, tmp_path: Path) -> None:
        self.root = tmp_path
        for name in ("out", "ack"):
            (tmp_path / name).mkdir()

    def dropzone_root(self) -> Path:
        return self.root

    def config(self) -> dict[str, Any]:
        return {"mode": "filesystem", "export_path": "out", "ack_path": "ack"}

    def far_end(self) -> Mapping[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.root / "out").iterdir()}

    def broken_configs(self) -> list[dict[str, Any]]:
        return [self.config() | change for change in ({"export_path": "nowhere"}, {"ack_path": "/etc"})]

    def failures(self) -> Failures:
        return in_a_folder(self, self.root / "out", "export_path")


@pytest.mark.sftp
class TestDropzoneOnSftp(ConnectorContract):
    connector_class = DropzoneJsonV1Connector
    out_of_reach = frozenset({OutcomeUnknown})  # OpenSSH does not lie; test_dropzone_look_up has servers that do

    @pytest.fixture(autouse=True)
    def server(self, openssh: OpenSSH, inbox: Path) -> None:
        self.openssh, self.inbox = openssh, inbox

    def config(self) -> dict[str, Any]:
        return self.openssh.config(private_key=self.openssh.client_key("encrypted"), passphrase=PASSPHRASE)

    def far_end(self) -> Mapping[str, bytes]:
        return {path.name: path.read_bytes() for path in self.inbox.iterdir()}

    def broken_configs(self) -> list[dict[str, Any]]:
        with_password = self.openssh.config(password="wrong-s3cret")
        changes: list[dict[str, Any]] = [
            {},
            {"host_key": "SHA256:" + "A" * 43},
            {"port": free_port()},
            {"host": "no-such-host.invalid"},
        ]
        return [with_password | change for change in changes]

    def failures(self) -> Failures:
        wrong = self.openssh.config(password="wrong-s3cret")
        return in_a_folder(self, self.inbox, "export_path") | {AuthenticationFailed: lambda: Provocation(config=wrong)}
