"""Pushing to a Hub on this machine, and loading from it."""

import json
import re

import numpy as np
import pytest
from huggingface_hub import ModelCard

from tests.fake_hub import READ_TOKEN, REPOSITORY, TOKEN, fake_hub
from tests.preloaded import failing
from tests.publish.support import run
from tidyvoice.encoder import SpeakerEncoder


@pytest.fixture
def hub():
    with fake_hub() as server:
        server.exists = False
        yield server


def push(hub, where, model, *arguments, **changes):
    command = ("hub", "push", model, REPOSITORY, "--licence", "mit", "--bootstrap", "0")
    return run(hub, where, "tidyvoice", *command, *arguments, **changes)


def test_a_pushed_model_loads_back_with_the_same_embeddings(hub, trained, voices, tmp_path):
    result = push(hub, tmp_path, trained.experiment, "--json")
    assert result.returncode == 0, result.stderr
    row = json.loads(result.stdout)
    assert (row["url"], row["commit"]) == (f"{hub.address}/{REPOSITORY}", hub.commit)
    assert row["files"] == sorted(hub.files)

    # The code in the card, with an empty cache.
    text = ModelCard(hub.files["README.md"].decode()).text
    (code,) = re.findall(r"```python\n(.+?)```", text, re.DOTALL)
    for name, wav in (("one.wav", "ann-1.wav"), ("other.wav", "ann-2.wav")):
        (tmp_path / name).write_bytes((voices / wav).read_bytes())
    code += 'import numpy; numpy.save("embedding.npy", encoder.embed("one.wav"))\n'
    code += "print(encoder.weights, repr(result.llr))\n"
    result = run(hub, tmp_path, "python", "-c", code, HF_TOKEN="")
    assert result.returncode == 0, result.stderr
    encoder = SpeakerEncoder.from_pretrained(trained.model, "cpu")
    here = encoder.embed(tmp_path / "one.wav")
    assert np.load(tmp_path / "embedding.npy").tobytes() == here.tobytes()
    verified = encoder.verify(tmp_path / "one.wav", tmp_path / "other.wav")
    assert result.stdout.split() == [encoder.weights, repr(verified.llr)]


def test_a_private_repository_is_created_and_a_public_one_refused(hub, trained, tmp_path):
    result = push(hub, tmp_path, trained.initial, "--private", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["private"] is hub.private is True
    hub.private, before = False, dict(hub.files)
    assert f"{REPOSITORY} is public" in failing(push(hub, tmp_path, trained.initial, "--private"))
    assert hub.files == before


def test_files_of_another_model_are_deleted_from_the_repository(hub, trained, tmp_path):
    hub.exists = True
    hub.serve_folder(trained.model)
    hub.serve({**hub.files, "notes.txt": b"kept"})
    assert {"avg_model.pt", "head.pt"} <= set(hub.files)
    result = push(hub, tmp_path, trained.initial)
    assert result.returncode == 0, result.stderr
    assert {"avg_model.pt", "head.pt"}.isdisjoint(hub.files)
    assert hub.files["notes.txt"] == b"kept"


@pytest.mark.parametrize(
    ("message", "refuse", "environment"),
    [
        ("needs the network and a token: set HF_TOKEN", {}, {"HF_TOKEN": ""}),
        ("HTTP status 403 .*; check that HF_TOKEN", {}, {"HF_TOKEN": READ_TOKEN}),
        ("somebody else changed the repository", {"/commit/": (412, "")}, {}),
    ],
)
def test_failed_uploads_are_one_line(hub, trained, tmp_path, message, refuse, environment):
    hub.refuse = refuse
    result = push(hub, tmp_path, trained.initial, **environment)
    assert re.search(message, failing(result))
    assert TOKEN not in result.stdout + result.stderr
    assert hub.files == {}


def test_a_folder_alone_needs_no_hub(hub, trained, tmp_path):
    command = ("tidyvoice", "hub", "push", trained.initial, "a-model", "--licence", "mit")
    assert "a-model: not a repository id; write OWNER/NAME" in failing(run(hub, tmp_path, *command))
    result = push(hub, tmp_path, trained.initial, "--out", "out", HF_TOKEN="", HF_HUB_OFFLINE="1")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert hub.asked == []
