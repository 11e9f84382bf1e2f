"""Why something is refused that is valid in itself."""

from __future__ import annotations

from typing import Any, ClassVar


class Conflict(Exception):
    """The present state does not allow it."""

    code: ClassVar[str] = "CONFLICT"
    hint: ClassVar[str] = ""

    def __init__(self, **details: Any) -> None:
        """Refuse, with safe details for machines, such as the id of what stands in the way."""
        self.details = details
        self.message = self.__doc__ or ""
        super().__init__(self.message)


class Vanished(Conflict):
    """This was deleted in the meantime."""

    code = "NOT_FOUND"


class KeyIsOver(Conflict):
    """This API key is revoked or has expired."""

    hint = "Issue a new one."


class AlreadyRotated(Conflict):
    """This API key has a successor already."""

    hint = "Rotate the successor, or revoke it first."


class BeyondAccount(Conflict):
    """An API key may do no more than the role of its service account."""

    hint = "Choose another role or fewer scopes, or change the role of the account first."


class AccountDisabled(Conflict):
    """This service account is disabled."""

    hint = "Enable it first."


class AccountNameTaken(Conflict):
    """The organisation has a service account of this name."""

    hint = "Choose another name."


class AccountInUse(Conflict):
    """API keys were issued to this service account, so it cannot be deleted."""

    hint = "Disable it instead."


class LastAdministrator(Conflict):
    """An organisation keeps at least one administrator."""

    hint = "Make somebody else an administrator first."


class AlreadyMember(Conflict):
    """Somebody with this e-mail address is a member."""

    hint = "Change the role of the member instead."


class InvitationIsOver(Conflict):
    """This invitation was accepted or revoked, or has expired."""

    hint = "Invite again."


class MailNotConfigured(Conflict):
    """Invitations go by mail, and this installation sends none."""

    hint = "Ask who runs the installation to set EMAIL_URL and PUBLIC_URL."


class MailRefused(Conflict):
    """The mail server did not take the invitation, so there is none."""

    hint = "Check the address, or try again later."
