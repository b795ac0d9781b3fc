"""embed, verify, enroll, voices, identify, fit-verifier."""

import fcntl
import json
import os
import re
import shutil
from contextlib import suppress

import numpy as np
import pytest
import soundfile
import torch
from conftest import invoke, refusal, succeed

import tidyvoice
from tidyvoice import Gallery
from tidyvoice.scoring.embeddings import load_embeddings
from tidyvoice.verification import IDENTIFICATION


@pytest.fixture
def here(voices, tmp_path, monkeypatch):
    """A folder with recordings and the model that the environment names."""
    shutil.copytree(voices, tmp_path / "own", ignore=shutil.ignore_patterns("corpus"))
    monkeypatch.chdir(tmp_path / "own")
    monkeypatch.setenv("TIDYVOICE_MODEL", "model")
    return tmp_path / "own"


def test_verify_prints_text_or_json(here, monkeypatch):
    assert succeed("verify", "ann-1.wav", "ann-2.wav").startswith("the same speaker: score ")
    assert succeed("verify", "ann-1.wav", "bob-1.wav").startswith("different speakers: score ")
    result = json.loads(succeed("verify", "ann-1.wav", "ann-2.wav", "--prior", 0.9, "--json"))
    assert (result["same_speaker"], result["prior"]) == (True, 0.9)
    text = succeed("verify", "ann-1.wav", "ann-2.wav", "--threshold", 1.5)
    assert re.match(r"different speakers: score \S+, threshold 1.500\n", text)
    monkeypatch.delenv("TIDYVOICE_MODEL")
    succeed("verify", "ann-1.wav", "ann-2.wav", "--model", "model")
    assert invoke("verify", "ann-1.wav", "ann-2.wav").exit_code == 2


def test_each_recording_has_a_channel_of_its_own(here):
    (ann, rate), (bob, _) = (soundfile.read(f"{name}-1.wav") for name in ("ann", "bob"))
    length = min(len(ann), len(bob))
    soundfile.write("both.wav", np.stack([bob[:length], ann[:length]], axis=1), rate)
    command = ("verify", "both.wav", "ann-2.wav")
    assert succeed(*command, "--channel", 1, "--channel", 0).startswith("the same speaker")
    assert succeed(*command).startswith("different speakers")
    assert "ann-2.wav: no channel 1" in refusal(*command, "--channel", 1)
    assert "--channel: 3 values" in refusal(*command, *["--channel", 0] * 3)


def test_the_version_is_printed():
    assert succeed("--version") == f"tidyvoice {tidyvoice.__version__}\n"


def test_a_model_without_a_verifier_gives_the_score_alone(here):
    (here / "model/verifier.json").unlink()
    assert "there is no threshold" in succeed("verify", "ann-1.wav", "ann-2.wav")
    succeed("enroll", "Ann", "ann-1.wav", "--voices", "voices.npz")
    assert "no verifier" in refusal("identify", "ann-2.wav", "--voices", "voices.npz")


def test_speakers_are_enrolled_identified_listed_and_deleted(here):
    voices = ("--voices", "voices.npz")
    succeed("enroll", "Ann", "ann-1.wav", "ann-2.wav", *voices)
    row = json.loads(succeed("enroll", "Bob", "bob-1.wav", *voices, "--json"))
    assert (row["enrolled"], row["recordings"]) == (2, 1)
    identify = ("identify", "ann-3.wav", "bob-2.wav", *voices, "--false-alarm", 0.2)
    results = json.loads(succeed(*identify, "--json"))["results"]
    assert [row["recording"] for row in results] == ["ann-3.wav", "bob-2.wav"]
    assert [row["name"] for row in results] == ["Ann", "Bob"]
    assert [row["name"] for row in results[0]["candidates"]] == ["Ann", "Bob"]
    text = succeed(*identify)
    assert "bob-2.wav: Bob (threshold " in text
    assert "target false-alarm rate 20.00% for speech like that of known.npz" in text
    assert IDENTIFICATION in " ".join(succeed("identify", "--help").split())
    assert "already" in refusal("enroll", "Bob", "bob-2.wav", *voices)
    succeed("enroll", "Bob", "bob-2.wav", *voices, "--overwrite")
    assert "nowhere.npz is missing" in refusal("identify", "ann-3.wav", "--voices", "nowhere.npz")
    assert re.search(r"^ +Ann: 2 recordings", succeed("voices", "voices.npz"), re.MULTILINE)
    rows = json.loads(succeed("voices", "voices.npz", "--remove", "Ann", "--json"))["enrolled"]
    assert [(row["name"], row["recordings"]) for row in rows] == [("Bob", 1)]
    assert "'Ann' is not enrolled" in refusal("voices", "voices.npz", "--remove", "Ann")
    assert "is missing" in refusal("voices", "nowhere/voices.npz", "--remove", "Ann")
    assert not (here / "nowhere").exists()


def test_the_file_of_speakers_changes_under_its_lock(here, monkeypatch):
    load, save, seen = Gallery.load, Gallery.save, []

    def locked():
        with open(".voices.npz.lock") as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return False
        return True

    monkeypatch.setattr(Gallery, "load", lambda path: (seen.append(locked()), load(path))[1])
    monkeypatch.setattr(Gallery, "save", lambda *a: (seen.append(locked()), save(*a))[1])
    succeed("enroll", "Bob", "bob-1.wav", "--voices", "voices.npz")
    succeed("voices", "voices.npz", "--remove", "Bob")
    # `voices` reads the file once before it waits for the lock.
    assert seen == [True, False, True, True]


