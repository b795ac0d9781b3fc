"""Files fetched over HTTP: taken up where a connection dropped, checked, whole or not there.

What has come so far is in OUT.partial, and the version of the file that it is a part of (its ETag
or date) in OUT.partial.json: of a file that was changed on the server meanwhile, nothing is kept.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tqdm import tqdm

from tidyvoice.errors import TidyVoiceError
from tidyvoice.files import PARTIAL, write_text

ATTEMPTS = 5
SECONDS_TO_ANSWER = 60
LONGEST_WAIT = 60.0
BLOCK = 2**18
# The server's trouble of the moment rather than a wrong request.
PASSING = (408, 429, 500, 502, 503, 504)


class _Dropped(Exception):
    """An attempt that failed for a reason that may pass; its text says which."""


class _Changed(_Dropped):
    """What has come is of another version of the file than the server has now."""


def download(
    url: str,
    out: str | Path,
    *,
    size: int | None = None,
    md5: str | None = None,
    attempts: int = ATTEMPTS,
    wait: float = 1.0,
) -> None:
    """Fetch ``url`` to ``out``, unless that is there already, and check it.

    Args:
        size: in bytes.
        md5: in hexadecimal.
        attempts: how many in a row may bring nothing new before this gives up.
        wait: seconds before the second attempt; doubled from one attempt to the next.

    Raises:
        TidyVoiceError: the server refuses, answers with a web page, or drops the connection again
            and again (what has come is kept); another process fetches the same; size or checksum
            are wrong (what has come is removed, but a file that stood at ``out`` is not).
    """
    out = Path(out)
    if not url.startswith(("http://", "https://")):
        raise TidyVoiceError(f"{url}: give an address that begins with http:// or https://")
    if out.exists():
        fault = _fault(out, size, md5)
        if fault:
            raise TidyVoiceError(f"{out} has {fault}: delete it, the same command fetches it again")
        return
    partial = out.with_name(out.name + PARTIAL)
    version = partial.with_name(partial.name + ".json")
    out.parent.mkdir(parents=True, exist_ok=True)
    with _held(partial) as file:
        try:
            _fetch(url, file, version, size, attempts, wait)
            file.flush()
            os.fsync(file.fileno())
            fault = _fault(partial, size, md5)
            if fault:
                _empty(file)
                raise TidyVoiceError(
                    f"{url}: what came has {fault}; it was removed: fetch it again, or from "
                    "another address"
                )
            os.replace(partial, out)
        finally:
            # Nothing came, or nothing that can be used.
            if not file.tell():
                partial.unlink(missing_ok=True)
            if not partial.exists():
                version.unlink(missing_ok=True)


@contextmanager
def _held(partial: Path) -> Iterator[IO[bytes]]:
    """The file, open for appending, which no other process has open so at the same time."""
    with open(partial, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Else another process has finished it, and renamed it, between these two lines.
            ours = os.path.samestat(os.stat(partial), os.fstat(file.fileno()))
        except (BlockingIOError, FileNotFoundError):
            ours = False
        if not ours:
            raise TidyVoiceError(f"another process is fetching {partial}: wait for it or stop it")
        yield file


def _fetch(
    url: str, file: IO[bytes], version: Path, size: int | None, attempts: int, wait: float
) -> None:
    """Go on until the file is whole, attempt after attempt."""
    in_vain, furthest = 0, file.tell()
    while True:
        try:
            return _attempt(url, file, version, size)
        except _Dropped as reason:
            if isinstance(reason, _Changed):
                _empty(file)
            in_vain = 0 if file.tell() > furthest else in_vain + 1
            furthest = max(furthest, file.tell())
            if in_vain >= attempts:
                raise TidyVoiceError(
                    f"{url}: {reason}, after {attempts} attempts in a row that brought nothing "
                    "new; the partial file is kept, run the same command again to resume"
                ) from None
        time.sleep(min(wait * 2 ** max(in_vain - 1, 0), LONGEST_WAIT))


def _attempt(url: str, file: IO[bytes], version: Path, size: int | None) -> None:
    """One request for what is missing of the file, or for all of it."""
    earlier = _read_version(version, url) if file.tell() else {}
    have = file.tell() if earlier else 0
    if have and have == earlier["bytes"]:
        return
    # Compressed on the way, the bytes would not be those that are counted and checked.
    headers = {"User-Agent": "tidyvoice", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": earlier["validator"]}
    with _ask(url, headers) as answer:
        name = Path(version.name).stem.removesuffix(PARTIAL)
        if answer.headers.get_content_type() == "text/html" and not name.endswith("html"):
            raise TidyVoiceError(
                f"{url} is a web page and not {name}: open it in a browser to see what it says"
            )
        now = _validator(answer.headers)
        if answer.status == 206:
            start, total = _range(answer.headers)
            if start != have or now not in (None, earlier["validator"]):
                raise _Changed("the file on the server has changed")
            total = total or earlier["bytes"]
        else:
            total = _number(answer.headers.get("Content-Length"))
            if size is not None and total not in (None, size):
                raise TidyVoiceError(
                    f"{url} has {total:,} bytes, expected {size:,}: fetch it from another address"
                )
            have = 0
            _empty(file)
            version.unlink(missing_ok=True)
            if now is not None:
                write_text(version, json.dumps({"url": url, "validator": now, "bytes": total}))
        with tqdm(
            desc=name, initial=have, total=total, unit="B", unit_scale=True, disable=None
        ) as bar:
            for block in _blocks(answer):
                file.write(block)
                bar.update(len(block))
        if total is not None and file.tell() < total:
            raise _Dropped(f"the connection dropped at {file.tell():,} of {total:,} bytes")


def _empty(file: IO[bytes]) -> None:
    file.seek(0)
    file.truncate()


def _ask(url: str, headers: Mapping[str, str]) -> HTTPResponse:
    try:
        return urlopen(Request(url, headers=dict(headers)), timeout=SECONDS_TO_ANSWER)
    except HTTPError as error:
        error.close()
        said = f"HTTP {error.code} {error.reason}"
        if error.code == 416:  # it is shorter now than what has come
            raise _Changed(said) from None
        if error.code in PASSING:
            raise _Dropped(said) from None
        raise TidyVoiceError(f"{url}: {said}: is it the right address?") from None
    except (OSError, HTTPException) as error:
        raise _Dropped(_words(error)) from None


def _blocks(answer: HTTPResponse) -> Iterator[bytes]:
    """What the server sends, until it stops; only faults of the network are `_Dropped`."""
    while True:
        try:
            block = answer.read(BLOCK)
        except (OSError, HTTPException) as error:
            raise _Dropped(_words(error)) from None
        if not block:
            return
        yield block


def _words(error: Exception) -> str:
    return str(getattr(error, "reason", error)) or type(error).__name__


def _read_version(version: Path, url: str) -> dict[str, Any]:
    """What OUT.partial is a part of: its validator and bytes; {} where that is not known."""
    try:
        earlier = json.loads(version.read_text(encoding="utf-8"))
        if earlier["url"] == url and earlier["validator"] and "bytes" in earlier:
            return earlier
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        pass
    return {}


def _validator(headers: Message) -> str | None:
    """What changes when the file does: a strong ETag or the date."""
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def _range(headers: Message) -> tuple[int | None, int | None]:
    """The first byte and the total of ``Content-Range: bytes 5-99/100``."""
    span, _, total = headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    return _number(span.partition("-")[0]), _number(total)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _fault(path: Path, size: int | None, md5: str | None) -> str:
    """What is wrong with a file that is there; "" if nothing."""
    found = path.stat().st_size
    if size is not None and found != size:
        return f"{found:,} bytes, expected {size:,}"
    if md5 is not None:
        digest = hashlib.md5(usedforsecurity=False)
        with open(path, "rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
        if digest.hexdigest() != md5:
            return f"the md5 {digest.hexdigest()}, expected {md5}"
    return ""
