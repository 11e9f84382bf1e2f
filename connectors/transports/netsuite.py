"""How NetSuite is reached: the address of an account, its two ways to log in, what its answers mean, and SuiteQL."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import quote, urlsplit

from pydantic import Field

from connectors import exact_json
from connectors.codes import Code
from connectors.exceptions import AuthenticationFailed
from connectors.transports.http_answers import Unusable
from connectors.transports.http_auth import AssertionKeyFields, WebAddress, when
from connectors.transports.http_authoriser import Authoriser
from connectors.transports.http_client import HttpClient, Judged
from connectors.transports.http_erp import HttpErpConfig
from connectors.transports.http_errors import Meaning, rule
from connectors.transports.http_oauth1 import OAuth1Fields

ORDERS: Final = "services/rest/record/v1/salesOrder"
SCHEMA: Final = "services/rest/record/v1/metadata-catalog/salesOrder"
SUITEQL: Final = "services/rest/query/v1/suiteql"
TOKENS: Final = "services/rest/auth/oauth2/v1/token"

JSON: Final = {"Accept": "application/json"}
SENT_JSON: Final = {**JSON, "Content-Type": "application/json"}

_MAX_LISTED: Final = 5


class NetSuiteAccess(OAuth1Fields, AssertionKeyFields, HttpErpConfig):
    """Which account, and who we are there."""

    needed: ClassVar[dict[str, tuple[str, ...]]] = {
        "jwt": ("client_id", "key_id", "private_key"),
        "oauth1": ("consumer_key", "consumer_secret", "token_id", "token_secret"),
    }

    account: Annotated[
        str,
        Field(
            title="Account",
            description="The account id, as it stands in Setup > Company > Company Information.",
            pattern=r"^[0-9A-Za-z]+([_-][0-9A-Za-z]+)*$",
            max_length=40,
            examples=["1234567", "1234567_SB1"],
        ),
    ]
    base_url: Annotated[
        WebAddress | None,
        Field(title="Address", description="Empty for that of the account; else up to where /services begins."),
    ] = None  # type: ignore[assignment]  # `address` knows another one
    auth_kind: Annotated[
        Literal["jwt", "oauth1"],
        Field(
            title="Authentication",
            description="jwt: OAuth 2.0 client credentials (M2M). oauth1: token-based authentication (TBA).",
        ),
    ] = "jwt"
    assertion_algorithm: Annotated[
        Literal["PS256", "PS384", "PS512", "ES256", "ES384", "ES512"],
        Field(title="Signature", description="How the assertion is signed.", json_schema_extra=when("jwt")),
    ] = "PS256"

    @property
    def host_name(self) -> str:
        """The account as it stands in addresses."""
        return self.account.lower().replace("_", "-")

    @property
    def realm(self) -> str:
        """The account as it is written everywhere else."""
        return self.account.upper().replace("-", "_")

    def address(self) -> str:
        return self.base_url or f"https://{self.host_name}.suitetalk.api.netsuite.com"

    def token_address(self) -> str:
        return f"{self.address().rstrip('/')}/{TOKENS}"

    def assertion_claims(self) -> dict[str, str]:
        return {"scope": "rest_webservices"}  # a subject would be a role and a user there

    def authoriser(self) -> Authoriser:
        return self.oauth1(realm=self.realm) if self.auth_kind == "oauth1" else super().authoriser()

    def page_of(self, internal_id: str) -> str:
        """Return where people see a sales order."""
        page = "app/accounting/transactions/salesord.nl"
        return f"https://{self.host_name}.app.netsuite.com/{page}?id={quote(internal_id, safe='')}"


_CODE: Final = "$['o:errorDetails'][*]['o:errorCode']"
_DETAIL: Final = "$['o:errorDetails'][*].detail"
RULES: Final = (
    # Scripts that run too long do so after the order was saved, too.
    rule(400, Meaning.UNKNOWN, path=_CODE, contains="SSS_TIME_LIMIT"),
    rule(400, Meaning.UNKNOWN, path=_CODE, contains="SSS_USAGE_LIMIT"),
    rule("4xx", Meaning.RATE_LIMITED, path=_CODE, contains="LIMIT_EXCEEDED"),
    rule("4xx", Meaning.RATE_LIMITED, path=_CODE, contains="REQUEST_BLOCKED"),
    rule("4xx", Meaning.RATE_LIMITED, path=_CODE, contains="CONCUR"),
    rule("4xx", Meaning.AUTHENTICATION, path=_CODE, contains="INVALID_LOGIN"),
    rule("4xx", Meaning.AUTHENTICATION, path=_CODE, contains="INSUFFICIENT_PERMISSION"),
    rule("4xx", Meaning.AUTHENTICATION, path=_CODE, contains="FEATURE_DISABLED"),
    # Some rights that are missing are told by a sentence, under the code of any other refusal.
    rule("4xx", Meaning.AUTHENTICATION, path=_DETAIL, contains="not have permission"),
    # SuiteQL knows no table and no column that the role may not see.
    rule(400, Meaning.AUTHENTICATION, path=_DETAIL, contains="was not found", safe=True),
    rule(400, Meaning.AUTHENTICATION, path=_DETAIL, contains="unknown identifier", safe=True),
    rule(400, Meaning.UNKNOWN, path=_CODE, contains="UNEXPECTED_ERROR"),
    rule(409, Meaning.EXISTS, safe=False),
)


def unpacked(body: Any) -> Any:
    """Return the details of an error as a code and a message that begins with the field it is about."""
    details = body.get("o:errorDetails") if isinstance(body, dict) else None
    faults = [fault for fault in details if isinstance(fault, dict)] if isinstance(details, list) else []
    said = [_sentence(fault) for fault in faults[:_MAX_LISTED]]
    if not any(said):
        return body
    return {"code": faults[0].get("o:errorCode"), "message": "; ".join(text for text in said if text)}


def _sentence(fault: dict[str, Any]) -> str:
    detail, path = fault.get("detail"), fault.get("o:errorPath")
    if not isinstance(detail, str):
        return ""
    return f"{path}: {detail}" if isinstance(path, str) and path else detail


def rows(client: HttpClient, question: str, *, limit: int) -> list[dict[str, Any]]:
    """Return what SuiteQL answers.

    Raises:
        ConnectorError: it does not, or the role may not ask.
    """
    judged = client.call(
        "POST",
        SUITEQL,
        params={"limit": str(limit)},
        headers={**SENT_JSON, "Prefer": "transient"},
        content=exact_json.dumps({"q": question}).encode(),
        safe=True,
    )
    found = read(judged).get("items")
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise judged.answer.unusable(Unusable.NOT_AS_EXPECTED)
    return found


def read(judged: Judged) -> dict[str, Any]:
    """Return the object that an answer holds, which has to be there.

    Raises:
        AuthenticationFailed: there is nothing at this address.
        TemporaryError: it is no object.
    """
    if judged.is_missing:
        raise AuthenticationFailed(Code.ENDPOINT_UNUSABLE, host=judged.answer.host, status=judged.answer.status)
    body = judged.json()
    if not isinstance(body, dict):
        raise judged.answer.unusable(Unusable.NOT_AS_EXPECTED)
    return body


def account_at(address: str | None) -> str | None:
    """Return the account that an address of NetSuite belongs to; None for any other."""
    named = re.fullmatch(r"([0-9a-z-]+)\.suitetalk\.api\.netsuite\.com", urlsplit(address or "").hostname or "")
    return named[1].upper().replace("-", "_") if named else None


def environment_of(account: str) -> str:
    """Return what kind of account it is, which its id tells."""
    if re.search("_SB[0-9]*$", account):
        return "sandbox"
    if account.endswith("_RP"):
        return "release preview"
    return "test drive" if account.startswith("TSTDRV") else "production"


def last_part(address: str | None) -> str | None:
    """Return the end of an address, which is the internal id of a record."""
    return urlsplit(address or "").path.rstrip("/").rpartition("/")[2] or None
