"""AS2 as a way for the documents of a drop connector (RFC 4130): one POST, and a signed receipt that proves arrival.

    class AcmeConfig(AcmeFields, DropOrAs2Config): ...
    class AcmeConnector(DropOrAs2Connector[AcmeConfig]): ...        # render and answer_files, as for folders

A receipt proves that an order arrived, never that it was accepted: that is said by the answers, which come as messages
of the partner or through other channels. After an outcome that nobody knows the same message is sent again only where
the partner recognises its Message-ID.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final, TypeVar

from connectors.codes import Code
from connectors.exceptions import (
    AuthenticationFailed,
    ConnectorError,
    OutcomeUnknown,
    RejectedByERP,
    TemporaryError,
)
from connectors.order import Order
from connectors.port import Context, ExportContext, ExportSession, Guarantee
from connectors.results import (
    Acknowledgement,
    Document,
    ExportResult,
    Inbound,
    Receipt,
    RemoteIdentity,
    Reply,
    Settlement,
    TestResult,
)
from connectors.transports import as2_diagnosis, as2_inbound, as2_mdn
from connectors.transports.as2_config import DropOrAs2Config
from connectors.transports.as2_diagnosis import NO_ADDRESS
from connectors.transports.as2_mdn import Mdn, Meaning, Missing, ReceiptError
from connectors.transports.as2_message import Message, possible_contents, write
from connectors.transports.as2_mime import Entity
from connectors.transports.drop_connector import DropConnector
from connectors.transports.http import HttpSession, open_session
from connectors.transports.http_answers import Answer, Unusable
from connectors.transports.http_errors import Meaning as HttpMeaning
from connectors.transports.http_errors import judge, rule

_RULES: Final = (
    rule(413, HttpMeaning.REJECTED),
    rule((401, 403, 407), HttpMeaning.AUTHENTICATION),
    rule((408, 409, 425), HttpMeaning.UNKNOWN),
    rule(429, HttpMeaning.RATE_LIMITED),
    rule("4xx", HttpMeaning.CONFIGURATION),  # what is wrong with a message is said in a receipt
)

ConfigT = TypeVar("ConfigT", bound=DropOrAs2Config)


class DropOrAs2Connector(DropConnector[ConfigT]):
    """Brings each order into a folder or to the AS2 station of a partner, as the configuration says."""

    supports_receive: ClassVar[bool] = True

    def guarantee_of(self, config: ConfigT) -> Guarantee:
        if config.mode != "as2" or config.recognises_duplicates:
            return Guarantee.HARD
        return Guarantee.AT_MOST_ONCE

    def test_connection(self, config: ConfigT, context: Context) -> TestResult:
        if config.mode != "as2":
            return super().test_connection(config, context)
        return as2_diagnosis.run(config, context, self.try_out(config, context))

    def poll_acknowledgements(
        self, config: ConfigT, context: Context, settle: Callable[[Acknowledgement], Settlement]
    ) -> int:
        if config.mode != "as2":
            return super().poll_acknowledgements(config, context, settle)
        return 0  # they come by themselves

    def identify(self, config: ConfigT, context: Context) -> RemoteIdentity:
        return super().identify(config, context) if config.mode != "as2" else RemoteIdentity()

    def receive(
        self, message: Inbound, config: ConfigT, context: Context, settle: Callable[[Acknowledgement], Settlement]
    ) -> Reply:
        if config.mode != "as2":
            return super(DropConnector, self).receive(message, config, context, settle)
        return as2_inbound.take(message, config, context, settle, self.answers_to(config, context).read)

    @contextmanager
    def open_session(self, config: ConfigT, context: Context) -> Iterator[ExportSession]:
        if config.mode != "as2":
            with super().open_session(config, context) as session:
                yield session
            return
        with open_session(config.target(), context) as http:
            yield As2Session(self, config, http)


class As2Session(ExportSession):
    """One connection to a partner's station that takes many messages, one after the other."""

    def __init__(self, connector: DropOrAs2Connector[Any], config: DropOrAs2Config, http: HttpSession) -> None:
        self._connector, self._config, self._http = connector, config, http
        self._agreement = config.agreement()

    def export(self, order: Order, context: ExportContext) -> ExportResult:
        """Deliver one order; see `ERPConnectorPort.export`."""
        document = self._connector.document(order, self._config, context)
        with context.steps.step("pack"):
            message = self._message(document, context)
        with context.steps.step("deliver") as note:
            answer = self._post(message, context)
            meaning = self._judged(answer, message, document, context)
            note.detail = f"{message.message_id} {meaning or 'taken, the receipt follows'}"
        return ExportResult(
            receipt=Receipt(
                transport="as2",
                location=f"{self._config.as2_url} {message.message_id}",
                size=document.size,
                sha256=document.sha256,
                already_delivered=meaning is Meaning.DUPLICATE,
            ),
            warnings=self._connector.left_out(order, self._config),
        )

    def find(self, order: Order, context: ExportContext) -> ExportResult | None:  # noqa: ARG002  # the port's
        """Say whether the same message may be sent again: nobody can be asked what became of the first one."""
        if context.doubt is Code.RECEIPT_MISMATCH:
            raise OutcomeUnknown(Code.RECEIPT_MISMATCH, host=self._config.as2_to)
        if context.doubt is not None and not self._config.recognises_duplicates:
            raise OutcomeUnknown
        return None

    def cut(self) -> None:
        """Break off, called by another thread."""
        self._http.close()

    def _message(self, document: Document, context: ExportContext) -> Message:
        is_async = self._config.receipt == "async"
        if is_async and context.inbound_url is None:
            raise AuthenticationFailed(Code.UNSUPPORTED_FEATURE, feature=NO_ADDRESS)
        return write(
            document,
            self._config,
            self._agreement,
            export_id=context.export_id,
            created_at=context.created_at,
            now=context.clock.now(),
            receipts_to=context.inbound_url if is_async else None,
        )

    def _post(self, message: Message, context: ExportContext) -> Answer:
        login, password = self._config.username, self._config.password
        headers, hidden = dict(message.headers), ""
        if login is not None and password is not None:
            hidden = password.get_secret_value()
            headers["Authorization"] = f"Basic {base64.b64encode(f'{login}:{hidden}'.encode()).decode()}"
        answer = self._http.request("POST", "", headers=headers, content=message.body, context=context)
        judge(answer, _RULES, hidden=(hidden, headers.get("Authorization", "").rpartition(" ")[2]))
        return answer

    def _judged(self, answer: Answer, message: Message, document: Document, context: ExportContext) -> Meaning | None:
        """Return what the receipt in an answer says; None where it is to follow.

        Raises:
            ConnectorError: nothing is proven, or the partner says no.
        """
        entity = Entity(headers=dict(answer.headers), body=answer.content)
        if self._config.receipt == "async" and not as2_mdn.is_receipt(entity):
            if answer.content.lstrip()[:1] == b"<":  # a login page in the partner's place, and not a promise
                raise answer.unusable(Unusable.HTML)
            return None
        failure: ConnectorError
        try:
            mdn = as2_mdn.read(entity, believed=self._agreement.believed, at=context.clock.now())
            if mdn.original_message_id.strip(" <>") != message.message_id.strip("<>"):
                raise ReceiptError(Missing.OTHER_MESSAGE, mdn.said)
            check(mdn, document, self._config)
        except ReceiptError as error:
            said, host = error.said, self._config.as2_to
            failure = OutcomeUnknown(Code.RECEIPT_UNUSABLE, said=said, host=host, reason=error.reason)
        except ConnectorError as error:
            failure = error
        else:
            return mdn.meaning
        raise failure


def check(mdn: Mdn, document: Document, config: DropOrAs2Config) -> None:
    """Accept a receipt of a document only when it says that exactly this document arrived.

    Raises:
        ConnectorError: the partner says something else.
        ReceiptError: it says nothing.
    """
    host, said = config.as2_to, mdn.said
    match mdn.meaning:
        case Meaning.MISCONFIGURED:
            raise AuthenticationFailed(Code.MESSAGE_REFUSED, said=said, host=host, reason=mdn.refusal)
        case Meaning.FAILED:
            raise TemporaryError(Code.REMOTE_ERROR, said=said)
        case Meaning.REFUSED:
            raise RejectedByERP(said=said)
        case Meaning.DUPLICATE if not mdn.checksum:
            return
    if not mdn.confirms(possible_contents(document, config)):
        raise OutcomeUnknown(Code.RECEIPT_MISMATCH, said=said, host=host)
