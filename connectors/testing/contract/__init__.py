"""What every connector keeps to. An adapter proves itself by subclassing `ConnectorContract` in its tests.

class TestAcme(ConnectorContract):
    connector_class = AcmeConnector

    def config(self): return {"base_url": ..., "api_key": "s3cret-key"}
    def far_end(self): return {name: content ...}
    def failures(self): return {AuthenticationFailed: lambda: Provocation(config=...), ...}
"""

from __future__ import annotations

from connectors.testing.contract.conduct import ConductContract
from connectors.testing.contract.delivery import DeliveryContract
from connectors.testing.contract.diagnosis import WRITING_STEPS, DiagnosisContract
from connectors.testing.contract.hooks import Provocation
from connectors.testing.contract.shape import ShapeContract

__all__ = ["WRITING_STEPS", "ConnectorContract", "Provocation"]


class ConnectorContract(ShapeContract, DiagnosisContract, DeliveryContract, ConductContract):
    """The shared tests; pytest collects them from the subclass."""
