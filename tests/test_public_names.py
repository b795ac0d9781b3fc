"""Every public name has a docstring, and its examples are true."""

import doctest
import importlib
import inspect
import shutil

import numpy as np
import pytest

import tidyvoice

PUBLIC = {name: getattr(tidyvoice, name) for name in tidyvoice.__all__}
MODULES = sorted({value.__module__ for value in PUBLIC.values()})
FUNCTIONS = ("tidyvoice.evaluation.categories", "tidyvoice.scoring.metrics")
METHODS = (
    "from_pretrained", "embed", "embed_many", "embed_waveforms", "embed_windows", "similarity",
    "verify", "enroll", "identify",
)  # fmt: skip
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def test_public_names_are_explained_and_show_their_use():
    assert set(PUBLIC) <= set(dir(tidyvoice))
    for name, value in PUBLIC.items():
        assert inspect.getdoc(value), name
        if inspect.isclass(value) and not issubclass(value, Exception) and name != "Candidate":
            assert ">>>" in inspect.getdoc(value), name
    for name in METHODS:
        assert ">>>" in inspect.getdoc(getattr(tidyvoice.SpeakerEncoder, name)), name


@pytest.mark.parametrize("name", [*MODULES, "tidyvoice.encoder.embedder"])
def test_the_examples_are_true(name, voices, tmp_path, monkeypatch):
    for path in (*voices.glob("*.wav"), voices / "model"):
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / path.name)
    monkeypatch.chdir(tmp_path)
    module, names = importlib.import_module(name), {"np": np}
    if name.rpartition(".")[2] in ("embedder", "speaker_encoder", "enrollment", "verifier"):
        names["encoder"] = tidyvoice.SpeakerEncoder.from_pretrained("model", "cpu")
        names["Gallery"] = tidyvoice.Gallery
    failed, tried = doctest.testmod(module, extraglobs=names, optionflags=FLAGS)
    assert failed == 0
    assert tried or name in ("tidyvoice.errors", *FUNCTIONS)
