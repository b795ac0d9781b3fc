import tarfile

import pytest

from tidyvoice.data.tar import TarWriter, header


@pytest.mark.parametrize("name", ["a.spk", "id1/vidéo/0001.wav", "n" * 99, "n" * 100, "n" * 101])
@pytest.mark.parametrize("size", [0, 5, 8**11 - 1, 8**11])
def test_headers_are_those_of_tarfile(name, size):
    member = tarfile.TarInfo(name)
    member.size = size
    assert header(name, size) == member.tobuf(tarfile.GNU_FORMAT)


def test_members_lie_where_it_says(tmp_path):
    path = tmp_path / "a.tar"
    members = {"one.wav": b"x" * 700, "empty": b"", "é" * 90: b"y" * 512}
    with TarWriter(path) as tar:
        offsets = {
            name: tar.add(name, text[:3], memoryview(text)[3:]) for name, text in members.items()
        }
    whole = path.read_bytes()
    assert len(whole) % tarfile.RECORDSIZE == 0
    for name, text in members.items():
        assert whole[offsets[name] :].startswith(text)
    with tarfile.open(path) as tar:
        assert {m.name: tar.extractfile(m).read() for m in tar} == members
