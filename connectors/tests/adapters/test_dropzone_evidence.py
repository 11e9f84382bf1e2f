"""What a delivery that ends badly may claim: nothing arrived, or nobody knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from connectors.adapters.dropzone_json_v1 import DropzoneConfig, DropzoneJsonV1Connector
from connectors.exceptions import OutcomeUnknown, TemporaryError
from connectors.testing import fakes, sample_orders
from connectors.tests.peers.faulty_sftp import FaultySftp

CONNECTOR = DropzoneJsonV1Connector()
ORDER = sample_orders.minimal()


@pytest.mark.parametrize("atomic", [True, False])
def test_nothing_is_shown_once_its_time_is_over(tmp_path: Path, atomic: bool) -> None:
    """The lease may have run out, and somebody else may be sending it."""
    config = DropzoneConfig.parse({"mode": "filesystem", "export_path": ".", "atomic_write": atomic})
    late = replace(fakes.export_context(dropzone_root=tmp_path), deadline=0)

    with CONNECTOR.open_session(config, fakes.context(dropzone_root=tmp_path)) as session:
        (delivery,) = session.export_many([(ORDER, late)], window=2)

    assert isinstance(delivery.error, TemporaryError)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".json"] == []


@pytest.mark.sftp
class TestCut:
    def send(self, server: FaultySftp) -> None:
        config = DropzoneConfig.parse(server.config())
        context = fakes.export_context()
        name = CONNECTOR.render(ORDER, config, context).filename
        if server.faults.skip:  # an earlier attempt has delivered it
            document = CONNECTOR.render(ORDER, config, context)
            (server.root / "inbox" / name).write_bytes(document.content)
        CONNECTOR.export(ORDER, config, context)

    def test_while_a_refused_file_is_cleared_away_nothing_has_arrived(
        self, faulty_sftp: Callable[..., FaultySftp]
    ) -> None:
        with pytest.raises(TemporaryError):
            self.send(faulty_sftp(fail="rename", cut_after="remove"))

    def test_while_a_file_of_its_name_is_compared_nobody_knows(self, faulty_sftp: Callable[..., FaultySftp]) -> None:
        with pytest.raises(OutcomeUnknown):
            self.send(faulty_sftp(cut_before="open", skip=1, times=1))
