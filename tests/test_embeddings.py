"""Tables of embeddings: what is written comes back, what is broken is named in one line."""

import re
from pathlib import Path

import numpy as np
import pytest

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.embeddings import load_embeddings, save_embeddings

IDS = ["id1/en/a.wav", "id2/zh-CN/ü.wav", "id3/fr/c.wav"]
VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4)


def refusal(call, *arguments) -> str:
    with pytest.raises(TidyVoiceError) as error:
        call(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_written_comes_back(tmp_path):
    save_embeddings(tmp_path / "e.npz", IDS, VECTORS)
    read = load_embeddings(tmp_path / "e.npz")
    assert read.ids == IDS
    assert read.trained_on is None
    assert read.vectors.dtype == np.float32
    np.testing.assert_array_equal(read.vectors, VECTORS)
    np.testing.assert_array_equal(read.mean(), [4, 5, 6, 7])
    assert [path.name for path in tmp_path.iterdir()] == ["e.npz"]


def test_the_speakers_of_the_model_are_kept(tmp_path):
    save_embeddings(tmp_path / "e.npz", IDS, VECTORS, ["id7", "zoë"])
    assert load_embeddings(tmp_path / "e.npz").trained_on == ["id7", "zoë"]


def test_a_refused_table_leaves_the_old_one(tmp_path):
    save_embeddings(tmp_path / "e.npz", IDS, VECTORS)
    refusal(save_embeddings, tmp_path / "e.npz", IDS, VECTORS[:2])
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
        ({"ids": np.array(["a", "b", "a"]), "embeddings": VECTORS}, "id 'a' occurs 2 times"),
        ({"ids": np.array(IDS, dtype=object), "embeddings": VECTORS}, "without pickles"),
    ],
)
def test_a_broken_table_is_named(tmp_path, content, said):
    path = tmp_path / "e.npz"
    np.savez(path, **content)
    message = refusal(load_embeddings, path)
    assert message.startswith(str(path))
    assert said in message


def test_an_array_for_each_id_is_refused_and_converted_as_documented(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("old.npz", **dict(zip(IDS, VECTORS, strict=True)))
    said = refusal(load_embeddings, tmp_path / "old.npz")
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
        refusal(load_embeddings, tmp_path / "e.npz"),
        refusal(save_embeddings, tmp_path / "f.npz", IDS, vectors),
    ):
        assert "2 of 3 embeddings hold NaN or infinity" in message
        assert f"the first is number 2, that of '{IDS[1]}'" in message


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "e.npz").write_bytes(content)
    assert "is no table of embeddings" in refusal(load_embeddings, tmp_path / "e.npz")


def test_a_damaged_table_is_refused(tmp_path):
    save_embeddings(tmp_path / "e.npz", IDS, VECTORS)
    content = bytearray((tmp_path / "e.npz").read_bytes())
    content[200:260] = bytes(60)
    (tmp_path / "e.npz").write_bytes(content)
    said = refusal(load_embeddings, tmp_path / "e.npz")
    assert "not a readable .npz without pickles" in said
    assert "allow_pickle" not in said


def test_a_single_array_is_refused(tmp_path):
    with open(tmp_path / "e.npz", "wb") as file:
        np.save(file, VECTORS)
    assert "is no table of embeddings" in refusal(load_embeddings, tmp_path / "e.npz")


def test_a_missing_file_is_named(tmp_path):
    assert "no such file" in refusal(load_embeddings, tmp_path / "none.npz")
