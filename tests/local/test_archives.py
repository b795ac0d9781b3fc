"""Archives: everything inside comes out, nothing gets out of the folder, damage is an error."""

import io
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
from conftest import seeded, small_disk

from local import archives
from local.archives import extract
from tidyvoice.errors import TidyVoiceError

ROOT = Path(__file__).parents[2]
FILES = {f"top/id{n}/en/{n}.wav": seeded(n).bytes(5000 + n) for n in range(4)}


def tar(files, gz=True):
    """The bytes of a tar of ``files``; a value may also be a TarInfo of a special member."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if gz else "w") as archive:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def link(kind, target):
    info = tarfile.TarInfo("l")
    info.type, info.linkname = kind, target
    return info


def tree(folder):
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


INNER = tar(FILES)
KINDS = {
    "a.tar.gz": (INNER, FILES),
    "a.tar": (tar(FILES, gz=False), FILES),
    "a.zip": (zipped(FILES), FILES),
    "plain.tar.gz": (tar(FILES, gz=False), FILES),  # by content, whatever the name says
    "nested.tar.gz": (tar({"top.tar.gz": INNER}), FILES),
    "nested.zip": (zipped({"x/top.tgz": INNER}), {f"x/{k}": v for k, v in FILES.items()}),
    "zip-in-tar.tar.gz": (tar({"top.zip": zipped(FILES)}), FILES),
    "thrice.tar": (tar({"top.tar.gz": tar({"top.tar": tar(FILES)})}, gz=False), FILES),
    "headless.tar.gz": (tar({"y/z.tar.gz": tar({"id/en/a.wav": b"a"})}), {"y/z/id/en/a.wav": b"a"}),
    "mac.tar.gz": (tar({"._top.tar": b"x", "top.tar.gz": INNER}), FILES | {"._top.tar": b"x"}),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_all_that_is_inside_comes_out(tmp_path, name):
    packed, files = KINDS[name]
    (tmp_path / name).write_bytes(packed)
    out = tmp_path / "corpus" / "out"
    extract(tmp_path / name, out)
    assert tree(out) == files
    assert os.listdir(tmp_path / "corpus") == ["out"]
    assert (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip", "nested.tar.gz"])
def test_the_folders_own_name_is_not_repeated(tmp_path, name):
    (tmp_path / name).write_bytes(KINDS[name][0])
    extract(tmp_path / name, tmp_path / "top")
    assert tree(tmp_path / "top") == {k.removeprefix("top/"): v for k, v in FILES.items()}


def test_an_existing_folder_is_not_touched(tmp_path):
    archive, out = tmp_path / "a.tar.gz", tmp_path / "out"
    archive.write_bytes(INNER)
    out.mkdir()
    (out / "precious").write_text("keep")
    with pytest.raises(TidyVoiceError, match=r"out exists"):
        extract(archive, out)
    assert tree(out) == {"precious": b"keep"}
    with pytest.raises(TidyVoiceError, match=r"b\.zip is missing"):
        extract(tmp_path / "b.zip", tmp_path / "new")
    (tmp_path / "empty").mkdir()
    extract(archive, tmp_path / "empty")
    assert tree(tmp_path / "empty") == FILES


@pytest.mark.parametrize("name", [name for name in KINDS if name != "mac.tar.gz"])
def test_an_archive_cut_short_anywhere_is_damaged(tmp_path, name):
    packed = KINDS[name][0]
    # A plain tar may lack its padding.
    whole = len(packed) if packed[:2] in (b"\x1f\x8b", b"PK") else len(packed.rstrip(b"\0"))
    lengths = {0, 1, 100, 512, *range(1500, whole, 3777), whole - 9, whole - 1}
    for length in sorted(length for length in lengths if length < whole):
        (tmp_path / name).write_bytes(packed[:length])
        with pytest.raises(TidyVoiceError, match=rf"{name} (is damaged|contains no)"):
            extract(tmp_path / name, tmp_path / "out")
        assert os.listdir(tmp_path) == [name], length


def test_an_archive_cut_between_two_files_or_with_a_broken_header_is_damaged(tmp_path):
    packed = KINDS["a.tar"][0]
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        ends = [member.offset for member in archive][1:]
    for end in ends:
        for content in (packed[:end], packed[:end] + b"#" + packed[end + 1 :]):
            (tmp_path / "a.tar").write_bytes(content)
            with pytest.raises(TidyVoiceError, match="is damaged"):
                extract(tmp_path / "a.tar", tmp_path / "out")


@pytest.mark.parametrize("name", ["a.tar.gz", "a.zip", "nested.tar.gz"])
def test_a_changed_byte_is_damage(tmp_path, name):
    packed = bytearray(KINDS[name][0])
    for place in range(200, len(packed) - 800, 3001):
        packed[place] ^= 0xFF
        (tmp_path / name).write_bytes(packed)
        with pytest.raises(TidyVoiceError, match=rf"{name} is damaged"):
            extract(tmp_path / name, tmp_path / "out")
        packed[place] ^= 0xFF
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><title>404</title>", b"", bytes(2048)])
def test_other_files_are_no_archive(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(TidyVoiceError, match=r"a\.zip (is damaged|contains no file)"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    assert os.listdir(tmp_path) == ["a.zip"]


LINK = zipfile.ZipInfo("l")
LINK.external_attr = 0o120777 << 16


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (tar({"a/../../evil": b"x"}), "outside the destination"),
        (tar({"../evil.tar.gz": INNER}), "outside the destination"),
        (tar({"l": link(tarfile.SYMTYPE, "/etc/passwd")}), "is a link to an absolute path"),
        (tar({"l": link(tarfile.SYMTYPE, "../../x")}), "outside the destination"),
        (tar({"l": link(tarfile.LNKTYPE, "nowhere")}), "is damaged"),
        (tar({"l": link(tarfile.FIFOTYPE, "")}), "is a special file"),
        (zipped({"../evil": b"x"}), "'../evil' leads out of the folder"),
        (zipped({"..\\evil": b"x"}), "leads out of the folder"),
        (zipped({"/evil": b"x"}), "'/evil' leads out of the folder"),
        (zipped({LINK: "/etc/passwd"}), "'l' is a link"),
        (tar({"in.zip": zipped({"a/../../../evil": b"x"})}), "leads out of the folder"),
    ],
    # The bytes of an archive hold the time: as ids, they would differ between workers.
    ids=lambda value: value if isinstance(value, str) else "archive",
)
def test_nothing_gets_out_of_the_folder(tmp_path, packed, message):
    (tmp_path / "deep").mkdir()
    archive = tmp_path / "deep" / "a.bin"
    archive.write_bytes(packed)
    with pytest.raises(TidyVoiceError, match=rf"a\.bin.*{message}"):
        extract(archive, tmp_path / "deep" / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["deep", "a.bin"]


def test_absolute_names_in_a_tar_stay_inside_and_encrypted_zips_are_refused(tmp_path):
    (tmp_path / "a.tar").write_bytes(tar({"/etc/x.wav": b"x"}, gz=False))
    extract(tmp_path / "a.tar", tmp_path / "out")
    assert tree(tmp_path / "out") == {"etc/x.wav": b"x"}
    packed = bytearray(zipped({"x": b"secret"}))
    for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        packed[packed.find(header) + flags] |= 1
    (tmp_path / "a.zip").write_bytes(packed)
    with pytest.raises(TidyVoiceError, match=r"a\.zip: .*'x'.* is encrypted"):
        extract(tmp_path / "a.zip", tmp_path / "secret")


def test_an_interruption_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "a.tar.gz").write_bytes(INNER)
    monkeypatch.setattr(archives.os, "sync", lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        extract(tmp_path / "a.tar.gz", tmp_path / "out")
    assert os.listdir(tmp_path) == ["a.tar.gz"]


def test_a_killed_extraction_is_none_and_the_next_one_clears_up(tmp_path):
    files = {f"top/{n:05d}.wav": b"x" * 100 for n in range(6000)}
    archive, out = tmp_path / "a.tar", tmp_path / "out"
    archive.write_bytes(tar(files, gz=False))
    code = "import sys; from local.archives import extract; extract(*map(Path, sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", f"from pathlib import Path; {code}", archive, out], cwd=ROOT
    )
    partial = tmp_path / ".out.partial" / "out" / "top"
    deadline = time.monotonic() + 60
    while not (partial.is_dir() and len(os.listdir(partial)) > 20):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    with pytest.raises(TidyVoiceError, match="another process is writing"):
        extract(archive, out)
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    assert not out.exists()
    (partial / "stale.wav").write_text("of the killed one")
    extract(archive, out)
    assert len(tree(out)) == len(files)
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "out"]


def test_a_full_disk_leaves_room_to_try_again(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(tar({"big": bytes(2**21)}))
    with small_disk(tmp_path / "disk", "1m"):
        with pytest.raises(OSError, match="No space left"):
            extract(tmp_path / "a.tar.gz", tmp_path / "disk" / "out")
        assert os.listdir(tmp_path / "disk") == []
