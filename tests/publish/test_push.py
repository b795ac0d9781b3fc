"""Pushing to a Hub on this machine, and loading from it."""

import json
import re

import numpy as np
import pytest
from huggingface_hub import ModelCard

from tests.fake_hub import fake_hub
from tests.fake_uploads import READ_TOKEN, REPOSITORY, TOKEN
from tests.publish.support import failing, push, run
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.modelhub.folder import training_speakers
from tidyvoice.publish import Terms, gather, write_folder

MODEL = ("--licence", "apache-2.0", "--bootstrap", "0")


@pytest.fixture
def hub():
    with fake_hub() as server:
        server.exists = False
        yield server


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """A published model folder."""
    out = tmp_path_factory.mktemp("folder") / "out"
    write_folder(gather(trained.first, resamples=0), Terms(REPOSITORY, "mit"), out)
    return out


def posted(hub):
    return [asked.partition(" ")[2] for asked in hub.asked if asked.startswith("POST")]


def test_a_pushed_model_loads_back_with_the_same_embeddings(hub, trained, voices, tmp_path):
    result = push(hub, tmp_path, trained.second, REPOSITORY, *MODEL, "--json")
    assert result.returncode == 0, result.stderr
    made = json.loads(result.stdout)
    assert made["url"] == f"{hub.address}/{REPOSITORY}"
    assert made["commit"] == hub.commit
    assert made["private"] is False
    assert made["files"] == sorted(hub.files)
    assert len(hub.messages) == 1
    assert any(asked.startswith("PUT /upload/") for asked in hub.asked)

    # The code in the card, with an empty cache.
    text = ModelCard(hub.files["README.md"].decode()).text
    (code,) = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
    for name, wav in (("one.wav", "ann-1.wav"), ("other.wav", "ann-2.wav")):
        (tmp_path / name).write_bytes((voices / wav).read_bytes())
    code += 'import numpy; numpy.save("got.npy", encoder.embed("one.wav"))\n'
    code += "print(encoder.weights, repr(result.llr))\n"
    result = run(hub, tmp_path, "python", "-c", code, HF_TOKEN="")
    assert result.returncode == 0, result.stderr
    encoder = SpeakerEncoder.from_pretrained(trained.second / "models", "cpu")
    here = encoder.embed(tmp_path / "one.wav")
    assert np.load(tmp_path / "got.npy").tobytes() == here.tobytes()
    found = encoder.verify(tmp_path / "one.wav", tmp_path / "other.wav")
    assert result.stdout.split() == [encoder.weights, repr(found.llr)]

    command = ["tidyvoice", "fetch-model", REPOSITORY, "--out", "fetched"]
    result = run(hub, tmp_path, *command)
    assert result.returncode == 0, result.stderr
    fetched = SpeakerEncoder.from_pretrained(tmp_path / "fetched", "cpu")
    assert fetched.weights == encoder.weights
    assert fetched.verifier is not None
    assert training_speakers(tmp_path / "fetched") == ["*"]


def test_files_of_another_model_are_deleted_from_the_repository(hub, trained, tmp_path):
    hub.exists = True
    hub.serve_folder(trained.second / "models")
    hub.files["notes.txt"] = b"kept"
    assert {"avg_model.pt", "verifier.json"} <= set(hub.files)
    result = push(hub, tmp_path, trained.first, REPOSITORY, *MODEL)
    assert result.returncode == 0, result.stderr
    assert {"avg_model.pt", "verifier.json"}.isdisjoint(hub.files)
    assert hub.files["notes.txt"] == b"kept"
    again = push(hub, tmp_path, trained.first, REPOSITORY, *MODEL)
    assert again.returncode == 0, again.stderr
    assert hub.commit in again.stdout


def test_private_repositories_are_created_and_public_ones_refused(hub, trained, tmp_path):
    result = push(hub, tmp_path, trained.first, REPOSITORY, *MODEL, "--private")
    assert result.returncode == 0, result.stderr
    assert hub.private
    assert "(private)" in result.stdout
    hub.private, before = False, dict(hub.files)
    line = failing(push(hub, tmp_path, trained.second, REPOSITORY, *MODEL, "--private"))
    assert f"{REPOSITORY} exists and is public: make it private at" in line
    assert hub.files == before


@pytest.mark.parametrize(
    ("message", "how", "environment"),
    [
        ("no token to push with: set HF_TOKEN", {}, {"HF_TOKEN": ""}),
        ("HF_HUB_OFFLINE forbids to push", {}, {"HF_HUB_OFFLINE": "1"}),
        ("HTTP status 401; check HF_TOKEN", {}, {"HF_TOKEN": "hf_wrong"}),
        ("HTTP status 403; check that HF_TOKEN", {}, {"HF_TOKEN": READ_TOKEN}),
        ("HTTP status 403; check that HF_TOKEN", {"exists": True}, {"HF_TOKEN": READ_TOKEN}),
        ("HTTP status 500", {"refuse": (500, "")}, {}),
        ("somebody else changed the repository", {"moves": 1}, {}),
        ("rejects the files of someone/a-model: Invalid metadata", {"mistakes": ["license"]}, {}),
        ("could not be pushed to http://[::1]:9", {}, {"HF_ENDPOINT": "http://[::1]:9"}),
    ],
)
def test_failed_uploads_are_one_line(hub, folder, tmp_path, message, how, environment):
    for name, value in how.items():
        setattr(hub, name, value)
    code = f"""
from pathlib import Path
from tidyvoice.errors import one_line_errors
from tidyvoice.modelhub.huggingface import upload
with one_line_errors():
    upload({REPOSITORY!r}, Path({str(folder)!r}))
"""
    result = run(hub, tmp_path, "python", "-c", code, **environment)
    assert message in failing(result)
    assert TOKEN not in result.stdout + result.stderr
    assert hub.files == {}


def test_nothing_but_a_model_is_pushed(hub, trained, tmp_path):
    line = failing(push(hub, tmp_path, trained.folder, REPOSITORY, *MODEL))
    assert "holds several models: give one of exp/first; exp/second" in line
    line = failing(push(hub, tmp_path, trained.first, REPOSITORY, *MODEL, HF_TOKEN=""))
    assert "no token to push with" in line
    assert hub.asked == []
    line = failing(push(hub, tmp_path, trained.first, "another/name", *MODEL))
    assert "another/name could not be pushed" in line
    assert posted(hub) == ["/api/repos/create"]


def test_a_folder_alone_needs_no_hub(hub, trained, tmp_path):
    command = [trained.first, REPOSITORY, *MODEL, "--out", "out"]
    line = failing(push(hub, tmp_path, *command, "--private"))
    assert "--private: nothing is pushed with --out" in line
    result = push(hub, tmp_path, *command, HF_TOKEN="", HF_HUB_OFFLINE="1")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert hub.asked == []
