"""Files of a Hugging Face repository, by way of huggingface_hub and its cache.

The environment decides as it does for every user of that library: HF_HOME for the cache, HF_TOKEN
for what is not public, HF_ENDPOINT for a mirror, HF_HUB_OFFLINE for no network at all.
"""

import re
import sys
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.utils import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    disable_progress_bars,
)

from tidyvoice.archives import WANTED
from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import sha256

SHA256 = re.compile(r"[0-9a-f]{64}")


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


def _unreachable(what: str, error: BaseException) -> str:
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        mend = "check HF_TOKEN" if status in (401, 403) else "try again later"
        return f"{what}: {constants.ENDPOINT} answers with status {status}; {mend}"
    reason = f"{type(error).__name__}: {_line(error)}"
    return (
        f"{what} could not be fetched from {constants.ENDPOINT} ({reason}): check the network, the "
        "same command tries again"
    )


def _line(error: BaseException) -> str:
    return (str(error).strip() or "no reason given").splitlines()[0]


def _refuse_damaged(folder: Path) -> None:
    """Large files are kept under their SHA-256: what was cut or changed in the cache is found."""
    for path in folder.iterdir():
        kept = path.resolve()
        if SHA256.fullmatch(kept.name) and sha256(kept) != kept.name:
            raise TidyVoiceError(f"{kept} is damaged: delete it, the same command fetches it again")
