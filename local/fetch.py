"""Download files over HTTP, and data sets of the Mozilla Data Collective; both resume."""

import errno
import hashlib
import os
import shutil
import sys
import time
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from tqdm import tqdm

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import PARTIAL, only_writer
from tidyvoice.packages import install_command

ATTEMPTS = 5  # in a row without a new byte
TEMPORARY = (408, 429, 500, 502, 503, 504)  # statuses of a server that may answer later
FULL = (errno.ENOSPC, errno.EDQUOT)
LARGEST, BLOCK = 2**30, 2**20  # bytes of a file whose length the server does not tell; at a time


def download(url: str, out: Path, md5: str | None = None) -> None:
    """Download ``url`` to ``out``, unless that exists, and compare its MD5 checksum.

    Without a checksum, an interrupted download starts again: the file may have changed since.

    Raises:
        TidyVoiceError: the server refuses, sends a web page or more than the disk has free, or
            drops the connection repeatedly; another process downloads the same file; the checksum
            differs.
    """
    if out.exists():
        return _compare(out, md5)
    if not url.startswith(("http://", "https://")):
        raise TidyVoiceError(f"{url}: give an address that starts with https:// or http://")
    work = out.with_name(f".{out.name}{PARTIAL}")
    with only_writer(work):
        partial, failures = work / out.name, 0
        partial.touch()
        while True:
            start = partial.stat().st_size if md5 else 0
            try:
                _fetch(url, partial, start)
                break
            except (OSError, HTTPException, ValueError) as error:
                if getattr(error, "errno", None) in FULL:
                    raise
                failures = 1 if md5 and partial.stat().st_size > start else failures + 1
                refused = isinstance(error, HTTPError) and error.code not in TEMPORARY
                refused |= isinstance(error, ValueError)  # no valid address
                if refused or failures == ATTEMPTS:
                    raise TidyVoiceError(
                        f"{url}: {error}. Check the address, or run the same command again later"
                    ) from None
            time.sleep(2 ** (failures - 1))
        _compare(partial, md5)
        os.replace(partial, out)
        shutil.rmtree(work)


def _fetch(url: str, partial: Path, start: int) -> None:
    """Append the rest of the file, or write all of it if the server sends that."""
    # Without "identity", the server could compress the bytes.
    headers = {"User-Agent": "tidyvoice", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        answer = build_opener(_Redirects).open(Request(url, headers=headers), timeout=60)
    except HTTPError as error:
        if error.code == 416:  # the file is complete already
            return
        raise
    with answer:
        if answer.headers.get_content_type() == "text/html":
            raise TidyVoiceError(f"{url} is a web page. Open it in a browser to see why")
        size, free = answer.length, shutil.disk_usage(partial.parent).free
        if (size or 0) > free:
            raise TidyVoiceError(f"{url}: {size:,} bytes, but the disk has {free:,}: make room")
        start = start if answer.status == 206 else 0
        total = size and start + size
        bar = {"desc": partial.name, "initial": start, "total": total, "disable": None}
        with (
            open(partial, "ab" if start else "wb") as file,
            tqdm.wrapattr(file, "write", **bar) as sink,
        ):
            while block := answer.read(BLOCK):
                sink.write(block)
                if size is None and file.tell() > LARGEST:
                    file.truncate(0)
                    raise TidyVoiceError(f"{url} does not end: the server tells no length")
        if answer.length:
            raise ConnectionError(f"the connection dropped, {answer.length:,} bytes are missing")


class _Redirects(HTTPRedirectHandler):
    """Follows redirections to the same scheme, and from http to https."""

    def redirect_request(self, request: Request, *answer: Any) -> Request | None:
        target = answer[-1]
        if not target.startswith(("https://", f"{request.type}://")):
            raise TidyVoiceError(f"{request.full_url} leads to {target}: give another address")
        return super().redirect_request(request, *answer)


def _compare(path: Path, md5: str | None) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while md5 and (block := file.read(2**20)):
            digest.update(block)
    if md5 and digest.hexdigest() != md5:
        raise TidyVoiceError(
            f"{path} has the md5 {digest.hexdigest()}, expected {md5}. Delete it, then run the "
            "same command again"
        )


def fetch_dataset(dataset: str, folder: Path) -> Path:
    """Download the archive of a data set of the Mozilla Data Collective; return its path.

    The client is the package ``datacollective``. It reads the key from the environment variable
    ``MDC_API_KEY``, and another server from ``MDC_API_URL``.

    Raises:
        TidyVoiceError: the client or the key is missing, the server refuses, or the connection
            drops repeatedly.
    """
    page = f"https://mozilladatacollective.com/datasets/{dataset}"
    try:
        from datacollective import download_dataset
        from datacollective.errors import DownloadError
    except ImportError as error:
        raise TidyVoiceError(
            f"the client of the Mozilla Data Collective is missing ({error}). With Python 3.11 or "
            f"newer run: {install_command('download')}. Or download the archive and give --archive"
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return Path(download_dataset(dataset, str(folder), show_progress=sys.stderr.isatty()))
        except DownloadError as error:
            cause = error.__cause__  # the client wraps these two as well
            if isinstance(cause, KeyboardInterrupt) or getattr(cause, "errno", None) in FULL:
                raise cause from None
            if attempt == ATTEMPTS:
                raise TidyVoiceError(
                    f"{page}: the download failed {ATTEMPTS} times ({cause}). Run the same command "
                    "again to resume"
                ) from None
            time.sleep(2 ** (attempt - 1))
        except (OSError, RuntimeError, ValueError) as error:
            raise TidyVoiceError(f"{page}: {' '.join(str(error).split())}") from None
