"""The uploads of the local Hub (see ``fake_hub``)."""

import base64
import hashlib
import json
from urllib.parse import urlsplit

REPOSITORY = "someone/a-model"
TOKEN = "hf_abc"  # may write
READ_TOKEN = "hf_def"
LARGE = (".pt", ".safetensors")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _mode(name: str) -> dict:
    """Return how a client has to send a file."""
    mode = "lfs" if name.endswith(LARGE) else "regular"
    return {"path": name, "uploadMode": mode, "shouldIgnore": False}


class Uploads:
    """Request handler for uploads: large files by LFS, then a commit."""

    def do_PUT(self) -> None:
        """Receive a large file."""
        data = self._body()
        self.server.asked.append(f"PUT {self.path}")
        # The storage of the Hub refuses other content than was announced, too.
        if self.path != f"/upload/{sha256(data)}":
            self._error(400, "BadDigest")
            return
        self.server.uploaded[sha256(data)] = data
        self._json({})

    def do_POST(self) -> None:
        hub, path, body = self.server, urlsplit(self.path).path, self._body()
        hub.asked.append(f"POST {path}")
        token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        if token not in (TOKEN, READ_TOKEN):
            self._error(401, "")
        elif hub.refuse:
            self._error(*hub.refuse)
        elif path == "/api/validate-yaml":
            found = [{"message": mistake} for mistake in hub.mistakes]
            self._json({"errors": found, "warnings": []}, 400 if found else 200)
        elif token == READ_TOKEN:
            self._error(403, "")
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == f"/api/models/{REPOSITORY}/preupload/main":
            self._json({"files": [_mode(file["path"]) for file in json.loads(body)["files"]]})
        elif path == f"/{REPOSITORY}.git/info/lfs/objects/batch":
            self._json({"objects": [self._upload_of(one) for one in json.loads(body)["objects"]]})
        elif path == f"/api/models/{REPOSITORY}/commit/main":
            self._commit([json.loads(line) for line in body.splitlines()])
        else:
            self._error(404, "RepoNotFound")

    def _create(self, asked: dict) -> None:
        hub = self.server
        name = f"{asked['organization']}/{asked['name']}"
        if name != REPOSITORY:
            self._error(403, "")
            return
        status = 409 if hub.exists else 200
        if not hub.exists:
            # The key depends on the version of huggingface_hub.
            hub.private = asked.get("visibility") == "private" or asked.get("private") is True
            hub.exists = True
        self._json({"url": f"{hub.address}/{name}"}, status)

    def _upload_of(self, asked: dict) -> dict:
        """Return the address for a large file; none if its content is known."""
        if asked["oid"] in self.server.uploaded:
            return asked
        upload = {"href": f"{self.server.address}/upload/{asked['oid']}"}
        return {**asked, "actions": {"upload": upload}}

    def _commit(self, lines: list[dict]) -> None:
        hub, files = self.server, dict(self.server.files)
        header, *changes = ((line["key"], line["value"]) for line in lines)
        if hub.moves or header[1].get("parentCommit") not in (None, hub.commit):
            hub.moves -= 1
            self._error(412, "")
            return
        for kind, value in changes:
            if kind == "deletedFile":
                del files[value["path"]]
            elif kind == "lfsFile":
                files[value["path"]] = hub.uploaded[value["oid"]]
            else:
                files[value["path"]] = base64.b64decode(value["content"])
        hub.files = files
        hub.commits[hub.commit] = files
        hub.messages.append(header[1]["summary"])
        address = f"{hub.address}/{REPOSITORY}/commit/{hub.commit}"
        self._json({"commitUrl": address, "commitOid": hub.commit})

    def _body(self) -> bytes:
        if self.headers["Transfer-Encoding"] != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"] or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)
