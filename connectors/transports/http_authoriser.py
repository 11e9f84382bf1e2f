"""What identifies us with each request, whatever kind of credentials it is made of."""

from __future__ import annotations

from connectors.port import Context


class Authoriser:
    """What is sent with each request so that the far end knows us. This one sends nothing."""

    def headers(self, context: Context) -> dict[str, str]:  # noqa: ARG002  # for those that ask
        """Return the headers of a request; may ask another server for them first."""
        return {}

    def params(self) -> dict[str, str]:
        """Return what is added to the query."""
        return {}

    def signature(self, method: str, url: str, context: Context) -> dict[str, str]:  # noqa: ARG002  # as above
        """Return the headers that are made for one request only.

        Args:
            method: of the request.
            url: its whole address, query included, as it is sent.
            context: whose clock counts.
        """
        return {}

    def renew(self, context: Context) -> bool:  # noqa: ARG002  # as above
        """Get other credentials after a 401; return whether there are any, so that it is worth another try."""
        return False


class Fixed(Authoriser):
    """Headers and query parameters that stay the same."""

    def __init__(self, headers: dict[str, str] | None = None, params: dict[str, str] | None = None) -> None:
        self._headers, self._params = headers or {}, params or {}

    def headers(self, context: Context) -> dict[str, str]:  # noqa: ARG002  # for those that ask
        """Return them."""
        return self._headers

    def params(self) -> dict[str, str]:
        """Return them."""
        return self._params
