"""Download files over HTTP: interrupted downloads resume, and checksums are compared."""

import errno
import hashlib
import os
import shutil
import time
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tqdm import tqdm

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import PARTIAL, only_writer

ATTEMPTS = 5  # in a row without a new byte
TIMEOUT = 60
LONGEST_WAIT = 60
TEMPORARY = (408, 429, 500, 502, 503, 504)  # statuses of a server that may answer later


class _Dropped(Exception):
    """The attempt failed, but the next one may succeed."""


def download(url: str, out: str | Path, md5: str | None = None) -> None:
    """Download ``url`` to ``out``, unless that exists, and compare its MD5 checksum.

    Without a checksum, an interrupted download starts again: the file may have changed since.

    Raises:
        TidyVoiceError: the server refuses, sends a web page, or drops the connection repeatedly;
            another process downloads the same file; the checksum differs (a new download is then
            deleted, an existing file is not).
    """
    out = Path(out)
    if not url.startswith(("http://", "https://")):
        raise TidyVoiceError(f"{url}: give an address that begins with http:// or https://")
    if out.exists():
        _compare(out, md5, "Delete it, then run the same command again")
        return
    work = out.with_name(f".{out.name}{PARTIAL}")
    partial = work / out.name
    with only_writer(work):
        try:
            _fetch(url, partial, resume=md5 is not None)
            try:
                _compare(partial, md5, "It is deleted; run the same command again")
            except TidyVoiceError:
                partial.unlink()
                raise
            os.replace(partial, out)
        finally:
            if not _size(partial):
                shutil.rmtree(work)


def _fetch(url: str, partial: Path, resume: bool) -> None:
    failures, furthest = 0, _size(partial)
    while True:
        if not resume:
            partial.unlink(missing_ok=True)
        try:
            return _attempt(url, partial)
        except _Dropped as reason:
            failures = 1 if resume and _size(partial) > furthest else failures + 1
            furthest = max(furthest, _size(partial))
            if failures == ATTEMPTS:
                raise TidyVoiceError(
                    f"{url}: {reason}, after {ATTEMPTS} attempts. Run the same command again later"
                ) from None
        time.sleep(min(2 ** (failures - 1), LONGEST_WAIT))


def _attempt(url: str, partial: Path) -> None:
    """Append the rest of the file, or write all of it if the server sends that."""
    start, name = _size(partial), url.rpartition("/")[2]
    # Without "identity", the server could compress the bytes.
    headers = {"User-Agent": "tidyvoice", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with urlopen(Request(url, headers=headers), timeout=TIMEOUT) as answer:
            if answer.headers.get_content_type() == "text/html" and not name.endswith("html"):
                raise TidyVoiceError(f"{url} is a web page. Open it in a browser to see why")
            start = start if answer.status == 206 else 0
            total = answer.length and start + answer.length
            bar = {"desc": name, "initial": start, "total": total, "disable": None}
            with (
                open(partial, "ab" if start else "wb") as file,
                tqdm.wrapattr(file, "write", **bar) as sink,
            ):
                shutil.copyfileobj(answer, sink)
            if answer.length:
                raise _Dropped(f"the connection dropped, {answer.length:,} bytes are missing")
    except HTTPError as error:
        if error.code == 416:  # the file is complete already
            return
        status = f"HTTP {error.code} {error.reason}"
        if error.code in TEMPORARY:
            raise _Dropped(status) from None
        raise TidyVoiceError(f"{url}: {status}. Is it the right address?") from None
    except (OSError, HTTPException) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _Dropped(str(getattr(error, "reason", error)) or type(error).__name__) from None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _compare(path: Path, md5: str | None, fix: str) -> None:
    if md5 is None:
        return
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    if digest.hexdigest() != md5:
        raise TidyVoiceError(f"{path} has the md5 {digest.hexdigest()}, expected {md5}. {fix}")
