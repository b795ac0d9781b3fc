"""Downloads from the Mozilla Data Collective, https://mozilladatacollective.com.

The client is the package ``datacollective`` (extra ``download``). It reads the key from the
environment variable ``MDC_API_KEY`` or from a file ``.env``, and another server from
``MDC_API_URL``.
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

    The client resumes an interrupted download. It compares no checksum: the size is compared here,
    and the checksums inside the archive when it is unpacked.

    Raises:
        TidyVoiceError: the client or the key is missing, the server refuses, the connection drops
            again and again, or the archive has another size than it should.
    """
    try:
        from datacollective import download_dataset, get_dataset_details
        from datacollective.errors import DownloadError
    except ImportError as error:
        raise TidyVoiceError(
            f"the client of the Mozilla Data Collective is missing ({error}). With Python 3.11 or "
            f"newer run: {install_command('download')}. Or download the archive by hand and give "
            "--archive"
        ) from None
    page = f"{SITE}/datasets/{dataset}"
    if not os.environ.get(KEY):
        raise TidyVoiceError(
            f"{KEY} is not set: agree to the terms on {page}, make a key on "
            f"{SITE}/api-reference and export {KEY}=..."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            size = get_dataset_details(dataset).get("sizeBytes")
            archive = Path(
                download_dataset(dataset, str(folder), show_progress=sys.stderr.isatty())
            )
            break
        except DownloadError as error:
            cause = error.__cause__
            # The client turns these into failures of the download.
            if isinstance(cause, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
                raise cause from None
            if attempt == ATTEMPTS:
                raise TidyVoiceError(
                    f"{page}: the download failed {ATTEMPTS} times ({cause}); the partial file is "
                    "kept, run the same command again to resume"
                ) from None
        except (OSError, RuntimeError, ValueError) as error:
            said = " ".join(str(error).split())
            raise TidyVoiceError(f"{page}: {said}") from None
    found = archive.stat().st_size
    if size is not None and found != int(size):
        raise TidyVoiceError(
            f"{archive} has {found:,} bytes, expected {int(size):,}: delete it, then run "
            "the same command again"
        )
    return archive
