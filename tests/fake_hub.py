"""A local server that answers the requests of huggingface_hub like the Hub."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fake_uploads import LARGE, REPOSITORY, Uploads, sha256
from tests.preloaded import environment


class FakeHub(ThreadingHTTPServer):
    """A Hub with one repository, whose branch main changes with its files.

    Attributes:
        files: current content by path. Names that end with ``LARGE`` are served from another
            address, as the Hub serves large files.
        refuse: status and error code of every answer about the repository.
        gated: True if its files can be listed, but not read.
        drops: how often a large file is cut in the middle.
        exists: False until a push creates the repository.
        private: True if a token is needed to see it.
        mistakes: messages of the validation of a card.
        moves: how many pushes conflict with one of somebody else.
        asked: method and path of every request.
        messages: of the pushed commits.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.commits: dict[str, dict[str, bytes]] = {}
        self.refuse: tuple[int, str] | None = None
        self.gated = False
        self.drops = 0
        self.exists = True
        self.private = False
        self.mistakes: list[str] = []
        self.moves = 0
        self.asked: list[str] = []
        self.messages: list[str] = []
        self.uploaded: dict[str, bytes] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def commit(self) -> str:
        listed = json.dumps({name: sha256(data) for name, data in self.files.items()})
        return hashlib.sha1(listed.encode()).hexdigest()

    def serve_folder(self, folder: Path) -> None:
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        self.files = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
        self.commits[self.commit] = dict(self.files)

    def at(self, revision: str) -> dict[str, bytes] | None:
        """Return the files of a revision."""
        return self.files if revision in ("main", self.commit) else self.commits.get(revision)

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """Return an environment with this Hub only, and with a cache in ``home``."""
        kept = {name: value for name, value in environment().items() if not name.startswith("HF_")}
        own = {"HF_ENDPOINT": self.address, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        # The protocol that replaces LFS needs another server.
        own["HF_HUB_DISABLE_XET"] = "1"
        return {**kept, **own, **more}


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    with FakeHub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(Uploads, BaseHTTPRequestHandler):
    server: FakeHub
    commit = ""

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._respond()

    def do_GET(self) -> None:
        self._respond()

    def _respond(self) -> None:
        hub, address = self.server, urlsplit(self.path)
        path = unquote(address.path)
        hub.asked.append(f"{self.command} {path}")
        if path.startswith("/cdn/"):
            data = next(data for data in hub.files.values() if path == f"/cdn/{sha256(data)}")
            self._content(data, may_drop=True)
            return
        kind, _, rest = path.removeprefix("/api/models").partition(REPOSITORY)
        known = hub.exists and (not hub.private or self.headers["Authorization"])
        if kind != "/" or hub.refuse or not known:
            self._error(*(hub.refuse or (401, "RepoNotFound")))
            return
        what, revision, *parts = (rest or "/revision/main").strip("/").split("/")
        name = "/".join(parts)
        files = hub.at(revision)
        self.commit = hub.commit if revision == "main" else revision
        if files is None:
            self._error(404, "RevisionNotFound")
        elif what == "revision":
            siblings = [{"rfilename": file} for file in files]
            about = {"id": REPOSITORY, "sha": self.commit, "private": hub.private}
            self._json({**about, "siblings": siblings})
        elif what == "tree":
            deep = parse_qs(address.query).get("recursive", ["false"])[0].lower() in ("true", "1")
            self._json(self._tree(files, PurePosixPath(name), deep))
        elif hub.gated:
            self._error(403, "GatedRepo")
        elif name not in files:
            self._error(404, "EntryNotFound")
        elif name.endswith(LARGE):
            data = files[name]
            checksum = sha256(data)
            linked = {"X-Linked-Etag": f'"{checksum}"', "X-Linked-Size": str(len(data))}
            # Another host, as on the Hub.
            elsewhere = hub.address.replace("127.0.0.1", "localhost")
            location = {"Location": f"{elsewhere}/cdn/{checksum}"}
            self._head(302, {**linked, **location, "Content-Length": "0"})
        else:
            self._content(files[name])

    def _tree(self, files: dict[str, bytes], below: PurePosixPath, deep: bool) -> list[dict]:
        """List the files and folders in a folder, with ``deep`` recursively."""
        paths = [PurePosixPath(name) for name in files]
        folders = {above for path in paths for above in path.parents if above.name}
        listed = [
            path
            for path in sorted({*paths, *folders})
            if (below in path.parents if deep else path.parent == below)
        ]
        return [
            {"type": "directory", "path": str(path), "size": 0, "oid": sha256(b"")[:40]}
            if path in folders
            else self._entry(str(path), files[str(path)])
            for path in listed
        ]

    def _entry(self, name: str, data: bytes) -> dict:
        oid = hashlib.sha1(data).hexdigest()
        entry = {"type": "file", "path": name, "size": len(data), "oid": oid}
        if name.endswith(LARGE):
            entry["lfs"] = {"oid": sha256(data), "size": len(data), "pointerSize": 130}
        return entry

    def _content(self, data: bytes, may_drop: bool = False) -> None:
        start = int((self.headers["Range"] or "bytes=0-").partition("=")[2].partition("-")[0])
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        part = data[start:]
        self._head(206 if start else 200, {**headers, "Content-Length": str(len(part))})
        if self.command == "HEAD":
            return
        if may_drop and self.server.drops:
            self.server.drops -= 1
            part = part[: len(data) // 2] if not start else b""
            self.close_connection = True
        self.wfile.write(part)

    def _json(self, content: object, status: int = 200) -> None:
        data = json.dumps(content).encode()
        self._head(status, {"Content-Type": "application/json", "Content-Length": str(len(data))})
        self.wfile.write(data)

    def _error(self, status: int, code: str) -> None:
        self._head(status, {"X-Error-Code": code, "X-Error-Message": code, "Content-Length": "0"})

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"X-Repo-Commit": self.commit, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
