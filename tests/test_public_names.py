"""Every public name has a docstring, and its examples are true."""

import doctest
import importlib
import inspect
import shutil

import numpy as np
import pytest

import tidyvoice

CLASSES = [
    name for name, value in ((name, getattr(tidyvoice, name)) for name in tidyvoice.__all__)
    if inspect.isclass(value) and not issubclass(value, Exception)
]  # fmt: skip
MODULES = sorted({getattr(tidyvoice, name).__module__ for name in tidyvoice.__all__})
FUNCTIONS = ("tidyvoice.evaluation.categories", "tidyvoice.scoring.metrics")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", tidyvoice.__all__)
def test_a_public_name_is_there_and_explained(name):
    assert inspect.getdoc(getattr(tidyvoice, name))
    assert name in dir(tidyvoice)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="no attribute 'Speaker'"):
        tidyvoice.Speaker  # noqa: B018


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"Candidate"}))
def test_a_public_class_shows_its_use(name):
    assert ">>>" in inspect.getdoc(getattr(tidyvoice, name))


@pytest.mark.parametrize(
    "method", ["embed", "embed_many", "embed_waveforms", "embed_windows", "similarity", "verify",
               "enroll", "identify", "from_pretrained"],
)  # fmt: skip
def test_a_method_of_the_encoder_shows_its_use(method):
    assert ">>>" in inspect.getdoc(getattr(tidyvoice.SpeakerEncoder, method))


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
