"""Archives: everything inside comes out, nothing gets out of the folder, damage is an error."""

import io
import os
import signal
import tarfile
import zipfile

import pytest
from conftest import refused, seeded

from tests.local.corpora import tar, zipped
from tidyvoice import archives
from tidyvoice.archives import unpack
from tidyvoice.errors import TidyVoiceError

FILES = {f"top/id{n}/en/{n}.wav": seeded(n).bytes(5000 + n) for n in range(4)}


def special(kind, target="", size=0):
    buffer, info = io.BytesIO(), tarfile.TarInfo("l")
    info.type, info.linkname, info.size = kind, target, size
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(info)
    return buffer.getvalue()


def tree(folder):
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


PLAIN, INNER = tar(FILES, "w"), tar(FILES)
KINDS = {
    "plain.tar.gz": (PLAIN, FILES),  # by content, whatever the name says
    "nested.zip": (zipped({"x/top.tgz": INNER}), {f"x/{k}": v for k, v in FILES.items()}),
    "thrice.tar": (tar({"top.zip": zipped({"top.tar": PLAIN})}, "w"), FILES),
    "mac.tar.gz": (tar({"._top.tar": b"x", "top.tar.gz": INNER}), FILES | {"._top.tar": b"x"}),
}


@pytest.mark.parametrize("name", KINDS)
def test_all_that_is_inside_comes_out(tmp_path, name):
    packed, files = KINDS[name]
    (tmp_path / name).write_bytes(packed)
    (tmp_path / "corpus/out").mkdir(parents=True)
    unpack(tmp_path / name, tmp_path / "corpus/out")
    assert tree(tmp_path / "corpus/out") == files
    assert os.listdir(tmp_path / "corpus") == ["out"]
    assert "out exists" in refused(unpack, tmp_path / name, tmp_path / "corpus/out")
    assert tree(tmp_path / "corpus/out") == files


def test_the_folders_own_name_is_not_repeated(tmp_path):
    (tmp_path / "a.tar").write_bytes(PLAIN)
    unpack(tmp_path / "a.tar", tmp_path / "top")
    assert tree(tmp_path / "top") == {k.removeprefix("top/"): v for k, v in FILES.items()}


def changed(packed, place):
    return packed[:place] + bytes([packed[place] ^ 0xFF]) + packed[place + 1 :]


HEADER = PLAIN.find(b"top/id2/")  # of the third file
DAMAGED = [
    *(b"", PLAIN[:6500], PLAIN[:HEADER], changed(PLAIN, HEADER), INNER[:-9]),
    changed(tar({"a": b"x", "b": bytes(2048)}, "w"), 1024),  # zeros, but not at the end
]


@pytest.mark.parametrize("number", range(len(DAMAGED)))
def test_a_damaged_archive_is_refused(tmp_path, number):
    (tmp_path / "a.bin").write_bytes(DAMAGED[number])
    with pytest.raises(TidyVoiceError, match=r"a\.bin (is not a readable|contains no file)"):
        unpack(tmp_path / "a.bin", tmp_path / "out")
    assert os.listdir(tmp_path) == ["a.bin"]


LINK = zipfile.ZipInfo("l")
LINK.external_attr = 0o120777 << 16
SECRET = bytearray(zipped({"x": b"secret"}))
for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
    SECRET[SECRET.find(header) + flags] |= 1
PACKED_OTHERWISE = bytearray(zipped({"x": b""}))
for header, method in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
    PACKED_OTHERWISE[PACKED_OTHERWISE.find(header) + method] = 97
BLOATED = tar({"n" * 2**21: b"x"})  # a name of 2 MiB


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (tar({"a/../../evil": b"x"}), "leads out of the folder"),
        (special(tarfile.SYMTYPE, "/etc/passwd"), "'l' is a link"),
        (special(tarfile.LNKTYPE, "a"), "'l' is a link"),
        (special(tarfile.FIFOTYPE), "'l' is a link, a device"),
        (special(tarfile.GNUTYPE_SPARSE), "not a readable archive"),
        (special(tarfile.REGTYPE, size=2**50), "unpacks to more than the disk has"),
        (bytes(PACKED_OTHERWISE), "compression method is not supported"),
        (BLOATED, "a header of 2,097,664 bytes"),
        (tar({"a": b"x", "./a": b"y"}), "the member a cannot be written .File exists"),
        (zipped({"a": b"x", "a/b": b"y"}), "the member b cannot be written"),
        (tar({"a\nb": b"x"}), "no valid name"),
        (tar({"a.zip": zipped({"b.tar": tar({"c.zip": zipped({"d.tar": PLAIN})})})}), "too deep"),
        (zipped({"..\\evil": b"x"}), "leads out of the folder"),
        (zipped({"/evil": b"x"}), "'/evil' leads out of the folder"),
        (zipped({LINK: "/etc/passwd"}), "'l' is a link"),
        (tar({"in.zip": zipped({"a/../../../evil": b"x"})}), "leads out of the folder"),
        (bytes(SECRET), "'x'.* is encrypted"),
    ],
    # The bytes of an archive hold the time: as ids, they would differ between workers.
    ids=lambda value: value if isinstance(value, str) else "archive",
)
def test_nothing_gets_out_of_the_folder(tmp_path, packed, message):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a.bin").write_bytes(packed)
    with pytest.raises(TidyVoiceError, match=rf"a\.bin.*{message}"):
        unpack(tmp_path / "deep/a.bin", tmp_path / "deep/out")
    assert [path.name for path in tmp_path.rglob("*")] == ["deep", "a.bin"]


def test_an_interruption_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "a.tar.gz").write_bytes(INNER)
    monkeypatch.setattr(archives.os, "sync", lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        unpack(tmp_path / "a.tar.gz", tmp_path / "out")
    assert os.listdir(tmp_path) == ["a.tar.gz"]
