"""Download from and upload to the Hugging Face Hub, with huggingface_hub and its cache.

The library's environment variables apply: HF_HOME for the cache, HF_TOKEN for private
repositories, HF_ENDPOINT for a mirror, HF_HUB_OFFLINE to forbid the network.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    constants,
    get_token,
    snapshot_download,
)
from huggingface_hub.utils import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    disable_progress_bars,
)

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import sha256
from tidyvoice.model_files import INNER, MODEL_FILES

# In any folder of the repository, because ``model_files.find_model`` chooses among them.
WANTED = (*MODEL_FILES, *(f"*/{name}" for name in MODEL_FILES))
SHA256 = re.compile(r"[0-9a-f]{64}")
FIXES = {
    401: "check HF_TOKEN",
    403: "check that HF_TOKEN has access",
    412: "somebody else changed the repository at the same time, so run the command again",
}


@dataclass(frozen=True)
class Pushed:
    """The result of an upload: the page of the repository, the new commit, and the visibility."""

    url: str
    commit: str
    private: bool


def download(repository: str, revision: str) -> Path:
    """Download the files of a model into the cache, if they are not there yet.

    Args:
        repository: OWNER/NAME.
        revision: commit, tag or branch.

    Returns:
        The folder of the files. Its name is the commit that ``revision`` stands for.

    Raises:
        TidyVoiceError: the repository or revision does not exist, is not readable, or is neither
            reachable nor in the cache; or the cache is damaged.
    """
    what, endpoint = f"{repository} at {revision}", constants.ENDPOINT
    with _one_line(repository, f"{what} could not be fetched from {endpoint}"):
        try:
            folder = Path(snapshot_download(repository, revision=revision, allow_patterns=WANTED))
        except GatedRepoError:
            raise TidyVoiceError(
                f"{repository} asks its readers to accept conditions: accept them at "
                f"{endpoint}/{repository} and set HF_TOKEN to your token"
            ) from None
        except RepositoryNotFoundError:
            raise TidyVoiceError(
                f"{repository}: neither a path on this machine nor a repository on {endpoint}; "
                "check the name, and set HF_TOKEN if the repository is private"
            ) from None
        except RevisionNotFoundError:
            raise TidyVoiceError(
                f"{repository} has no revision {revision}: give one of its commits, tags or "
                "branches"
            ) from None
        except LocalEntryNotFoundError as error:
            if not constants.HF_HUB_OFFLINE:
                raise (error.__cause__ or error) from None
            raise TidyVoiceError(
                f"{what} is not in the cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE forbids "
                "downloads: unset it, or copy a model folder from another machine"
            ) from None
    for path in folder.rglob("*"):
        # The cache keeps a large file under its SHA-256, which reveals damage.
        blob = path.resolve()
        if SHA256.fullmatch(blob.name) and sha256(blob) != blob.name:
            raise TidyVoiceError(f"{blob} is damaged: delete it and run the command again")
    return folder


def require_token() -> None:
    """Check that an upload is possible, before anything is computed for it.

    Raises:
        TidyVoiceError: there is no token, or the network is forbidden.
    """
    if constants.HF_HUB_OFFLINE:
        raise TidyVoiceError("HF_HUB_OFFLINE forbids to push: unset it, or write --out FOLDER only")
    if not get_token():
        raise TidyVoiceError(
            "no token to push with: set HF_TOKEN to one with write access (create it at "
            f"{constants.ENDPOINT}/settings/tokens), or write --out FOLDER only"
        )


def upload(repository: str, folder: Path, private: bool = False) -> Pushed:
    """Push a model folder in one commit; create the repository if it does not exist.

    The same commit deletes all other files of a model from the repository, because weights or a
    calibration of another model would be taken for those of this one.

    Args:
        repository: OWNER/NAME.
        private: create the repository as a private one, and refuse a public one.

    Raises:
        TidyVoiceError: the repository cannot be written, is public although ``private`` is True,
            changed in the meantime or is unreachable, or the card is invalid. Nothing is written.
    """
    require_token()
    api, endpoint = HfApi(), constants.ENDPOINT
    with _one_line(repository, f"{repository} could not be pushed to {endpoint}"):
        # Without the argument the settings of the account decide.
        api.create_repo(repository, exist_ok=True, **({"private": True} if private else {}))
        info = api.model_info(repository)
        if private and not info.private:
            raise TidyVoiceError(
                f"{repository} exists and is public: make it private at {endpoint}/{repository}"
                "/settings first, or leave --private out"
            )
        new = sorted(path for path in folder.iterdir() if path.is_file())
        existing = {sibling.rfilename for sibling in info.siblings or ()}
        others = sorted(existing - {path.name for path in new})
        others = [name for name in others if name.removeprefix(f"{INNER}/") in MODEL_FILES]
        try:
            commit = api.create_commit(
                repository,
                [
                    *(CommitOperationAdd(path.name, path) for path in new),
                    *map(CommitOperationDelete, others),
                ],
                commit_message="Model, settings and card",
                parent_commit=info.sha,
            )
        except ValueError as error:
            if isinstance(error, HfHubHTTPError):
                raise
            reason = " ".join(str(error).split())
            raise TidyVoiceError(
                f"{endpoint} rejects the files of {repository}: {reason}"
            ) from None
    return Pushed(f"{endpoint}/{repository}", commit.oid, bool(info.private))


@contextmanager
def _one_line(repository: str, failure: str) -> Iterator[None]:
    """Turn the errors of huggingface_hub into one line.

    Args:
        failure: what could not be done, in words.
    """
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        yield
    except TidyVoiceError:
        raise
    except HFValidationError as error:
        raise TidyVoiceError(f"{repository}: not a repository id ({_first(error)})") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        message = f" ({error.server_message})" if error.server_message else ""
        fix = FIXES.get(status, "try again later")
        raise TidyVoiceError(f"{failure}: HTTP status {status}{message}; {fix}") from None
    except Exception as error:
        # huggingface_hub passes on errors of its HTTP client, whose types depend on its version.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise TidyVoiceError(
            f"{failure} ({type(error).__name__}: {_first(error)}): check the network and run the "
            "command again"
        ) from None


def _first(error: BaseException) -> str:
    return (str(error).strip() or "no reason given").splitlines()[0]
