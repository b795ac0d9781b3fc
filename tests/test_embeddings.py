"""Tables of embeddings: what is written comes back, what is broken is named in one line."""

import numpy as np
import pytest

from tests.conftest import refused
from tidyvoice.scoring.embeddings import load_embeddings, save_embeddings

IDS = ["id1/en/a.wav", "id2/zh-CN/ü.wav", "id3/fr/c.wav"]
VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.mark.parametrize(("trained_on", "model"), [(None, None), (["id7", "zoë"], "1f")])
def test_what_is_written_comes_back(tmp_path, trained_on, model):
    save_embeddings(tmp_path / "e.npz", IDS, VECTORS, trained_on, model)
    table = load_embeddings(tmp_path / "e.npz")
    assert (table.ids, table.trained_on, table.model) == (IDS, trained_on, model)
    assert table.vectors.dtype == np.float32
    np.testing.assert_array_equal(table.vectors, VECTORS)
    np.testing.assert_array_equal(table.mean(), [4, 5, 6, 7])


def test_a_refused_table_leaves_the_old_one(tmp_path):
    save_embeddings(tmp_path / "e.npz", IDS, VECTORS)
    refused(save_embeddings, tmp_path / "e.npz", IDS, VECTORS[:2])
    np.testing.assert_array_equal(load_embeddings(tmp_path / "e.npz").vectors, VECTORS)
    assert [path.name for path in tmp_path.iterdir()] == ["e.npz"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"embeddings": VECTORS[:2]}, "'embeddings' (2, 4)"),
        ({"ids": np.array(["a", "b", "a"])}, "'a' occurs twice"),
    ],
)
def test_a_broken_table_is_named(tmp_path, content, message):
    np.savez(tmp_path / "e.npz", **{"ids": np.array(IDS), "embeddings": VECTORS, **content})
    refusal = refused(load_embeddings, tmp_path / "e.npz")
    assert refusal.startswith(f"{tmp_path / 'e.npz'}")
    assert message in refusal


def test_values_that_are_not_finite_are_counted_and_the_first_named(tmp_path):
    vectors = VECTORS.copy()
    vectors[1:, 2] = np.nan, np.inf
    np.savez(tmp_path / "e.npz", ids=np.array(IDS), embeddings=vectors)
    for message in (
        refused(load_embeddings, tmp_path / "e.npz"),
        refused(save_embeddings, tmp_path / "f.npz", IDS, vectors),
    ):
        assert "2 of 3 embeddings" in message
        assert f"'{IDS[1]}'" in message
