"""A page on this machine where a person rates answers; it serves nobody else.

It knows HTTP and who may speak to it; it does not know what is rated. Its address has a random part
that only the user was told, and it listens to the page that it served alone: another page in the
same browser has another origin, and a foreign name that leads here is no name of ours.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec

from otter_runtime.compare.ballot import Ballots, Cast, Shown
from otter_runtime.errors import AddressRefused
from otter_runtime.pages.document import STYLE

HOST = "127.0.0.1"
PATIENCE_S = 30.0  # for a request to be complete
POLL_S = 0.1  # how soon it notices that it was closed
LONGEST = 1024  # bytes of a vote
HERE = Path(__file__).parent
FILES = {
    "": (HERE / "booth.html", "text/html; charset=utf-8"),
    "style.css": (STYLE, "text/css; charset=utf-8"),
    "booth.css": (HERE / "booth.css", "text/css; charset=utf-8"),
    "booth.js": (HERE / "booth.js", "text/javascript; charset=utf-8"),
}
Page = tuple[str, bytes]  # content type, body
JSON, JPEG = "application/json", "image/jpeg"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Refused(Exception):
    """A request that gets a code and a sentence instead of what it asks for."""

    def __init__(self, code: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


class Booth:
    """Serves `ballots` at `url` until it is closed; `finished` is set by who rated.

    Raises AddressRefused where the port cannot be had.
    """

    def __init__(self, ballots: Ballots, port: int = 0) -> None:
        self.finished = threading.Event()
        self._token = secrets.token_urlsafe(16)
        try:
            self._server = _Server((HOST, port), _handler(ballots, self._token, self.finished))
        except (OSError, OverflowError) as error:
            raise AddressRefused(
                f"port {port} cannot be listened at ({error}); give another --port"
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_S,), name="booth", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where to look, with the part that nobody can guess."""
        return f"http://{HOST}:{self._server.server_address[1]}/{self._token}/"

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a browser that leaves early is its own affair."""


def _handler(
    ballots: Ballots, token: str, finished: threading.Event
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = PATIENCE_S
        server_version, sys_version = "otter-edge", ""

        def do_GET(self) -> None:
            self._answer(lambda: _get(self._wanted(), ballots))

        def do_POST(self) -> None:
            self._answer(self._post)

        def _answer(self, page: Callable[[], Page]) -> None:
            try:
                code, (kind, body) = HTTPStatus.OK, page()
            except Refused as refused:
                code, kind = refused.code, JSON
                body = msgspec.json.encode({"detail": refused.detail})
                self.close_connection = True  # what it sent was maybe not read
            self.send_response(code)
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _post(self) -> Page:
            wanted = self._wanted()
            origin = f"http://{self.headers.get('Host')}"
            if self.headers.get("Origin") != origin:
                raise Refused(HTTPStatus.FORBIDDEN, "votes come from the page that was served")
            if self.headers.get_content_type() != JSON:
                raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a vote is {JSON}")
            body = self._body()
            if wanted == "finish":
                finished.set()
                return JSON, b"{}"
            if wanted == "vote":
                return _json(_cast(body, ballots))
            raise Refused(HTTPStatus.NOT_FOUND, f"there is no {wanted}")

        def _wanted(self) -> str:
            """The path behind the token. Raises Refused for whoever should not be here."""
            port = self.connection.getsockname()[1]
            if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
                raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "this is no host of that name")
            first, slash, rest = self.path.removeprefix("/").partition("/")
            if not slash or not hmac.compare_digest(first.encode(), token.encode()):
                raise Refused(HTTPStatus.NOT_FOUND, "use the address that otter-edge printed")
            return rest

        def _body(self) -> bytes:
            length = self.headers.get("Content-Length", "")
            if not (length.isascii() and length.isdecimal()):
                raise Refused(HTTPStatus.LENGTH_REQUIRED, "a vote says how long it is")
            if int(length) > LONGEST:
                raise Refused(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a vote has at most {LONGEST} bytes"
                )
            return self.rfile.read(int(length))

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing: the votes are the log."""

    return Handler


def _get(wanted: str, ballots: Ballots) -> Page:
    if wanted in FILES:
        path, kind = FILES[wanted]
        return kind, path.read_bytes()
    what, _, which = wanted.partition("/")
    if what == "pair" and which == "next":
        return _json(ballots.next())
    number = _number(which, len(ballots.pairs))
    if what == "pair" and number is not None:
        return _json(ballots.shown(number))
    picture = ballots.picture(number) if what == "picture" and number is not None else None
    if picture is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such thing here")
    return JPEG, picture


def _number(text: str, pairs: int) -> int | None:
    """A number in an address; `last` is the last pair."""
    if text == "last":
        return pairs - 1
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _cast(body: bytes, ballots: Ballots) -> Shown | None:
    try:
        cast = msgspec.json.decode(body, type=Cast)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f"that is no vote ({error})") from error
    try:
        return ballots.cast(cast)
    except OSError as error:
        detail = f"the vote cannot be saved ({error.strerror})"
        raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR, detail) from error


def _json(shown: Shown | None) -> Page:
    if shown is None:
        raise Refused(HTTPStatus.NOT_FOUND, "there is no such pair")
    return JSON, msgspec.json.encode(shown)
