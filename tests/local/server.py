"""A server on this machine for tests of downloads, with the faults of real ones."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Server:
    """Contents of a server, by path, and how it behaves."""

    files: dict[str, bytes]
    ranges: bool = True
    kind: str = "application/octet-stream"
    drop_after: list[int] = field(default_factory=list)  # bytes, one request after the other
    failures: list[int] = field(default_factory=list)  # statuses that are answered first
    starts: list[str | None] = field(default_factory=list)  # the range that each request asked for
    headers: dict[str, str | None] = field(default_factory=dict)  # None leaves one out
    url: str = ""


@contextmanager
def listening(server: ThreadingHTTPServer) -> Iterator[str]:
    """Answer requests at the address until the block ends."""
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serving(**settings: object) -> Iterator[Server]:
    """A server with these settings, at ``url``, until the block ends."""
    state = Server(**settings)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.starts.append(wanted)
            body = state.files.get(self.path.lstrip("/"), b"")
            first = int(wanted[6:-1]) if wanted and state.ranges else 0
            status = 206 if first else 200
            if first >= len(body):
                status = 416 if body else 404
            if state.failures:
                status = state.failures.pop(0)
            if status >= 400:
                return self.send_error(status)
            self.send_response(302 if "Location" in state.headers else status)
            length = str(len(body) - first)
            headers = {"Content-Type": state.kind, "Content-Length": length, **state.headers}
            for name, value in headers.items():
                if value is not None:
                    self.send_header(name, value)
            self.end_headers()
            last = first + state.drop_after.pop(0) if state.drop_after else None
            with suppress(OSError):  # the client has seen enough
                self.wfile.write(body[first:last])

        def log_message(self, *arguments: object) -> None:
            pass

    with listening(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as state.url:
        yield state
