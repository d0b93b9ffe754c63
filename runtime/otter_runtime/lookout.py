"""Serves `/healthz`, `/readyz` and `/metrics` over HTTP, on this machine alone.

It has threads of its own and never waits for the front, nor the front for it. It does not know what
the words mean that it serves.
"""

from __future__ import annotations

import errno
import json
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from otter_robots.endpoints import is_loopback
from otter_runtime.errors import AddressRefused, PortInUse

PATIENCE_S = 5.0  # for a request to be complete
POLL_S = 0.1  # how soon it notices that it was closed
TEXT = "text/plain; version=0.0.4; charset=utf-8"

Why = Callable[[], list[str]]
Page = tuple[HTTPStatus, str, bytes]  # code, content type, body


class Lookout:
    """Listens at `address`, `127.0.0.1:9464` say, until it is closed.

    `dead` and `unready` give reasons, none where all is well. Raises AddressRefused for an address
    beyond this machine, PortInUse.
    """

    def __init__(self, address: str, dead: Why, unready: Why, metrics: Callable[[], bytes]) -> None:
        pages: dict[str, Callable[[], Page]] = {
            "/healthz": lambda: _verdict("alive", dead()),
            "/readyz": lambda: _verdict("ready", unready()),
            "/metrics": lambda: (HTTPStatus.OK, TEXT, metrics()),
        }

        class Handler(BaseHTTPRequestHandler):
            timeout = PATIENCE_S
            server_version, sys_version = "otter-edge", ""

            def do_GET(self) -> None:
                page = pages.get(self.path.partition("?")[0])
                if page is None:
                    self.send_error(HTTPStatus.NOT_FOUND, f"there is {', '.join(pages)}")
                    return
                code, kind, body = page()
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing: a probe a second is no news."""

        try:
            self._server = _Server(parsed(address), Handler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(f"http://{address}") from error
            raise AddressRefused(
                f"health.address {address} cannot be listened at ({error.strerror}); give "
                "127.0.0.1 and a port above 1023"
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_S,), name="lookout", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens; another one than asked for where that was 0."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    block_on_close = False
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a prober that leaves early is its own affair."""


def parsed(address: str) -> tuple[str, int]:
    """Host and port; raises AddressRefused unless the host is this machine."""
    host, _, port = address.rpartition(":")
    if ":" in host or not is_loopback(host):
        raise AddressRefused(
            f"health.address {address} is not on this machine, and what it serves asks nobody for "
            "a key; give 127.0.0.1:port"
        )
    if not (port.isdecimal() and int(port) < 65536):
        raise AddressRefused(f"health.address {address} needs a port after the colon")
    return host, int(port)


def _verdict(well: str, reasons: list[str]) -> Page:
    code = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    body = {well: not reasons, "reasons": reasons}
    return code, "application/json", json.dumps(body).encode() + b"\n"
