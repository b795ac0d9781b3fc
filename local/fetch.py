"""Download files over HTTP, with resuming and checksums."""

import fcntl
import hashlib
import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tqdm import tqdm

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import PARTIAL

ATTEMPTS = 5
SECONDS_TO_ANSWER = 60
LONGEST_WAIT = 60.0
BLOCK = 2**18
# Statuses of a server that may answer later.
TEMPORARY = (408, 429, 500, 502, 503, 504)


class _Dropped(Exception):
    """The attempt failed, and the next one may succeed."""


def download(
    url: str, out: str | Path, md5: str | None = None, attempts: int = ATTEMPTS, wait: float = 1.0
) -> None:
    """Download ``url`` to ``out``, unless that exists, and compare its checksum.

    Args:
        md5: in hexadecimal. With it, an interrupted download resumes; without it, the download
            starts again, because nothing would tell if the file has changed on the server.
        attempts: number of attempts in a row that may bring nothing new.
        wait: seconds before the second attempt; doubled from one attempt to the next.

    Raises:
        TidyVoiceError: the server refuses, sends a web page, or drops the connection again and
            again; another process downloads the same file; the checksum differs (a new download is
            then removed, a file that was there before is not).
    """
    out = Path(out)
    if not url.startswith(("http://", "https://")):
        raise TidyVoiceError(f"{url}: give an address that begins with http:// or https://")
    if out.exists():
        _check(out, md5, "delete it, then run the same command again")
        return
    partial = out.with_name(out.name + PARTIAL)
    out.parent.mkdir(parents=True, exist_ok=True)
    with _locked(partial) as file:
        try:
            if out.exists():  # another process finished it before this one had the lock
                return
            _fetch(url, file, md5 is not None, attempts, wait)
            file.flush()
            os.fsync(file.fileno())
            try:
                _check(partial, md5, "it is deleted; run the same command again")
            except TidyVoiceError:
                _empty(file)
                raise
            os.replace(partial, out)
        finally:
            if not file.tell():
                partial.unlink(missing_ok=True)


@contextmanager
def _locked(partial: Path) -> Iterator[IO[bytes]]:
    """Open a file for appending, for this process only."""
    with open(partial, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TidyVoiceError(
                f"another process is downloading {partial}: wait for it or stop it"
            ) from None
        yield file


def _fetch(url: str, file: IO[bytes], resume: bool, attempts: int, wait: float) -> None:
    failures, furthest = 0, 0
    while True:
        if not resume:
            _empty(file)
        try:
            return _attempt(url, file)
        except _Dropped as reason:
            failures = 0 if file.tell() > furthest and resume else failures + 1
            furthest = max(furthest, file.tell())
            if failures >= attempts:
                raise TidyVoiceError(
                    f"{url}: {reason}, after {attempts} attempts; run the same command again later"
                ) from None
        time.sleep(min(wait * 2 ** max(failures - 1, 0), LONGEST_WAIT))


def _attempt(url: str, file: IO[bytes]) -> None:
    """Append the rest of the file, or all of it if the server sends that."""
    size = file.tell()
    # Without "identity", the server could compress the bytes on the way.
    headers = {"User-Agent": "tidyvoice", "Accept-Encoding": "identity"}
    if size:
        headers["Range"] = f"bytes={size}-"
    try:
        with urlopen(Request(url, headers=headers), timeout=SECONDS_TO_ANSWER) as answer:
            name = url.rpartition("/")[2]
            if answer.headers.get_content_type() == "text/html" and not name.endswith("html"):
                raise TidyVoiceError(f"{url} is a web page: open it in a browser to see why")
            if answer.status != 206:
                size = 0
                _empty(file)
            total = answer.length and size + answer.length
            bar = {"unit": "B", "unit_scale": True, "disable": None}
            with tqdm(desc=name, initial=size, total=total, **bar) as progress:
                while block := answer.read(BLOCK):
                    file.write(block)
                    progress.update(len(block))
            if answer.length:
                raise _Dropped(f"the connection dropped, {answer.length:,} bytes are missing")
    except HTTPError as error:
        if error.code == 416:  # the file is complete already
            return
        said = f"HTTP {error.code} {error.reason}"
        if error.code in TEMPORARY:
            raise _Dropped(said) from None
        raise TidyVoiceError(f"{url}: {said}: is it the right address?") from None
    except (URLError, ConnectionError, TimeoutError, ssl.SSLError, HTTPException) as error:
        raise _Dropped(str(getattr(error, "reason", error)) or type(error).__name__) from None


def _empty(file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()


def _check(path: Path, md5: str | None, fix: str) -> None:
    if md5 is None:
        return
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    if digest.hexdigest() != md5:
        raise TidyVoiceError(f"{path} has the md5 {digest.hexdigest()}, expected {md5}: {fix}")
