"""Lines to the far ends: a login outlives its turn, so that the next one finds it open.

At most one line of a connection lies idle in each process. It is dropped when it has been idle for long, when the
configuration has another revision, and whenever anything went wrong on it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Final
from uuid import UUID

import structlog

from connectors.exceptions import ConnectorError
from connectors.models import ERPConnection
from connectors.order import Order
from connectors.port import Delivery, ExportContext, ExportSession
from connectors.results import ExportResult
from connectors.services import configurations

log = structlog.get_logger(__name__)

IDLE_SECONDS: Final = 30.0
"""How long an unused login is kept; servers commonly end one after a few minutes."""

FRESH_SECONDS: Final = 2.0
"""A login that was used so lately is not asked whether it still works."""


class Line:
    """A connection that is ready for use, and its session while that lasts."""

    def __init__(self, connection: ERPConnection) -> None:
        """Read the configuration.

        Raises:
            EncryptionError, ConfigurationError, UnknownConnector: the connection cannot be used.
        """
        self.connection = connection
        self.connector, self.config = configurations.load(connection)
        self.used_at = time.monotonic()
        self._session: ExportSession | None = None
        self._login = ExitStack()

    @property
    def is_open(self) -> bool:
        """Whether there is a session to keep."""
        return self._session is not None

    def connect(self, context: ExportContext) -> None:
        """Log in, unless a login is open and still works."""
        if self._session is not None and time.monotonic() - self.used_at > FRESH_SECONDS:
            try:
                self._session.check()
            except ConnectorError:
                self.hang_up()
        if self._session is None:
            self._session = self._open(context)

    def find(self, order: Order, context: ExportContext) -> ExportResult | None:
        """Look an export up; see `ERPConnectorPort.find_export`."""
        assert self._session is not None
        if type(self._session).find is ExportSession.find:
            return self.connector.find_export(order, self.config, context)
        return self._session.find(order, context)

    @property
    def room(self) -> int:
        """How many exports to claim at once: a window of them, and the next one to prepare meanwhile.

        What goes one by one, and what nobody could look up again, is claimed one by one.
        """
        session, window = self._session, self.connection.window
        goes_one_by_one = window == 1 or session is None or type(session).export_many is ExportSession.export_many
        return 1 if goes_one_by_one or not self.connector.supports_find_export else 2 * window

    def send(self, exports: Iterable[tuple[Order, ExportContext]], *, window: int) -> Iterator[Delivery]:
        """Deliver orders; see `ExportSession.export_many`."""
        assert self._session is not None
        return self._session.export_many(exports, window=window)

    def cut(self) -> None:
        """Break the session off, from another thread: what is under way on it ends with an error."""
        if (session := self._session) is not None:
            session.cut()

    def hang_up(self) -> None:
        """End the session; the next export logs in anew."""
        self._session = None
        try:
            self._login.close()
        except Exception as error:  # whatever an adapter raises here, the exports are settled already
            log.warning("connection.hang_up_failed", connection_id=str(self.connection.pk), error=type(error).__name__)

    def _open(self, context: ExportContext) -> ExportSession:
        if not self.connector.supports_session:
            return _OneByOne(lambda order, each: self.connector.export(order, self.config, each))
        session = self._login.enter_context(self.connector.open_session(self.config, context))
        return session if isinstance(session, ExportSession) else _OneByOne(session.export)


class _OneByOne(ExportSession):
    """What stands for a session where each export logs in on its own, or where a session knows only `export`."""

    def __init__(self, export: Callable[[Order, ExportContext], ExportResult]) -> None:
        self._export = export

    def export(self, order: Order, context: ExportContext) -> ExportResult:
        return self._export(order, context)


class Lines:
    """The idle lines of this process. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[UUID, Line] = {}
        self._reaper: threading.Timer | None = None

    def take(self, connection: ERPConnection) -> Line:
        """Return a line for the sole use of the caller, who gives it back.

        Raises:
            EncryptionError, ConfigurationError, UnknownConnector: the connection cannot be used.
        """
        with self._lock:
            line = self._idle.pop(connection.pk, None)
        if line is not None and line.connection.revision == connection.revision:
            line.connection = connection
            return line
        if line is not None:
            line.hang_up()
        return Line(connection)

    def give_back(self, line: Line) -> None:
        """Keep a line for the next turn if it is open."""
        if not line.is_open:
            return
        line.used_at = time.monotonic()
        with self._lock:
            replaced = self._idle.pop(line.connection.pk, None)
            self._idle[line.connection.pk] = line
            self._watch()
        if replaced is not None:
            replaced.hang_up()

    def close(self, *, idle_for: float = 0.0) -> None:
        """Hang up the lines that were not used for so many seconds."""
        until = time.monotonic() - idle_for
        with self._lock:
            old = [line for line in self._idle.values() if line.used_at <= until]
            for line in old:
                del self._idle[line.connection.pk]
            if self._reaper is not None and not self._idle:
                self._reaper.cancel()
                self._reaper = None
        for line in old:
            line.hang_up()

    def _watch(self) -> None:
        if self._reaper is None:
            self._reaper = threading.Timer(IDLE_SECONDS, self._reap)
            self._reaper.daemon = True
            self._reaper.start()

    def _reap(self) -> None:
        self.close(idle_for=IDLE_SECONDS)
        with self._lock:
            self._reaper = None
            if self._idle:
                self._watch()


lines: Final = Lines()
"""Those of this process."""
