"""A stand-in for HashiCorp Vault, written from its documentation: two calls of the transit engine and its refusals."""

from __future__ import annotations

import base64
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class TransitStandIn:
    """https://developer.hashicorp.com/vault/api-docs/secret/transit on loopback, with one key."""

    token = "hvs.canary-token-5b1"

    def __init__(self, key: str = "erp-connector") -> None:
        self.key = key
        self.sealed = False
        self.answer: bytes | None = None
        """What to say instead of what Vault would."""
        self.seen: list[dict[str, str]] = []
        """The headers of each request."""
        self._cipher = AESGCM(os.urandom(32))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"vault": self}))
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def encrypt(self, plaintext: bytes) -> str:
        """Return what `vault write transit/encrypt/…` prints."""
        iv = os.urandom(12)
        return "vault:v1:" + base64.b64encode(iv + self._cipher.encrypt(iv, plaintext, None)).decode()

    def handle(self, path: str, token: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return status and body of an answer."""
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if token != self.token:
            return 403, {"errors": ["permission denied"]}
        if path == f"/v1/transit/datakey/wrapped/{self.key}":
            return 200, {"data": {"ciphertext": self.encrypt(os.urandom(body["bits"] // 8)), "key_version": 1}}
        if path != f"/v1/transit/decrypt/{self.key}":
            return 404, {"errors": []}
        try:
            blob = base64.b64decode(body["ciphertext"].removeprefix("vault:v1:"))
            plaintext = self._cipher.decrypt(blob[:12], blob[12:], None)
        except (ValueError, InvalidTag):
            return 400, {"errors": ["invalid ciphertext: unable to decrypt"]}
        return 200, {"data": {"plaintext": base64.b64encode(plaintext).decode()}}


class _Handler(BaseHTTPRequestHandler):
    vault: TransitStandIn

    def do_POST(self) -> None:
        self.vault.seen.append(dict(self.headers.items()))
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status, answer = self.vault.handle(self.path, self.headers.get("X-Vault-Token", ""), body)
        content = json.dumps(answer).encode() if self.vault.answer is None else self.vault.answer
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Write nothing."""
