"""Lists kept on disk: the trials, checks and results are those in memory, over many parts."""

import warnings

import numpy as np
import pytest

from tidyvoice.embeddings import load_embeddings, save_embeddings
from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.scoring import cosine, pipeline, repetitions, spool
from tidyvoice.scoring.columns import SPARSE, IdCodes
from tidyvoice.scoring.cosine import cosine_scores
from tidyvoice.scoring.normalization import normalize
from tidyvoice.scoring.pipeline import CohortFiles, normalize_scores, score_list
from tidyvoice.scoring.spool import Spool
from tidyvoice.scoring.trials import read_scores, read_trials

IDS = [f"id{n // 5:02d}/en/{n:03d}.wav" for n in range(60)]


@pytest.fixture
def _parts(monkeypatch):
    """Small parts, and as many shares of the search for repetitions."""
    monkeypatch.setattr(spool, "PART", 7)
    monkeypatch.setattr(repetitions, "SHARE", 5)
    monkeypatch.setattr(cosine, "PORTION", 3)


def write_list(path, rng, scored: bool, labelled: bool) -> None:
    pairs = rng.permutation(len(IDS) * (len(IDS) - 1))[:100]
    lines = []
    for enroll, test in zip(*divmod(pairs, len(IDS) - 1), strict=True):
        test = test + (test >= enroll)
        words = [IDS[enroll], IDS[test]]
        words += [f"{rng.standard_normal():.3f}"] if scored else []
        same = enroll // 5 == test // 5
        lines.append(" ".join(words + (["target" if same else "nontarget"] if labelled else [])))
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.usefixtures("_parts")
@pytest.mark.parametrize("scored", [True, False])
@pytest.mark.parametrize("labelled", [True, False])
def test_the_parts_are_the_list(tmp_path, scored, labelled):
    write_list(tmp_path / "list", np.random.Generator(np.random.PCG64(1)), scored, labelled)
    if scored:
        whole, make = read_scores(tmp_path / "list"), Spool.of_scores
    else:
        whole, make = read_trials(tmp_path / "list"), Spool.of_trials
    folder = tmp_path / "made" / "here"
    with make(tmp_path / "list", folder) as kept:
        tables = list(kept.tables())
        assert not list(folder.iterdir())
        assert len(kept) == 100
        assert [len(table.trials) for table in tables] == [7] * 14 + [2]
        trials = whole.trials if scored else whole
        assert kept.ids == trials.ids
        for name in ("enroll", "test", "label"):
            values = [getattr(table.trials, name) for table in tables]
            if name == "label" and not labelled:
                assert set(map(type, values)) == {type(None)}
                continue
            joined = np.concatenate(values)
            assert joined.dtype == getattr(trials, name).dtype
            np.testing.assert_array_equal(joined, getattr(trials, name))
        if scored:
            scores = np.concatenate([table.scores for table in tables])
            np.testing.assert_array_equal(scores, whole.scores)
        line = tables[3].trials.line(2)
        words = (tmp_path / "list").read_text().splitlines()[line - 1].split()
        assert words[0] == kept.ids[tables[3].trials.enroll[2]]


@pytest.mark.usefixtures("_parts")
def test_faults_of_later_parts_are_named_with_their_line(tmp_path):
    lines = [f"u{n} v{n} target" for n in range(30)]
    path = tmp_path / "list"
    path.write_text("\n".join([*lines, "u3 v3 target", "u20 v20 target"]))
    with pytest.warns(TidyVoiceWarning, match=r":31: .*'u3 v3' stands in line 4 already \(1 more"):
        Spool.of_trials(path, tmp_path).__exit__(None, None, None)
    path.write_text("\n".join([*lines, "u3 v3 target", "u20 v20 nontarget"]))
    with pytest.raises(TidyVoiceError, match="1 of them with the other label"):
        Spool.of_trials(path, tmp_path)
    path.write_text("\n".join(lines))
    known = [f"{kind}{n}" for kind in "uv" for n in range(30) if (kind, n) != ("v", 25)]
    with (
        Spool.of_trials(path, tmp_path) as kept,
        pytest.raises(TidyVoiceError, match=":26: no embedding for 'v25'; the 59"),
    ):
        kept.places_in(known, "embedding")


