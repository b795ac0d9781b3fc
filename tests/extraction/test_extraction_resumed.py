"""Extractions that are stopped, shared out, spoiled, or of long recordings."""

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import fill_weights, prepared, seeded

from tests.preloaded import environment
from tidyvoice.config import ModelSettings
from tidyvoice.data.manifest import scan
from tidyvoice.data.packing import write_shards
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.extraction import extract as run
from tidyvoice.extraction.extract import extract
from tidyvoice.frontend import FrontendSettings
from tidyvoice.modelhub.folder import save_model_config
from tidyvoice.models import build_model
from tidyvoice.scoring.embeddings import load_embeddings

ROOT = Path(__file__).parents[2]


def make_encoder(seed=1, precision="float32"):
    model = fill_weights(build_model("SimAM_ResNet34_ASP", in_planes=4, embed_dim=24), seed)
    return SpeakerEncoder(model, FrontendSettings(), device="cpu", precision=precision)


@pytest.fixture(scope="module")
def encoder():
    return make_encoder()


@pytest.fixture
def data(tmp_path):
    return prepared(tmp_path, speakers=4, utterances=3, seconds=0.4)


@pytest.fixture
def kept_at_once(monkeypatch):
    monkeypatch.setattr(run, "SHARE", 0.0)
    monkeypatch.setattr(run, "SHORTEST", 0.0)


def stop_after(encoder, monkeypatch, batches):
    """Play Ctrl-C after some batches."""
    made, embed = [], encoder.embed_samples

    def embed_samples(samples):
        if len(made) == batches:
            raise KeyboardInterrupt
        made.append(len(samples))
        return embed(samples)

    monkeypatch.setattr(encoder, "embed_samples", embed_samples)
    return made


def stopped(encoder, data, out, batches, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        stop_after(encoder, patch, batches)
        with pytest.raises(KeyboardInterrupt):
            extract(encoder, data, out, memory_mib=1, **options)


def test_what_was_stopped_goes_on_to_the_same_bytes(encoder, data, tmp_path, kept_at_once, capsys):
    whole, out = tmp_path / "whole.npz", tmp_path / "e.npz"
    made = extract(encoder, data, whole, memory_mib=1)
    assert (made.utterances, made.resumed, made.failed) == (12, 0, 0)
    for batches in (1, 2):
        stopped(encoder, data, out, batches)
        assert not out.exists()
    made = extract(encoder, data, out, memory_mib=None)  # keeps the batches it began with
    assert made.utterances == 12
    assert made.resumed > 0
    assert "of 12 utterances" in capsys.readouterr().err
    assert out.read_bytes() == whole.read_bytes()
    assert not (tmp_path / "e.npz.parts").exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [("model", "model"), ("longest", "longest"), ("data", "utterances"), ("code", "code")],
)
def test_parts_of_another_plan_are_discarded_and_it_is_said(
    encoder, data, tmp_path, kept_at_once, capsys, monkeypatch, change, named
):
    out = tmp_path / "e.npz"
    stopped(encoder, data, out, 1)
    if change == "code":
        monkeypatch.setattr(run, "source_hash", lambda: "other")
    other = make_encoder(2) if change == "model" else encoder
    options = {"longest": 60.0} if change == "longest" else {}
    options |= {"limit": 11} if change == "data" else {}
    made = extract(other, data, out, **options)
    assert made.resumed == 0
    assert f"e.npz.parts has parts for another {named}: deleted" in capsys.readouterr().err
    extract(other, data, tmp_path / "fresh.npz", **options)
    assert out.read_bytes() == (tmp_path / "fresh.npz").read_bytes()


def test_a_damaged_part_is_named(encoder, data, tmp_path, kept_at_once):
    stopped(encoder, data, tmp_path / "e.npz", 1)
    part = next((tmp_path / "e.npz.parts").glob("*.npz"))
    part.write_bytes(b"PK\3\4")
    with pytest.raises(TidyVoiceError, match="is damaged: delete it"):
        extract(encoder, data, tmp_path / "e.npz")
    part.unlink()
    assert extract(encoder, data, tmp_path / "e.npz").utterances == 12


