"""Tables of embeddings: what is written comes back, what is broken is named in one line."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.scoring.support import refused
from tidyvoice.scoring.embeddings import load_embeddings, save_embeddings

IDS = ["id1/en/a.wav", "id2/zh-CN/ü.wav", "id3/fr/c.wav"]
VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_what_is_written_comes_back(tmp_path):
    save_embeddings(tmp_path / "e.npz", IDS, VECTORS)
    read = load_embeddings(tmp_path / "e.npz")
    assert read.ids == IDS
    assert (read.trained_on, read.model) == (None, None)
    assert read.vectors.dtype == np.float32
    np.testing.assert_array_equal(read.vectors, VECTORS)
    np.testing.assert_array_equal(read.mean(), [4, 5, 6, 7])
    assert [path.name for path in tmp_path.iterdir()] == ["e.npz"]
    save_embeddings(tmp_path / "e.npz", IDS, VECTORS, ["id7", "zoë"], "1f")
    read = load_embeddings(tmp_path / "e.npz")
    assert (read.trained_on, read.model) == (["id7", "zoë"], "1f")


def test_a_refused_table_leaves_the_old_one(tmp_path):
    save_embeddings(tmp_path / "e.npz", IDS, VECTORS)
    refused(save_embeddings, tmp_path / "e.npz", IDS, VECTORS[:2])
    np.testing.assert_array_equal(load_embeddings(tmp_path / "e.npz").vectors, VECTORS)
    assert [path.name for path in tmp_path.iterdir()] == ["e.npz"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"ids": np.array(IDS)}, "array 'embeddings' is missing"),
        ({"embeddings": VECTORS}, "array 'ids' is missing"),
        ({"ids": np.array(IDS), "embeddings": VECTORS[:2]}, r"not float32 of shape (2, 4)"),
        ({"ids": np.array(IDS), "embeddings": VECTORS[0]}, "shape (4,)"),
        ({"ids": np.arange(3), "embeddings": VECTORS}, "'ids' must be one row of text"),
        (
            {"ids": np.array(["a", "b", "a"]), "embeddings": VECTORS},
            "1 ids occur more than once, the first is 'a'",
        ),
        ({"ids": np.array(IDS, dtype=object), "embeddings": VECTORS}, "without pickles"),
    ],
)
def test_a_broken_table_is_named(tmp_path, content, said):
    path = tmp_path / "e.npz"
    np.savez(path, **content)
    message = refused(load_embeddings, path)
    assert message.startswith(str(path))
    assert said in message


def test_an_array_for_each_id_is_refused_and_converted_as_documented(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("old.npz", **dict(zip(IDS, VECTORS, strict=True)))
    said = refused(load_embeddings, tmp_path / "old.npz")
    assert "array 'ids' is missing among 3 arrays" in said
    assert IDS[0] not in said
    text = (Path(__file__).parent.parent / "docs/evaluation.md").read_text()
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1])
    table = load_embeddings(tmp_path / "new.npz")
    assert table.ids == IDS
    np.testing.assert_array_equal(table.vectors, VECTORS)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_counted_and_the_first_named(tmp_path, value):
    vectors = VECTORS.copy()
    vectors[1:, 2] = value
    np.savez(tmp_path / "e.npz", ids=np.array(IDS), embeddings=vectors)
    for message in (
        refused(load_embeddings, tmp_path / "e.npz"),
        refused(save_embeddings, tmp_path / "f.npz", IDS, vectors),
    ):
        assert "2 of 3 embeddings hold NaN or infinity" in message
        assert f"the first is number 2, that of '{IDS[1]}'" in message


def test_other_and_damaged_files_are_refused(tmp_path):
    path = tmp_path / "e.npz"
    assert "no such file" in refused(load_embeddings, path)
    for content in (b"", b"no archive", b"PK\x03\x04 cut off"):
        path.write_bytes(content)
        assert "not a table of embeddings" in refused(load_embeddings, path)
    with open(path, "wb") as file:
        np.save(file, VECTORS)
    assert "not a table of embeddings" in refused(load_embeddings, path)
    save_embeddings(path, IDS, VECTORS)
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    message = refused(load_embeddings, path)
    assert "not a readable .npz without pickles" in message
    assert "allow_pickle" not in message