def test_embeddings_go_to_a_table_or_to_json(here):
    succeed("embed", "ann-1.wav", "bob-1.wav", "--out", "e.npz")
    table = load_embeddings("e.npz")
    assert (table.ids, table.trained_on) == (["ann-1.wav", "bob-1.wav"], ["somebody"])
    rows = json.loads(succeed("embed", "ann-1.wav", "bob-1.wav", "--json"))
    np.testing.assert_allclose([row["embedding"] for row in rows], table.vectors)
    assert "give --out FILE.npz" in refusal("embed", "ann-1.wav")


DATA = "data/wav.scp data/utt2dur data/spk2utt data/terms data/shards/a.tar data/part-1-of-2/x"


@pytest.mark.parametrize(
    ("command", "inputs"),
    [
        ("embed ann-1.wav --out", "ann-1.wav model/config.yaml model/avg_model.pt model/a.onnx"),
        ("enroll Ann ann-1.wav --voices", "ann-1.wav model/avg_model.pt known.npz"),
        ("extract --model model --data data --out", f"{DATA} model/speakers.txt model/source.json"),
        ("trials data --out", DATA),
        ("export --int8 data --out", f"{DATA} model/config.yaml model/verifier.json"),
        ("fit-verifier --embeddings known.npz --trials", "model/verifier.json"),
        ("fit-verifier --embeddings a --trials b --backend", "model/verifier.json"),
    ],
)
def test_what_is_read_is_not_written_over(here, command, inputs):
    os.mkfifo("pipe")
    for name in f"{DATA} model/source.json model/a.onnx".split():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text("x x\n")
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    odd = ["pipe", "model", "bob-1.wav", "ann-1.wav/x", "a\nb", "a\udcff"]
    lost = (
        r"is an input|is a recording|belongs to the input|not a.* file|is a file|name of one line"
    )
    for name in inputs.split() + odd * (not command.startswith("fit")):
        assert re.search(lost, refusal(*command.split(), name)), name
    assert before == {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}


def test_the_layout_of_a_release_has_the_verifier_beside_the_settings(here):
    (here / "model/models").mkdir()
    (here / "model/avg_model.pt").rename(here / "model/models/avg_model.pt")
    (here / "model/verifier.json").unlink()
    known = ("--embeddings", "known.npz", "--trials", "trials", "--allow-overlap")
    succeed("fit-verifier", "--model", "model", *known)
    assert (here / "model/verifier.json").is_file()
    assert "probability" in succeed("verify", "ann-1.wav", "ann-2.wav")


def test_a_poor_recording_warns_and_an_unfit_one_fails(here):
    noise = 0.1 * np.random.default_rng(1).standard_normal(48000)
    soundfile.write("noise.wav", noise, 16000)
    soundfile.write("silent.wav", np.zeros(48000), 16000)
    assert "warning: noise.wav has a constant level" in succeed("verify", "noise.wav", "ann-1.wav")
    assert "silent.wav is silent" in refusal("embed", "ann-1.wav", "silent.wav", "--out", "e.npz")
    assert not (here / "e.npz").exists()


def test_a_verifier_is_fitted_and_refused(here):
    arguments = ("--embeddings", "known.npz", "--trials", "trials", "--mean", "known.npz")
    before = json.loads((here / "model/verifier.json").read_text())
    (here / "model/verifier.json").unlink()
    assert "share 8 speakers" in refusal("fit-verifier", "--model", "model", *arguments)
    assert not (here / "model/verifier.json").exists()
    said = succeed("fit-verifier", "--model", "model", *arguments, "--allow-overlap")
    assert "200 target and 1,500 non-target trials" in said
    assert "share 8 speakers" in said
    after = json.loads((here / "model/verifier.json").read_text())
    before.pop("notes")  # which name the paths as they were given
    notes = after.pop("notes")
    assert after == before
    assert (notes["embeddings"], notes["trials"]) == ("known.npz", "trials")
    succeed("fit-backend --embeddings known.npz --method plda --out backend.json")
    arguments = (*arguments[:4], "--backend", "backend.json")
    said = refusal("fit-verifier", "--model", "model", *arguments)
    assert "the trials of trials and the back end backend.json share 8 speakers" in said
    said = succeed("fit-verifier", "--model", "model", *arguments, "--allow-overlap")
    assert "PLDA, cohort offsets, fitted to" in said
    assert "id000001" not in (here / "model/verifier.json").read_text()
    found = json.loads(succeed("verify", "ann-1.wav", "ann-1.wav", "--json"))
    assert found["score"] > 1  # a cosine is not
    state = torch.load("model/avg_model.pt")
    state["bottleneck.bias"] += 1
    torch.save(state, "model/avg_model.pt")
    assert "verifier.json belongs to another model" in refusal("embed", "ann-1.wav", "--json")
    said = refusal("fit-verifier", "--model", "model", *arguments, "--allow-overlap")
    assert "known.npz belongs to another model than model" in said
