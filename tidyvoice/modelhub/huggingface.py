"""Files of a Hugging Face repository, there and back, by way of huggingface_hub and its cache.

The environment decides as it does for every user of that library: HF_HOME for the cache, HF_TOKEN
for what is not public, HF_ENDPOINT for a mirror, HF_HUB_OFFLINE for no network at all.
"""

import re
import sys
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

# In any folder of the repository: ``archives.find_model`` then chooses.
WANTED = (*MODEL_FILES, *(f"*/{name}" for name in MODEL_FILES))
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Pushed:
    """Where a model's files went.

    Attributes:
        url: of the repository's page.
        commit: that holds the files.
        private: whether others cannot see it.
    """

    url: str
    commit: str
    private: bool


def download(repository: str, revision: str) -> Path:
    """Bring a model's files into the cache, where they are not there yet.

    Args:
        repository: OWNER/NAME.
        revision: commit, tag or branch.

    Returns:
        The folder of the files, which is called as the commit that ``revision`` stands for.

    Raises:
        TidyVoiceError: there is no such repository or revision, it may not be read, it cannot be
            reached and is not in the cache, or the cache is damaged.
    """
    if not sys.stderr.isatty():
        disable_progress_bars()
    what, endpoint = f"{repository} at {revision}", constants.ENDPOINT
    try:
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=WANTED))
    except HFValidationError as error:
        raise TidyVoiceError(f"{repository}: no id of a repository ({_line(error)})") from None
    except GatedRepoError:
        raise TidyVoiceError(
            f"{repository} asks its readers to accept conditions: do so at {endpoint}/{repository} "
            "and set HF_TOKEN to a token of yours"
        ) from None
    except RepositoryNotFoundError:
        raise TidyVoiceError(
            f"{repository}: no such path here, and {endpoint} shows no such repository; check the "
            "name, and set HF_TOKEN if it is private"
        ) from None
    except RevisionNotFoundError:
        raise TidyVoiceError(
            f"{repository} has no revision {revision}: give a commit, a tag or a branch of it"
        ) from None
    except LocalEntryNotFoundError as error:
        if constants.HF_HUB_OFFLINE:
            raise TidyVoiceError(
                f"{what} is not in the cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE forbids "
                "to fetch it: unset it, or copy a model folder from elsewhere"
            ) from None
        raise TidyVoiceError(_unreachable(what, error.__cause__ or error)) from None
    except HfHubHTTPError as error:
        raise TidyVoiceError(_unreachable(what, error)) from None
    except Exception as error:
        # The library lets errors of its HTTP client through, which differs by version.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise TidyVoiceError(_unreachable(what, error)) from None
    _refuse_damaged(folder)
    return folder


def refuse_anonymous() -> None:
    """Refuse to push where it cannot come to anything.

    Raises:
        TidyVoiceError: there is no token, or the network is forbidden.
    """
    if constants.HF_HUB_OFFLINE:
        raise TidyVoiceError("HF_HUB_OFFLINE forbids to push: unset it, or only write --out FOLDER")
    if not get_token():
        raise TidyVoiceError(
            "no token to push with: set HF_TOKEN to one that may write (it is made at "
            f"{constants.ENDPOINT}/settings/tokens), or only write --out FOLDER"
        )


def upload(repository: str, folder: Path, private: bool = False, message: str = "") -> Pushed:
    """Put a model folder's files into a repository, which is made if it is not there: one commit.

    Files of a model that the folder does not hold are removed from it in the same commit: weights
    or a calibration of another model would be taken for this one's.

    Args:
        repository: OWNER/NAME.
        private: demand that others cannot see it.
        message: of the commit.

    Raises:
        TidyVoiceError: the repository may not be written, is public but was to be private, changed
            meanwhile, refuses the card, or cannot be reached; no file is written then.
    """
    refuse_anonymous()
    if not sys.stderr.isatty():
        disable_progress_bars()
    api, endpoint = HfApi(), constants.ENDPOINT
    try:
        # Left out, the choice is the account's, which may make private what it makes.
        choice = {"private": True} if private else {}
        api.create_repo(repository, exist_ok=True, **choice)
        found = api.model_info(repository)
        if private and not found.private:
            raise TidyVoiceError(
                f"{repository} is there and public: make it private at {endpoint}/{repository}"
                "/settings first, or leave --private out"
            )
        new = sorted(path for path in folder.iterdir() if path.is_file())
        kept = {path.name for path in new}
        there = {sibling.rfilename for sibling in found.siblings or ()}
        others = {n for n in there - kept if n.removeprefix(f"{INNER}/") in MODEL_FILES}
        commit = api.create_commit(
            repository,
            [
                *(CommitOperationAdd(path.name, path) for path in new),
                *(CommitOperationDelete(name) for name in sorted(others)),
            ],
            commit_message=message or "Model, settings and card",
            parent_commit=found.sha,
        )
    except TidyVoiceError:
        raise
    except HFValidationError as error:
        raise TidyVoiceError(f"{repository}: no id of a repository ({_line(error)})") from None
    except HfHubHTTPError as error:
        raise TidyVoiceError(_refused(repository, error)) from None
    except ValueError as error:
        said = " ".join(str(error).split())
        raise TidyVoiceError(f"{endpoint} refuses the files of {repository}: {said}") from None
    except Exception as error:
        # The library lets errors of its HTTP client through, which differs by version.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise TidyVoiceError(_unreachable(repository, error, "pushed to")) from None
    return Pushed(f"{endpoint}/{repository}", commit.oid, bool(found.private))


def _refused(repository: str, error: HfHubHTTPError) -> str:
    status, endpoint = error.response.status_code, constants.ENDPOINT
    if status == 401:
        return f"{endpoint} does not know the token: set HF_TOKEN to one that is valid"
    if status == 403:
        return (
            f"the token may not write {repository}: give one with the right to write for "
            f"{repository.partition('/')[0]}, or take a repository of your own"
        )
    if status == 412:
        return f"{repository} was changed by somebody else meanwhile; the same command tries again"
    said = f" ({error.server_message})" if error.server_message else ""
    return f"{repository}: {endpoint} answers with status {status}{said}; try again later"


def _unreachable(what: str, error: BaseException, done: str = "fetched from") -> str:
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        mend = "check HF_TOKEN" if status in (401, 403) else "try again later"
        return f"{what}: {constants.ENDPOINT} answers with status {status}; {mend}"
    reason = f"{type(error).__name__}: {_line(error)}"
    return (
        f"{what} could not be {done} {constants.ENDPOINT} ({reason}): check the network, the "
        "same command tries again"
    )


def _line(error: BaseException) -> str:
    return (str(error).strip() or "no reason given").splitlines()[0]


def _refuse_damaged(folder: Path) -> None:
    """Large files are kept under their SHA-256: what was cut or changed in the cache is found."""
    for path in folder.rglob("*"):
        kept = path.resolve()
        if SHA256.fullmatch(kept.name) and sha256(kept) != kept.name:
            raise TidyVoiceError(f"{kept} is damaged: delete it, the same command fetches it again")