@pytest.mark.usefixtures("_parts")
def test_files_are_scored_and_normalised_as_in_memory(tmp_path):
    rng = np.random.Generator(np.random.PCG64(2))
    write_list(tmp_path / "list", rng, scored=False, labelled=True)
    save_embeddings(tmp_path / "own.npz", IDS, rng.standard_normal((60, 8)).astype(np.float32))
    others = [f"id{900 + n}/en/1.wav" for n in range(40)]
    save_embeddings(tmp_path / "cohort.npz", others, rng.standard_normal((40, 8), np.float32))
    (tmp_path / "utt2spk").write_text("".join(f"{i} {i[:5]}\n" for i in others))
    own, mean = load_embeddings(tmp_path / "own.npz"), tmp_path / "cohort.npz"
    centre = load_embeddings(mean).mean()

    made = score_list(tmp_path / "own.npz", tmp_path / "list", tmp_path / "scores", mean)
    table = read_scores(tmp_path / "scores")
    assert made.trials == len(table.trials) == 100
    expected = cosine_scores(own, read_trials(tmp_path / "list"), centre)
    np.testing.assert_array_equal(table.scores.astype(np.float32), expected)

    files = CohortFiles(tmp_path / "cohort.npz", tmp_path / "utt2spk", top_n=10)
    out = tmp_path / "normalised"
    normalize_scores(tmp_path / "scores", tmp_path / "own.npz", files, out, mean)
    members, speakers = files.load()
    cohort = pipeline.speaker_cohort(members, speakers, centre)
    expected = normalize(table, own, cohort, centre, top_n=10)
    np.testing.assert_allclose(read_scores(out).scores, expected, rtol=1e-12)


@pytest.mark.usefixtures("_parts")
def test_a_fault_found_while_writing_leaves_the_old_file(tmp_path):
    rng = np.random.Generator(np.random.PCG64(3))
    write_list(tmp_path / "list", rng, scored=True, labelled=False)
    save_embeddings(tmp_path / "own.npz", IDS, rng.standard_normal((60, 8)).astype(np.float32))
    (tmp_path / "utt2spk").write_text("a sa\nb sb\nc sc\n")
    save_embeddings(tmp_path / "cohort.npz", ["a", "b", "c"], np.eye(8, dtype=np.float32)[:3])
    files = CohortFiles(tmp_path / "cohort.npz", tmp_path / "utt2spk", top_n=2)
    (tmp_path / "out").write_text("as it was")
    with pytest.raises(TidyVoiceError, match=r"the score is .* the cosine of these embeddings is"):
        normalize_scores(tmp_path / "list", tmp_path / "own.npz", files, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "as it was"
    assert not list(tmp_path.glob(".*"))


def test_ids_are_numbered_as_a_dictionary_would():
    """Over many blocks, while the table of ids grows, and although its places are not enough."""
    import polars as pl

    rng = np.random.Generator(np.random.PCG64(4))
    codes, expected = IdCodes(), {}
    for size in (1, 5, 300, 4000, 4000, 9000):
        words = [[f"u{n}" for n in rng.integers(0, 3 * size, size)] for _ in range(2)]
        enroll, test = codes.encode(*(pl.Series(side) for side in words))
        for one, other in zip(*words, strict=True):
            expected.setdefault(one, len(expected))
            expected.setdefault(other, len(expected))
        assert enroll.dtype == test.dtype == np.int32
        assert enroll.tolist() == [expected[word] for word in words[0]]
        assert test.tolist() == [expected[word] for word in words[1]]
    assert codes.ids == list(expected)
    # About one in 2 SPARSE finds its place taken; none of these would be a table too good to hash.
    assert 0 < len(codes._crowded) < 2 * len(expected) / SPARSE


def test_no_repetition_no_word(tmp_path):
    write_list(tmp_path / "list", np.random.Generator(np.random.PCG64(5)), False, True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Spool.of_trials(tmp_path / "list", tmp_path).__exit__(None, None, None)
