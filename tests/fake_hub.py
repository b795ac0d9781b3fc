"""A local server that answers huggingface_hub like the Hub, and a released model."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import torch
import yaml
from torch import nn

from tests.local.server import listening
from tests.preloaded import environment

REPOSITORY = "someone/a-model"
TOKEN = "hf_abc"  # may write
READ_TOKEN = "hf_def"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class FakeHub(ThreadingHTTPServer):
    """A Hub with one repository, whose branch main changes with its files.

    Before a push creates the repository, ``exists`` is False.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.commits: dict[str, dict[str, bytes]] = {}
        # Status and error code of the answers to requests whose path contains the key.
        self.refuse: dict[str, tuple[int, str]] = {}
        self.exists, self.private = True, False
        self.asked: list[str] = []  # method and path of every request

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def commit(self) -> str:
        listed = json.dumps({name: sha256(data) for name, data in self.files.items()})
        return hashlib.sha1(listed.encode()).hexdigest()

    def serve_folder(self, folder: Path) -> None:
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        self.serve({str(path.relative_to(folder)): path.read_bytes() for path in paths})

    def serve(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.commits[self.commit] = files

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """Return an environment with this Hub only, and with a cache in ``home``."""
        kept = {name: value for name, value in environment().items() if not name.startswith("HF_")}
        own = {"HF_ENDPOINT": self.address, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        own["HF_HUB_DISABLE_XET"] = "1"  # this protocol needs another server
        return {**kept, **own, **more}


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    with listening(hub):
        yield hub


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub

    def log_message(self, *_: object) -> None:
        pass

    def _begin(self) -> str | None:
        """Return the path of the request; None if it has been refused."""
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        for text, (status, code) in self.server.refuse.items():
            if text in path:
                self._error(status, code)
                return None
        return path

    def do_GET(self) -> None:
        hub, path = self.server, self._begin()
        if path is None:
            return
        kind, _, rest = path.removeprefix("/api/models").partition(REPOSITORY)
        if kind != "/" or not hub.exists:
            self._error(401, "RepoNotFound")
            return
        what, revision, *parts = (rest or "/revision/main").strip("/").split("/")
        commit, name = hub.commit if revision == "main" else revision, "/".join(parts)
        files = hub.files if commit == hub.commit else hub.commits[commit]
        if what == "revision":
            siblings = [{"rfilename": file} for file in files]
            about = {"id": REPOSITORY, "sha": commit, "private": hub.private}
            self._json({**about, "siblings": siblings})
        elif what == "tree":  # recursive, as snapshot_download asks for it
            entries = {"type": "file", "oid": "0" * 40}
            self._json([{**entries, "path": n, "size": len(d)} for n, d in files.items()])
        else:
            # The Hub, too, names large files by their SHA-256.
            large = name.endswith((".pt", ".safetensors"))
            tag = sha256(files[name]) if large else hashlib.sha1(files[name]).hexdigest()
            self._answer(200, files[name], {"ETag": f'"{tag}"', "X-Repo-Commit": commit})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        hub, path = self.server, self._begin()
        if path is None:
            return
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        if path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif token != TOKEN:
            self._error(403 if token == READ_TOKEN else 401, "")
        elif path == "/api/repos/create":
            status = 409 if hub.exists else 200
            if not hub.exists:  # before the answer, after which the client asks again
                hub.exists, hub.private = True, "private" in json.loads(body).values()
            self._json({"url": f"{hub.address}/{REPOSITORY}"}, status)
        elif path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(body)["files"]]
            mode = {"uploadMode": "regular", "shouldIgnore": False}
            self._json({"files": [{"path": name, **mode} for name in names]})
        else:
            self._commit([json.loads(line) for line in body.splitlines()])

    def _commit(self, lines: list[dict]) -> None:
        hub, files = self.server, dict(self.server.files)
        header, *changes = ((line["key"], line["value"]) for line in lines)
        assert header[1]["parentCommit"] == hub.commit
        for kind, value in changes:
            if kind == "deletedFile":
                del files[value["path"]]
            else:
                files[value["path"]] = base64.b64decode(value["content"])
        hub.serve(files)
        address = f"{hub.address}/{REPOSITORY}/commit/{hub.commit}"
        self._json({"commitUrl": address, "commitOid": hub.commit})

    def _json(self, content: object, status: int = 200) -> None:
        self._answer(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str) -> None:
        self._answer(status, b"", {"X-Error-Code": code, "X-Error-Message": code})

    def _answer(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


# As WeSpeaker's train.py writes it, in the layout of the challenge's baseline.
CONFIG = """
dataset_args:
  cmvn: true
  cmvn_args: {norm_mean: true, norm_var: false}
  fbank_args: {dither: 1.0, frame_length: 25, frame_shift: 10, num_mel_bins: 80}
  frontend: fbank
  resample_rate: 16000
model: SimAM_ResNet34_ASP
projection_args: {easy_margin: false, project_type: arc_margin, scale: 32.0, num_class: 7}
"""


def published_config(in_planes: int, embed_dim: int) -> dict:
    """Return the config.yaml of a network of this size."""
    arguments = {"acoustic_dim": 80, "embed_dim": embed_dim, "in_planes": in_planes}
    return yaml.safe_load(CONFIG) | {"model_args": arguments}


def write_release(folder: Path, model: nn.Module, in_planes: int, embed_dim: int) -> Path:
    """Write models/avg_model.pt, with the weights of its classifier, and config.yaml."""
    (folder / "models").mkdir(parents=True)
    state = {**model.state_dict(), "projection.weight": torch.zeros(7, embed_dim)}
    torch.save(state, folder / "models" / "avg_model.pt")
    (folder / "config.yaml").write_text(yaml.dump(published_config(in_planes, embed_dim)))
    return folder