def test_unfit_files_are_left_out_and_listed(encoder, data, tmp_path, capsys):
    whole = tmp_path / "whole.npz"
    extract(encoder, data, whole)
    corpus = tmp_path / "corpus"
    (corpus / "id000001" / "en" / "en_0.wav").unlink()
    (corpus / "id000002" / "fr" / "fr_1.wav").write_bytes(b"RIFF")
    out, listed = tmp_path / "e.npz", tmp_path / "e.npz.failed.txt"
    made = extract(encoder, data, out)
    assert (made.utterances, made.failed, made.failures) == (10, 2, listed)
    lines = [line.split(" ", 1) for line in listed.read_text().splitlines()]
    assert [name for name, _ in lines] == ["id000001/en/en_0.wav", "id000002/fr/fr_1.wav"]
    assert "is missing" in lines[0][1]
    assert "cannot be read as audio" in lines[1][1]
    assert "left out: id000001/en/en_0.wav" in capsys.readouterr().err
    before, after = load_embeddings(whole), load_embeddings(out)
    kept = [before.ids.index(name) for name in after.ids]
    assert len(kept) == 10
    np.testing.assert_allclose(after.vectors, before.vectors[kept], rtol=1e-4, atol=1e-5)


def test_what_is_too_short_is_listed_and_an_old_list_is_removed(encoder, data, tmp_path):
    out, listed = tmp_path / "e.npz", tmp_path / "e.npz.failed.txt"
    short = tmp_path / "corpus" / "id000001" / "en" / "en_0.wav"
    soundfile.write(short, np.zeros(399), 16000)
    scan(tmp_path / "corpus", language_folder=True).write(data)
    made = extract(encoder, data, out)
    assert (made.utterances, made.failed) == (11, 1)
    assert listed.read_text() == "id000001/en/en_0.wav 399 samples, less than one frame\n"
    short.unlink()
    scan(tmp_path / "corpus", language_folder=True).write(data)
    assert extract(encoder, data, out).failures is None
    assert not listed.exists()


def test_what_is_too_short_for_bfloat16_is_listed(tmp_path):
    folder = tmp_path / "corpus" / "id1" / "en"
    folder.mkdir(parents=True)
    for samples in (1679, 1680):
        noise = 0.1 * seeded(samples).standard_normal(samples)
        soundfile.write(folder / f"{samples}.wav", noise, 16000)
    scan(tmp_path / "corpus", language_folder=True).write(tmp_path / "data")
    made = extract(make_encoder(precision="bfloat16"), tmp_path / "data", tmp_path / "e.npz")
    assert (made.utterances, made.failed) == (1, 1)
    limit = "less than the 9 frames that bfloat16 needs; use --precision float32"
    assert made.failures.read_text() == f"id1/en/1679.wav 1679 samples, {limit}\n"


def test_an_embedding_that_is_not_finite_is_named(data, tmp_path):
    def spoil(module, inputs, embeddings):
        embeddings[2] = np.nan

    encoder = make_encoder()
    encoder.inference.bottleneck.register_forward_hook(spoil)
    with pytest.raises(
        TidyVoiceError, match=r"id000002/en/en_2\.wav: the embedding of 58 frames is not finite"
    ):
        extract(encoder, data, tmp_path / "e.npz")


def test_where_nothing_can_be_read_nothing_is_made(encoder, data, tmp_path):
    for wav in (tmp_path / "corpus").rglob("*.wav"):
        wav.unlink()
    with pytest.raises(TidyVoiceError, match=r"no utterance could be read: .*; and 11 more"):
        extract(encoder, data, tmp_path / "e.npz")
    assert not (tmp_path / "e.npz").exists()
    assert not (tmp_path / "e.npz.parts").exists()


