"""Embeddings of other programs: Kaldi's vectors and matrices of NumPy."""

import json
import struct

import numpy as np
import pytest
from conftest import invoke, succeed

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.embeddings import load_embeddings

IDS = ["id1/en/a.wav", "id2/zh-CN/ü.wav", "id3/fr/c.wav", "id3/en/d.wav"]
VECTORS = np.array([[1, 0.5, -2], [3, 0, 1], [0.25, 4, 1], [0.5, 3, 1]], dtype=np.float32)


def binary(vector, kind=b"FV ", number=None):
    """A vector in Kaldi's binary format, whose header may claim another size."""
    number = len(vector) if number is None else number
    content = np.asarray(vector, "<f8" if kind == b"DV " else "<f4").tobytes()
    return b"\0B" + kind + b"\4" + struct.pack("<i", number) + content


def text(vector):
    return f" [ {' '.join(map(str, vector))} ]\n".encode()


def write_ark(path, form=binary, ids=IDS, vectors=VECTORS):
    """Write an archive and return the lines of its .scp."""
    content, lines = b"", ""
    for name, vector in zip(ids, vectors, strict=True):
        content += name.encode() + b" "
        lines += f"{name} {path}:{len(content)}\n"
        content += form(vector)
    path.write_bytes(content)
    return lines


