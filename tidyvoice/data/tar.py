"""Writing a tar file whose members' places are known, without copying what goes into them."""

import tarfile
from pathlib import Path

BUFFER = 1 << 22  # bytes of one call to the system
# The header of a member without name and size; where they and the checksum go (POSIX ustar).
EMPTY = tarfile.TarInfo().tobuf(tarfile.GNU_FORMAT)
NAME_LENGTH, SIZE, CHECKSUM = 100, slice(124, 135), slice(148, 156)


class TarWriter:
    """A plain tar file (GNU names) that is being written.

    Example:
        >>> with TarWriter(path) as tar:  # doctest: +SKIP
        ...     offset = tar.add("a.txt", b"content")
    """

    def __init__(self, path: str | Path):
        self._file = open(path, "wb", buffering=BUFFER)  # noqa: SIM115
        self._position = 0

    def __enter__(self) -> "TarWriter":
        return self

    def __exit__(self, *error: object) -> None:
        # Two empty blocks, and whole records.
        end = self._position + 2 * tarfile.BLOCKSIZE
        with self._file:
            self._write(bytes(end + -end % tarfile.RECORDSIZE - self._position))

    def add(self, name: str, *content: bytes | memoryview) -> int:
        """Append a member whose content is the pieces (of bytes) in a row; its byte offset."""
        size = sum(map(len, content))
        self._write(header(name, size))
        offset = self._position
        for piece in content:
            self._write(piece)
        self._write(bytes(-size % tarfile.BLOCKSIZE))
        return offset

    def _write(self, piece: bytes | memoryview) -> None:
        self._file.write(piece)
        self._position += len(piece)


def header(name: str, size: int) -> bytes:
    """The block or blocks before a member of ``size`` bytes.

    The usual ones, a fifth of the time that packing takes with ``tarfile``, are filled in here.
    """
    encoded = name.encode()
    if len(encoded) > NAME_LENGTH or size >= 8**11:
        member = tarfile.TarInfo(name)
        member.size = size
        return member.tobuf(tarfile.GNU_FORMAT)
    block = bytearray(EMPTY)
    block[: len(encoded)] = encoded
    block[SIZE] = b"%011o" % size
    block[CHECKSUM] = b" " * 8
    block[CHECKSUM] = b"%06o\0 " % sum(block)
    return bytes(block)
