"""Download from and upload to the Hugging Face Hub, with huggingface_hub and its cache."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub as hub
from huggingface_hub import constants
from huggingface_hub.utils import HfHubHTTPError, LocalEntryNotFoundError, disable_progress_bars

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import sha256
from tidyvoice.model_files import INNER, MODEL_FILES

# In any folder of the repository, because ``model_files.model_in`` chooses among them.
WANTED = (*MODEL_FILES, *(f"*/{name}" for name in MODEL_FILES))
SHA256 = re.compile(r"[0-9a-f]{64}")
FIXES = {
    401: "check the name, and set HF_TOKEN if the repository is private",
    403: "check that HF_TOKEN has access, and accept the conditions of the repository",
    404: "check the names of the repository and of the revision",
    412: "somebody else changed the repository at the same time, so run the command again",
}


def download(repository: str, revision: str) -> Path:
    """Download the files of a model into the cache, if they are not there yet; return their folder.

    Its name is the commit that ``revision``, a commit, tag or branch, stands for.
    """
    with _one_line(f"{repository} at {revision}"):
        folder = Path(hub.snapshot_download(repository, revision=revision, allow_patterns=WANTED))
    for path in folder.rglob("*"):
        # The cache keeps a large file under its SHA-256, which reveals damage.
        blob = path.resolve()
        if SHA256.fullmatch(blob.name) and sha256(blob) != blob.name:
            raise TidyVoiceError(f"{blob} is damaged: delete it and run the command again")
    return folder


def require_token() -> None:
    """Check that an upload is possible, before anything is computed for it."""
    if constants.HF_HUB_OFFLINE or not hub.get_token():
        fix = "set HF_TOKEN to one with write access and unset HF_HUB_OFFLINE, or give --out FOLDER"
        raise TidyVoiceError(f"a push needs the network and a token: {fix}")


def upload(repository: str, folder: Path, private: bool = False) -> dict[str, Any]:
    """Push a model folder in one commit; create the repository if it does not exist.

    The same commit deletes all other files of a model from the repository, which would be taken for
    those of this one. ``private`` refuses a public repository.
    """
    api, page = hub.HfApi(), f"{constants.ENDPOINT}/{repository}"
    with _one_line(repository):
        # Without the argument the settings of the account decide.
        api.create_repo(repository, exist_ok=True, **({"private": True} if private else {}))
        info = api.model_info(repository)
        if private and not info.private:
            fix = f"make it private at {page}/settings, or leave out --private"
            raise TidyVoiceError(f"{repository} is public: {fix}")
        new = sorted(path for path in folder.iterdir() if path.is_file())
        others = {file.rfilename for file in info.siblings or ()} - {path.name for path in new}
        old = [name for name in sorted(others) if name.removeprefix(f"{INNER}/") in MODEL_FILES]
        changes = [hub.CommitOperationAdd(path.name, path) for path in new]
        changes += [hub.CommitOperationDelete(name) for name in old]
        about = {"commit_message": "Model, settings and card", "parent_commit": info.sha}
        commit = api.create_commit(repository, changes, **about)
    return {"url": page, "commit": commit.oid, "private": bool(info.private)}


@contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Turn the errors of huggingface_hub into one line about ``what``."""
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        yield
    except TidyVoiceError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise TidyVoiceError(f"{what}: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    """Say why a request failed, and what to do."""
    place = constants.ENDPOINT
    if isinstance(error, LocalEntryNotFoundError):
        if constants.HF_HUB_OFFLINE:
            cache = constants.HF_HUB_CACHE
            return f"not in the cache {cache}, and HF_HUB_OFFLINE forbids downloads: unset it"
        error = error.__cause__ or error
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        message = f" ({error.server_message})" if error.server_message else ""
        return f"HTTP status {status} from {place}{message}; {FIXES.get(status, 'try again later')}"
    text = " ".join(str(error).split())
    if isinstance(error, ValueError):
        return f"rejected: {text}"
    # huggingface_hub passes on errors of its HTTP client, whose types depend on its version.
    fix = "check the network and run the command again, or check the name of a folder"
    return f"{place} ({type(error).__name__}: {text}): {fix}"
