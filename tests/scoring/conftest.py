"""Scores of three lists by the commands."""

from pathlib import Path

import pytest

from tests.scoring.support import score, succeed, write_set
from tidyvoice.embeddings import load_embeddings, save_embeddings


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    trained_on = [f"id{n:04d}" for n in range(40)]
    for name, first, speakers in (("train", 0, 40), ("calib", 100, 16), ("dev", 200, 16)):
        write_set(folder, name, first, speakers, trained_on)
    for name in ("calib", "dev"):
        numbers = ("--targets", 700, "--nontargets", 1500)
        succeed("trials", folder / name, "--out", folder / f"{name}.trials", *numbers)
        score(folder, name, folder / f"{name}.score")
    # An evaluation list as the challenge gives it: flat ids, no labels.
    table, flat = load_embeddings(folder / "dev.npz"), {}
    for number, utterance in enumerate(table.ids):
        flat[utterance] = f"j{number:05d}"
    save_embeddings(folder / "eval.npz", list(flat.values()), table.vectors)
    lines = (folder / "dev.trials").read_text().splitlines()
    pairs = ["\t".join(flat[word] for word in line.split()[:2]) for line in lines]
    (folder / "eval.trials").write_text("\n".join(pairs) + "\n")
    score(folder, "eval", folder / "eval.score")
    return folder