def refusal(path) -> str:
    with pytest.raises(TidyVoiceError) as error:
        load_embeddings(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def check_table(path, order=(0, 1, 2, 3)):
    table = load_embeddings(path)
    assert table.ids == [IDS[n] for n in order]
    assert table.vectors.dtype == np.float32
    np.testing.assert_array_equal(table.vectors, VECTORS[list(order)])
    assert (table.model, table.trained_on) == (None, None)


@pytest.mark.parametrize("form", [binary, lambda vector: binary(vector, b"DV "), text])
def test_archives_and_their_lists_are_read(tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    lines = write_ark(tmp_path / "all.ark", form)
    check_table(tmp_path / "all.ark")
    (tmp_path / "half.ark").write_bytes((tmp_path / "all.ark").read_bytes())
    first, second, third, fourth = lines.splitlines()
    relative = second.replace(str(tmp_path / "all.ark"), "half.ark")
    (tmp_path / "some.scp").write_text("\n".join([fourth, relative, first, third]) + "\n")
    check_table(tmp_path / "some.scp", (3, 1, 0, 2))


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "f8", "f2"])
def test_a_matrix_is_read_with_the_ids_beside_it(tmp_path, dtype):
    np.save(tmp_path / "e.npy", np.asfortranarray(VECTORS.astype(dtype)))
    (tmp_path / "e.txt").write_text("\n".join(IDS) + "\n", encoding="utf-8")
    check_table(tmp_path / "e.npy")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the archive is empty"),
        (b"a " + binary([1, 2])[:-1], "byte 0: a vector of 2 numbers does not fit"),
        (b"a " + binary([1, 2])[:7], "does not fit"),
        (b"a ", "the archive ends before this, at byte 2"),
        (b"a " + binary([1, 2]) + b"b", "byte 20: no id and vector of Kaldi"),
        (b"a " + binary([1], number=2**31 - 1), "2,147,483,647 numbers does not fit"),
        (b"a " + binary([1], number=-1), "-1 numbers does not fit"),
        (b"a " + binary([], number=0), "0 numbers does not fit"),
        (b"a " + binary([1], b"FM "), "expected a vector of floats, FV or DV, not b'FM '"),
        (b"a " + binary([1, 2]) + b"b " + binary([1, 2, 3]), "'b' has 3 numbers, 'a' 2"),
        (b"a " + binary([1, 2]) + b"a " + binary([1, 2]), "id 'a' occurs 2 times"),
        (b"a " + binary([1, np.nan]), "1 of 1 embeddings hold NaN or infinity"),
        (b"a " + binary([1e300], b"DV "), "1 of 1 embeddings hold NaN or infinity"),
        (b"a  [ 1 nan ]\n", "1 of 1 embeddings hold NaN or infinity"),
        (b"a  [ 1 x ]\n", "byte 0: expected a line [ NUMBER ... ] or a binary vector"),
        (b"a  [ 1 2", "expected a line [ NUMBER ... ]"),
        (b"a  [\n 1 2\n 3 4 ]\n", "expected a line [ NUMBER ... ]"),
        (b"a  [ ]\n", "expected a line [ NUMBER ... ]"),
        (b"\x93NUMPY\1\0 {", "byte 0: no id and vector of Kaldi"),
    ],
)
def test_a_broken_archive_is_named(tmp_path, content, message):
    (tmp_path / "e.ark").write_bytes(content)
    said = refusal(tmp_path / "e.ark")
    assert said.startswith(str(tmp_path / "e.ark"))
    assert message in said


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a copy-vector x ark:- |", "e.scp:2: expected ID FILE.ark:OFFSET; commands are not exec"),
        ("a | touch made:1", "e.scp:2: expected ID FILE.ark:OFFSET; commands are not executed"),
        ("a e.ark", "e.scp:2: expected ID FILE.ark:OFFSET; not 'e.ark'"),
        ("a e.ark:-1", "e.scp:2: expected ID FILE.ark:OFFSET"),
        ("a e.ark:9[0:1]", "e.scp:2: expected ID FILE.ark:OFFSET"),
        ("a e.\x01ark:9", "e.scp is no UTF-8 text of lines 'id value'"),
        ("a", "e.scp line 2: expected 'id value'"),
        ("a none.ark:2", "e.scp:2: none.ark:2: cannot be read (no such file)"),
        ("a e.ark:123456789012", "e.scp:2: e.ark:123456789012: the archive ends before this"),
        ("a e.ark:3", "e.scp:2: e.ark:3: expected a line [ NUMBER ... ] or a binary vector"),
        ("id1/en/a.wav e.ark:13", "id1/en/a.wav stands twice"),
    ],
)
def test_a_broken_list_is_named_with_its_line(tmp_path, monkeypatch, line, message):
    monkeypatch.chdir(tmp_path)
    first = write_ark(tmp_path / "e.ark").splitlines()[0]
    (tmp_path / "e.scp").write_text(f"{first}\n{line}\n")
    assert message in refusal(tmp_path / "e.scp")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (None, "e.txt must hold the ids of the rows of"),
        (IDS[:3], "one a line: it has 3 lines, the array is (4, 3)"),
        ([*IDS[:3], "two words"], "line 4 is not one word"),
        ([*IDS[:3], IDS[0]], f"id '{IDS[0]}' occurs 2 times"),
    ],
)
def test_the_ids_of_a_matrix_must_be_as_many(tmp_path, lines, message):
    np.save(tmp_path / "e.npy", VECTORS)
    if lines:
        (tmp_path / "e.txt").write_text("\n".join(lines), encoding="utf-8")
    assert message in refusal(tmp_path / "e.npy")


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ("(4, 3)", "<f4", "no whole .npy without pickles"),
        ("(4, 30000000000000000)", "<f4", "no whole .npy without pickles"),
        ("(4, -3)", "<f4", "no whole .npy without pickles"),
        ("(4, 1)", "|O", "no whole .npy without pickles"),
        ("(4,)", "<f4", "must be floats of shape (4, D)"),
        ("(4, 1)", "<i4", "must be floats of shape (4, D)"),
        ("()", "<f4", "it has 4 lines, the array is ()"),
    ],
)
def test_a_broken_matrix_is_named(tmp_path, shape, dtype, message):
    """Each has room for four numbers."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    content = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + VECTORS[0].tobytes()
    (tmp_path / "e.npy").write_bytes(content + bytes(4))
    (tmp_path / "e.txt").write_text("\n".join(IDS), encoding="utf-8")
    assert message in refusal(tmp_path / "e.npy")


def test_scores_of_every_format_are_the_same_and_say_what_was_not_checked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("e.npz", ids=np.array(IDS), embeddings=VECTORS)
    np.save("e.npy", VECTORS)
    (tmp_path / "e.txt").write_text("\n".join(IDS), encoding="utf-8")
    (tmp_path / "e.scp").write_text(write_ark(tmp_path / "e.ark"))
    (tmp_path / "trials").write_text(f"1 {IDS[2]} {IDS[3]}\n0 {IDS[0]} {IDS[1]}\n")
    line = ("score", "--trials", "trials", "--allow-overlap")
    steps = {}
    for ending in ("npz", "npy", "ark", "scp"):
        table = f"e.{ending}"
        succeed(*line, "--embeddings", table, "--mean", table, "--out", f"{ending}.score")
        steps[ending] = json.loads((tmp_path / f"{ending}.score.json").read_text())["steps"][0]
        assert (tmp_path / f"{ending}.score").read_text() == (tmp_path / "npz.score").read_text()
    unchecked = str(steps["npz"]["unchecked"])
    assert "the training of the model of e.npz" in unchecked
    for ending, step in steps.items():
        assert str(step["unchecked"]) == unchecked.replace("e.npz", f"e.{ending}")
        assert step["how"]["model"] == steps["npz"]["how"]["model"]
    # An archive belongs to what its list was made of: it is neither lost nor exchanged unnoticed.
    for table, part in (("e.scp", "e.ark"), ("e.npy", "e.txt")):
        refused = invoke(*line, "--embeddings", table, "--out", part)
        assert f"{part} is read, and would be written over" in refused.output
    content = (tmp_path / "e.ark").read_bytes()
    (tmp_path / "e.ark").write_bytes(content[:-4] + struct.pack("<f", 7))
    succeed(*line, "--embeddings", "e.scp", "--mean", "e.scp", "--out", "scp.score")
    changed = json.loads((tmp_path / "scp.score.json").read_text())["steps"][0]
    assert changed["how"]["mean"] != steps["scp"]["how"]["mean"]
