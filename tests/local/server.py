"""A server on this machine for tests of downloads, with the faults of real ones."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Server:
    """Contents of a server and how it behaves.

    Attributes:
        files: contents by path.
        ranges: whether parts can be asked for.
        drop_after: bytes after which the connection is dropped, one request after the other.
        failures: statuses that are answered first, one request after the other.
        after_drop: replaces ``files`` when a connection was dropped.
        headers: headers of the requests, in order.
    """

    files: dict[str, bytes]
    ranges: bool = True
    kind: str = "application/octet-stream"
    drop_after: list[int] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    after_drop: dict[str, bytes] | None = None
    headers: list[dict[str, str]] = field(default_factory=list)
    url: str = ""

    def starts(self) -> list[str | None]:
        """The range that each request asked for."""
        return [headers.get("Range") for headers in self.headers]


@contextmanager
def serving(**settings: object) -> Iterator[Server]:
    """A server with these settings, at ``url``, until the block ends."""
    state = Server(**settings)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, state)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(request: BaseHTTPRequestHandler, state: Server) -> None:
    state.headers.append(dict(request.headers))
    if state.failures:
        request.send_error(state.failures.pop(0))
        return
    body = state.files.get(request.path.lstrip("/"))
    if body is None:
        request.send_error(404)
        return
    wanted = request.headers.get("Range")
    first = 0
    if wanted and state.ranges:
        first = int(wanted.removeprefix("bytes=").rstrip("-"))
        if first >= len(body):
            request.send_error(416)
            return
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
    else:
        request.send_response(200)
    request.send_header("Content-Type", state.kind)
    request.send_header("Content-Length", str(len(body) - first))
    request.end_headers()
    if state.drop_after:
        request.wfile.write(body[first : first + state.drop_after.pop(0)])
        request.close_connection = True
        if state.after_drop is not None:
            state.files = state.after_drop
    else:
        request.wfile.write(body[first:])
