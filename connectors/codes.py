"""The catalogue: every failure people can meet, with the text that explains it and the hint that says what to do.

Text shown to people comes from here and never from a foreign exception. A text may name only the safe parameters that
are listed in its braces; a parameter that was not given reads as "the server", "the file" and so on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from string import Formatter
from typing import Any, Final


class Code(StrEnum):
    """A stable name of one kind of failure, as it stands in API answers, rows and logs."""

    # The way to the far end
    DNS_FAILURE = "DNS_FAILURE"
    CONNECTION_REFUSED = "CONNECTION_REFUSED"
    CONNECTION_TIMEOUT = "CONNECTION_TIMEOUT"
    CONNECTION_LOST = "CONNECTION_LOST"
    EGRESS_DENIED = "EGRESS_DENIED"
    TLS_FAILURE = "TLS_FAILURE"
    CERTIFICATE_EXPIRES = "CERTIFICATE_EXPIRES"
    CERTIFICATE_UNUSABLE = "CERTIFICATE_UNUSABLE"
    HOST_KEY_UNKNOWN = "HOST_KEY_UNKNOWN"
    HOST_KEY_MISMATCH = "HOST_KEY_MISMATCH"
    IDENTITY_CHANGED = "IDENTITY_CHANGED"
    # What the far end lets us do
    AUTHENTICATION_FAILED = "AUTHENTICATION_FAILED"
    TOKEN_REFUSED = "TOKEN_REFUSED"  # noqa: S105  # nosec B105  # a name
    ENDPOINT_UNUSABLE = "ENDPOINT_UNUSABLE"
    MESSAGE_REFUSED = "MESSAGE_REFUSED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    FOLDER_NOT_LISTED = "FOLDER_NOT_LISTED"
    PATH_NOT_FOUND = "PATH_NOT_FOUND"
    NO_SPACE = "NO_SPACE"
    REMOTE_ERROR = "REMOTE_ERROR"
    UNUSABLE_ANSWER = "UNUSABLE_ANSWER"
    RATE_LIMITED = "RATE_LIMITED"
    # What becomes of a test
    TEST_FILE_LEFT = "TEST_FILE_LEFT"
    TEST_CANCELLED = "TEST_CANCELLED"
    TEST_INTERRUPTED = "TEST_INTERRUPTED"
    # What becomes of an order
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    WORKER_LOST = "WORKER_LOST"
    FOUND_TWICE = "FOUND_TWICE"
    FILE_VANISHED = "FILE_VANISHED"
    RECEIPT_UNUSABLE = "RECEIPT_UNUSABLE"
    RECEIPT_MISMATCH = "RECEIPT_MISMATCH"
    REJECTED_BY_ERP = "REJECTED_BY_ERP"
    TARGET_EXISTS = "TARGET_EXISTS"
    DOCUMENT_INVALID = "DOCUMENT_INVALID"
    DOCUMENT_LOST = "DOCUMENT_LOST"
    DOCUMENT_PURGED = "DOCUMENT_PURGED"
    DOCUMENT_STORAGE_FAILED = "DOCUMENT_STORAGE_FAILED"
    UNSUPPORTED_FEATURE = "UNSUPPORTED_FEATURE"
    # What the ERP answers
    ACKNOWLEDGEMENT_MALFORMED = "ACKNOWLEDGEMENT_MALFORMED"
    ACKNOWLEDGEMENT_UNMATCHED = "ACKNOWLEDGEMENT_UNMATCHED"
    ACKNOWLEDGEMENT_CONTRADICTS = "ACKNOWLEDGEMENT_CONTRADICTS"
    ACKNOWLEDGEMENT_SUPERSEDED = "ACKNOWLEDGEMENT_SUPERSEDED"
    # What goes wrong on our side
    INTERNAL_ERROR = "INTERNAL_ERROR"
    # What stands in the way on our side
    CONFIGURATION_INVALID = "CONFIGURATION_INVALID"
    SECRETS_REQUIRED = "SECRETS_REQUIRED"
    UNKNOWN_CONNECTOR = "UNKNOWN_CONNECTOR"
    UNREADABLE_CONFIG = "UNREADABLE_CONFIG"


@dataclass(frozen=True, kw_only=True)
class Text:
    """The message and the hint of one code."""

    message: str
    hint: str


CATALOGUE: Final[dict[Code, Text]] = {
    Code.DNS_FAILURE: Text(
        message="The host name {host} could not be resolved.",
        hint="Check the spelling of the host, and that this server's DNS knows it.",
    ),
    Code.CONNECTION_REFUSED: Text(
        message="{host}:{port} refused the connection.",
        hint="Check the port, and that the service is running and lets this server in.",
    ),
    Code.CONNECTION_TIMEOUT: Text(
        message="{host}:{port} did not answer within {timeout_s} s.",
        hint="A firewall may drop the traffic: ask for this server's address to be allowed, or raise timeout_s.",
    ),
    Code.CONNECTION_LOST: Text(
        message="The connection to {host}:{port} was cut.",
        hint="Try again; if it happens often, look for an idle time-out or a restart at the far end.",
    ),
    Code.EGRESS_DENIED: Text(
        message="Connections from here to {host} ({address}) are not allowed.",
        hint="If this target is meant, the operator adds its network to EGRESS_ALLOWED_NETWORKS, and to the networks "
        "that this organisation may reach.",
    ),
    Code.TLS_FAILURE: Text(
        message="No trusted TLS connection to {host}:{port} could be made: {reason}.",
        hint="Check the certificate's name, dates and issuer; a private CA has to be configured.",
    ),
    Code.CERTIFICATE_EXPIRES: Text(
        message="The certificate of {host} expires on {day}.",
        hint="Ask whoever runs the server to renew it; from that day on nothing is sent any more.",
    ),
    Code.CERTIFICATE_UNUSABLE: Text(
        message="The certificate of {host} cannot be used: {reason}.",
        hint="Exchange certificates with the partner and enter the new one; deliveries wait until a test succeeds.",
    ),
    Code.HOST_KEY_UNKNOWN: Text(
        message="The server shows the host key {fingerprint} ({key_type}), and none is pinned.",
        hint="Compare the fingerprint with the one your partner gives you, then pin it.",
    ),
    Code.HOST_KEY_MISMATCH: Text(
        message="The server shows the host key {fingerprint} ({key_type}), but {pinned} is pinned.",
        hint="Somebody may stand in between. Ask your partner whether the key was changed before you pin the new one.",
    ),
    Code.IDENTITY_CHANGED: Text(
        message="The far end's {what} is {shown_identity} now; it was {pinned_identity} when it was activated.",
        hint="Find out whether you still reach the right system. If the change is meant, accept the new identity.",
    ),
    Code.AUTHENTICATION_FAILED: Text(
        message="The far end refused the credentials of {username}.",
        hint="Check the user name and enter the password or key again; deliveries wait until a test succeeds.",
    ),
    Code.TOKEN_REFUSED: Text(
        message="{host} gives {username} no access token: {reason}.",
        hint="Check the token address, the client and its secret or key, and the scope; deliveries wait until a test "
        "succeeds.",
    ),
    Code.ENDPOINT_UNUSABLE: Text(
        message="{host} takes nothing at the configured address (HTTP {status}).",
        hint="Correct the address, path or method in the configuration; deliveries wait until a test succeeds.",
    ),
    Code.MESSAGE_REFUSED: Text(
        message="{host} could not take the message: {reason}.",
        hint="Compare certificates, names and algorithms with the partner; deliveries wait until a test succeeds.",
    ),
    Code.PERMISSION_DENIED: Text(
        message="{path} may not be written or read with this account.",
        hint="Ask for the right to read and write there, or choose another place.",
    ),
    Code.FOLDER_NOT_LISTED: Text(
        message="{path} may not be listed with this account.",
        hint="Ask for the right to list the folder: else an order whose delivery was cut may not be found again.",
    ),
    Code.PATH_NOT_FOUND: Text(
        message="{path} does not exist.",
        hint="Create it at the far end, or correct its name in the configuration.",
    ),
    Code.NO_SPACE: Text(
        message="There is no space left for {path}.",
        hint="Free space or raise the quota at the far end; the order is sent again by itself.",
    ),
    Code.REMOTE_ERROR: Text(
        message="The far end reported an error{during}.",
        hint="Look at the far end's log at this time; it is tried again by itself where that is safe.",
    ),
    Code.UNUSABLE_ANSWER: Text(
        message="The answer of {host} cannot be used: {reason}.",
        hint="Check the address: a proxy, a login page or another program may answer in the far end's place.",
    ),
    Code.RATE_LIMITED: Text(
        message="The far end asks us to slow down.",
        hint="Nothing to do: it is tried again when the far end allows.",
    ),
    Code.TEST_FILE_LEFT: Text(
        message="The test file {path} may not be removed with this account.",
        hint="Remove {path} at the far end, and ask for the right to delete files there.",
    ),
    Code.TEST_CANCELLED: Text(
        message="The test was cancelled.",
        hint="Start it again when you want to know the rest.",
    ),
    Code.TEST_INTERRUPTED: Text(
        message="The test did not come to its end.",
        hint="The worker was stopped, or the far end was too slow; start the test again.",
    ),
    Code.OUTCOME_UNKNOWN: Text(
        message="The connection broke before the far end confirmed the order.",
        hint="We look the order up before anything is sent again.",
    ),
    Code.WORKER_LOST: Text(
        message="The worker that sent this order disappeared.",
        hint="We look the order up before anything is sent again.",
    ),
    Code.FOUND_TWICE: Text(
        message="The order lies at the far end twice: {path} and {other}.",
        hint="Ask the partner whether it was processed twice. It is not sent again by itself.",
    ),
    Code.FILE_VANISHED: Text(
        message="{path} was written, and was gone before it got its final name.",
        hint="Ask the partner whether a quota removes files, or whether temporary files are taken; then choose another "
        "temp_suffix or temp_path.",
    ),
    Code.RECEIPT_UNUSABLE: Text(
        message="The receipt of {host} proves nothing: {reason}.",
        hint="Check with which certificate the partner signs; until then nobody knows whether the order arrived.",
    ),
    Code.RECEIPT_MISMATCH: Text(
        message="The receipt of {host} is for another content than was sent.",
        hint="Ask the partner what arrived. The order is not sent again by itself.",
    ),
    Code.REJECTED_BY_ERP: Text(
        message="The ERP rejected the order.",
        hint="Correct the order or the ERP's master data, then retry.",
    ),
    Code.TARGET_EXISTS: Text(
        message="{path} already exists with another content.",
        hint="Find out who wrote that file; nothing was overwritten.",
    ),
    Code.DOCUMENT_INVALID: Text(
        message="The order cannot be written in the format of this connector{where}.",
        hint="Correct the order and submit it again.",
    ),
    Code.DOCUMENT_LOST: Text(
        message="The stored document of this export is missing or was altered.",
        hint="Restore the document storage, or retry to render the order anew.",
    ),
    Code.DOCUMENT_PURGED: Text(
        message="The document was removed: the organisation keeps documents no longer.",
        hint="Its name, size and hash are kept with the export.",
    ),
    Code.DOCUMENT_STORAGE_FAILED: Text(
        message="The document storage does not work right now.",
        hint="Check that DOCUMENT_STORAGE can be reached and written, and has space; the order is tried again.",
    ),
    Code.UNSUPPORTED_FEATURE: Text(
        message="This connector cannot express {feature}.",
        hint="Leave it out of the order, or use a connector that supports it.",
    ),
    Code.ACKNOWLEDGEMENT_MALFORMED: Text(
        message="The acknowledgement cannot be read: {reason}.",
        hint="Have it corrected and put into the folder again under its name; the order is as it was.",
    ),
    Code.ACKNOWLEDGEMENT_UNMATCHED: Text(
        message="Nothing that this acknowledgement could answer was sent.",
        hint="Compare its name with the file name of the order it is meant for. It stays where it lies.",
    ),
    Code.ACKNOWLEDGEMENT_CONTRADICTS: Text(
        message="This acknowledgement contradicts how the order ended, which stands.",
        hint="Ask whoever runs the ERP what holds, and correct the order there if need be.",
    ),
    Code.ACKNOWLEDGEMENT_SUPERSEDED: Text(
        message="The ERP accepted an order that was sent once more meanwhile: it may have it twice.",
        hint="Look for both in the ERP, and cancel one of them there.",
    ),
    Code.INTERNAL_ERROR: Text(
        message="Something went wrong on our side.",
        hint="Give the request id or the export id to the operator, who finds the details in the log.",
    ),
    Code.CONFIGURATION_INVALID: Text(
        message="The configuration is not valid.",
        hint="Correct the fields named in the errors.",
    ),
    Code.SECRETS_REQUIRED: Text(
        message="The destination changed, and a stored secret is never sent to a new destination unasked.",
        hint="Enter every secret named in the errors again.",
    ),
    Code.UNKNOWN_CONNECTOR: Text(
        message="There is no connector type {connector_type}.",
        hint="Choose one of: {known}.",
    ),
    Code.UNREADABLE_CONFIG: Text(
        message="The stored configuration cannot be decrypted.",
        hint="Restore the master key it was encrypted with, or enter the configuration again.",
    ),
}

_UNNAMED: Final[dict[str, str]] = {
    "host": "the server",
    "port": "its port",
    "timeout_s": "the allowed time of some",
    "address": "its address",
    "fingerprint": "(unreadable)",
    "key_type": "unknown type",
    "pinned": "another one",
    "what": "identity",
    "shown_identity": "another one",
    "pinned_identity": "known",
    "username": "this account",
    "path": "The path",
    "other": "another path",
    "feature": "a part of this order",
    "connector_type": "of this name",
    "known": "none is installed",
    "reason": "the reason is not known",
    "day": "a day that is not known",
    "status": "an error",
    "during": "",
    "where": "",
}


def describe(code: Code, **params: Any) -> Text:
    """Return the message and hint of `code` with its braces filled.

    Args:
        code: the failure.
        params: safe values only (host, port, path, sizes); never a credential, never a foreign exception's text.
    """
    text = CATALOGUE[code]
    return Text(message=_fill(text.message, params), hint=_fill(text.hint, params))


def _fill(template: str, params: dict[str, Any]) -> str:
    names = {name for _, name, _, _ in Formatter().parse(template) if name}
    return template.format(**{name: params.get(name, _UNNAMED.get(name, "")) for name in names})
