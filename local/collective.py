"""Downloads from the Mozilla Data Collective, https://mozilladatacollective.com.

The client is the package ``datacollective`` (extra ``download``). It reads the key from the
environment variable ``MDC_API_KEY``, and another server from ``MDC_API_URL``.
"""

import errno
import os
import sys
from pathlib import Path

from local.fetch import ATTEMPTS
from tidyvoice.errors import TidyVoiceError
from tidyvoice.packages import install_command

KEY = "MDC_API_KEY"
SITE = "https://mozilladatacollective.com"


def fetch_dataset(dataset: str, folder: Path) -> Path:
    """Download the archive of a data set to ``folder``; return its path.

    The client resumes an interrupted download but compares no checksum: this function compares the
    size, and unpacking compares the checksums inside the archive.

    Raises:
        TidyVoiceError: the client or the key is missing, the server refuses, the connection drops
            repeatedly, or the archive has the wrong size.
    """
    page = f"{SITE}/datasets/{dataset}"
    try:
        from datacollective import download_dataset, get_dataset_details
        from datacollective.errors import DownloadError
    except ImportError as error:
        raise TidyVoiceError(
            f"the client of the Mozilla Data Collective is missing ({error}). With Python 3.11 or "
            f"newer run: {install_command('download')}. Or download the archive and give --archive"
        ) from None
    if not os.environ.get(KEY):
        raise TidyVoiceError(
            f"{KEY} is not set. Agree to the terms on {page}, create a key on "
            f"{SITE}/api-reference and export {KEY}=..."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            size = get_dataset_details(dataset).get("sizeBytes")
            bar = sys.stderr.isatty()
            archive = Path(download_dataset(dataset, str(folder), show_progress=bar))
            break
        except DownloadError as error:
            cause = error.__cause__  # the client wraps these two as well
            full = getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
            if full or isinstance(cause, KeyboardInterrupt):
                raise cause from None
            if attempt == ATTEMPTS:
                raise TidyVoiceError(
                    f"{page}: the download failed {ATTEMPTS} times ({cause}). Run the same command "
                    "again to resume"
                ) from None
        except (OSError, RuntimeError, ValueError) as error:
            raise TidyVoiceError(f"{page}: {' '.join(str(error).split())}") from None
    if size is not None and archive.stat().st_size != int(size):
        raise TidyVoiceError(
            f"{archive} has {archive.stat().st_size:,} bytes, expected {int(size):,}. Delete it, "
            "then run the same command again"
        )
    return archive
