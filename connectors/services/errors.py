"""Why a service refuses: what stands in the way of a request that is valid in itself."""

from __future__ import annotations

from tenants.errors import Conflict


class Refused(Conflict):
    """The present state does not allow it."""


class ActiveConnectorExists(Refused):
    """The organisation already has an active connection."""

    code = "ACTIVE_CONNECTOR_EXISTS"
    hint = "Activate the new connection with replace, or disable the other one first."


class NoActiveConnector(Refused):
    """The organisation has no active connection."""

    code = "NO_ACTIVE_CONNECTOR"
    hint = "Create a connection, or activate one."


class ConnectorInUse(Refused):
    """Exports were sent through this connection, so it cannot be deleted."""

    code = "CONFLICT"
    hint = "Disable it instead."


class Gone(Refused):
    """This was deleted in the meantime."""

    code = "NOT_FOUND"


class ConnectionGone(Gone):
    """This connection was deleted in the meantime."""


class WebhookGone(Gone):
    """This webhook was deleted in the meantime."""


class RevisionChanged(Refused):
    """Somebody else changed this connection in the meantime."""

    code = "CONFLICT"
    hint = "Load it again and repeat the change."


class UntestedRevision(Refused):
    """No test has succeeded with this configuration."""

    code = "UNTESTED_REVISION"
    hint = "Test it, or give a reason, which goes into the audit trail."


class NothingStaged(Refused):
    """No credentials are staged."""

    code = "CONFLICT"
    hint = "Stage the next credentials first."


class NothingToRevert(Refused):
    """There is no such earlier revision."""

    code = "CONFLICT"
    hint = "List the revisions to see which are kept; by default the last one that passed a test comes back."


class NothingToPin(Refused):
    """The last test of this configuration did not show this host key as an unknown one."""

    code = "CONFLICT"
    hint = "Test the connection and pin what it shows. To replace a pinned key, change host_key and enter the secrets."


class TestHasEnded(Refused):
    """This test has ended already."""

    __test__ = False
    code = "CONFLICT"


class TooManyTests(Refused):
    """Too many tests were asked for in a short time."""

    code = "THROTTLED"
    hint = "Come back after Retry-After seconds."

    def __init__(self, *, retry_after: int, limit: str) -> None:
        """Refuse.

        Args:
            retry_after: seconds after which it is worth asking again.
            limit: which of the limits it is: key, organisation or destination.
        """
        self.retry_after = retry_after
        super().__init__(limit=limit)


class ExportExists(Refused):
    """This order was already submitted, and its export is still live."""

    code = "EXPORT_EXISTS"
    hint = "Look at that export; an order is sent again only by retrying its export."


class IdempotencyKeyReused(Refused):
    """This Idempotency-Key was used before, with another order."""

    code = "IDEMPOTENCY_KEY_REUSED"
    hint = "Use a new key for every order, and the same key only to repeat the same request."


class NotRetryable(Refused):
    """Only a failed, rejected or unconfirmed export that was not retried yet can be retried."""

    code = "CONFLICT"


class NotCancellable(Refused):
    """Only a pending export can be cancelled, and only when nothing of it may have arrived."""

    code = "CONFLICT"


class NotHeld(Refused):
    """This export does not wait for approval."""

    code = "CONFLICT"


class NotResendable(Refused):
    """Only an export that has ended without being cancelled, and whose place no other has taken, can be sent again."""

    code = "CONFLICT"
    hint = "If another export took its place, send that one again."


class NotDismissible(Refused):
    """Only a failed, rejected or unconfirmed export that was neither retried nor put aside can be put aside."""

    code = "CONFLICT"


class TooManyWebhooks(Refused):
    """The organisation has as many webhooks as it may have."""

    code = "CONFLICT"
    hint = "Change or delete one of them."


class WebhookDisabled(Refused):
    """Nothing is sent to a disabled webhook."""

    code = "CONFLICT"
    hint = "Enable it first."


class NotOpen(Refused):
    """Only an acknowledgement that waits for a person can be put aside."""

    code = "CONFLICT"


class NotConfirmed(Refused):
    """This order may have arrived: to send it again may double it."""

    code = "CONFIRMATION_REQUIRED"
    hint = "Look for it in the ERP; if it is not there, confirm that unconfirmed orders are sent again, too."