@pytest.mark.parametrize("source", ["wav", "flac", "shards"])
def test_a_long_recording_is_the_weighted_mean_of_its_pieces(encoder, tmp_path, capsys, source):
    folder = tmp_path / "corpus" / "id1" / "en"
    folder.mkdir(parents=True)
    ending = "flac" if source == "flac" else "wav"
    for name, seconds in (("short", 0.9), ("long", 2.505)):
        noise = 0.1 * seeded(1, len(name)).standard_normal(int(16000 * seconds))
        soundfile.write(folder / f"{name}.{ending}", noise, 16000, subtype="PCM_16")
    table = scan(tmp_path / "corpus", language_folder=True, endings=(f".{ending}",))
    table.write(tmp_path / "data")
    if source == "shards":
        write_shards(tmp_path / "data")
        (tmp_path / "data" / "wav.scp").unlink()
    extract(encoder, tmp_path / "data", tmp_path / "e.npz", longest=1.0)
    assert "1 recordings over 1 s, embedded in 3 pieces" in capsys.readouterr().err
    pieced = load_embeddings(tmp_path / "e.npz")
    samples, _ = soundfile.read(folder / f"long.{ending}", dtype="int16")
    assert encoder.frontend.num_frames(samples.size) == 249
    weighted = np.zeros(24)
    for start, frames in ((0, 83), (83, 83), (166, 83)):
        piece = samples[160 * start : 160 * start + encoder.frontend.num_samples(frames)]
        weighted += frames * encoder.embed_samples(piece[None])[0]
    found = pieced.vectors[[name.endswith(f"long.{ending}") for name in pieced.ids].index(True)]
    np.testing.assert_allclose(found, weighted / 249, rtol=1e-4, atol=1e-5)
    extract(encoder, tmp_path / "data", tmp_path / "whole.npz")
    whole = load_embeddings(tmp_path / "whole.npz")
    short = [name.endswith(f"short.{ending}") for name in pieced.ids].index(True)
    np.testing.assert_allclose(pieced.vectors[short], whole.vectors[short], rtol=1e-4, atol=1e-5)
    assert np.abs(whole.vectors[1 - short] - found).max() > 1e-3


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extraction") / "model"
    model = fill_weights(build_model("SimAM_ResNet34_ASP", in_planes=8, embed_dim=24), 1)
    settings = ModelSettings(args={"in_planes": 8, "embed_dim": 24})
    save_model_config(folder, settings, FrontendSettings(), ["nobody"])
    torch.save(model.state_dict(), folder / "avg_model.pt")
    return folder


def start(model, data, out, processes=1, *options):
    command = ["tidyvoice"]
    if processes > 1:
        command = ["torchrun", "--standalone", f"--nproc-per-node={processes}", "-m", "tidyvoice"]
    command += ["extract", "--model", model, "--data", data, "--out", out, "--device", "cpu"]
    return subprocess.Popen(
        [*map(str, command), *options],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors[-3000:]
    return output


def test_killed_twice_and_ended_by_two_processes_it_has_the_same_bytes(model_folder, tmp_path):
    rng = seeded(1)
    for number in range(500):
        path = tmp_path / "corpus" / f"id{number % 9}" / "en" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.standard_normal(rng.integers(16000, 48000)) / 10
        soundfile.write(path, noise, 16000)
    scan(tmp_path / "corpus", language_folder=True).write(tmp_path / "data")
    whole, out = tmp_path / "whole.npz", tmp_path / "e.npz"
    made = json.loads(finish(start(model_folder, tmp_path / "data", whole, 1, "--json")))
    assert made["utterances"] == 500
    for kill in (1, 2):
        process = start(model_folder, tmp_path / "data", out)
        while not any((tmp_path / "e.npz.parts").glob(f"{kill:04d}-*.npz")):
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not out.exists()
    made = json.loads(finish(start(model_folder, tmp_path / "data", out, 2, "--json")))
    assert 0 < made["resumed"] < 500
    assert out.read_bytes() == whole.read_bytes()
    assert not (tmp_path / "e.npz.parts").exists()


def test_the_command_says_what_failed(model_folder, data, tmp_path):
    next((tmp_path / "corpus").rglob("en_0.wav")).unlink()
    out = tmp_path / "e.npz"
    output = finish(start(model_folder, data, out, 2))
    assert output.count(f"; 1 utterances failed, listed in {out}.failed.txt") == 1
    strict = start(model_folder, data, out, 1, "--strict")
    _, errors = strict.communicate(timeout=120)
    assert strict.returncode == 1
    assert "en_0.wav is missing" in errors.splitlines()[-1]
