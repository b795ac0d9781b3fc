"""Extractions that are stopped, shared out, spoiled, or of long recordings."""

import json
import signal
import subprocess
import time

import numpy as np
import pytest
import soundfile
import torch
from conftest import fill_weights, invoke, prepared, seeded, succeed

from tests.preloaded import environment
from tidyvoice.config import ModelSettings
from tidyvoice.data.manifest import scan
from tidyvoice.data.packing import write_shards
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.extraction import extract as module
from tidyvoice.extraction.extract import extract
from tidyvoice.frontend import FrontendSettings
from tidyvoice.modelhub.folder import save_model_config
from tidyvoice.models import build_model
from tidyvoice.scoring.embeddings import load_embeddings


def make_encoder(seed=1, precision="float32"):
    model = fill_weights(build_model("SimAM_ResNet34_ASP", in_planes=4, embed_dim=24), seed)
    return SpeakerEncoder(model, FrontendSettings(), device="cpu", precision=precision)


@pytest.fixture(scope="module")
def encoder():
    return make_encoder()


@pytest.fixture
def data(tmp_path):
    return prepared(tmp_path, speakers=4, utterances=3, seconds=0.4)


def stop(encoder, data, out, batches):
    """Play Ctrl-C after some batches, each of which is written at once."""
    count, embed = 0, encoder.embed_samples

    def embed_samples(samples):
        nonlocal count
        if count == batches:
            raise KeyboardInterrupt
        count += 1
        return embed(samples)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SHARE", 0.0)
        patch.setattr(module, "SHORTEST", 0.0)
        patch.setattr(encoder, "embed_samples", embed_samples)
        with pytest.raises(KeyboardInterrupt):
            extract(encoder, data, out, memory_mib=1)
    torch.set_num_threads(threads)


def test_what_was_stopped_goes_on_to_the_same_bytes(encoder, data, tmp_path, capsys):
    whole, out = tmp_path / "whole.npz", tmp_path / "e.npz"
    made = extract(encoder, data, whole, memory_mib=1)
    assert (made.utterances, made.resumed, made.failed) == (12, 0, 0)
    for batches in (1, 2):
        stop(encoder, data, out, batches)
        assert not out.exists()
    made = extract(encoder, data, out, memory_mib=1)
    assert made.utterances == 12
    assert made.resumed > 0
    assert "of 12 utterances" in capsys.readouterr().err
    assert out.read_bytes() == whole.read_bytes()
    assert not (tmp_path / "e.npz.parts").exists()


@pytest.mark.parametrize("change", ["model", "longest", "utterances", "code", "batch_frames"])
def test_parts_of_another_plan_are_deleted(encoder, data, tmp_path, capsys, monkeypatch, change):
    out = tmp_path / "e.npz"
    stop(encoder, data, out, 1)
    if change == "code":
        monkeypatch.setattr(module, "source_hash", lambda: "other")
    other = make_encoder(2) if change == "model" else encoder
    options = {"memory_mib": 2 if change == "batch_frames" else 1}
    options |= {"longest": 60.0} if change == "longest" else {}
    options |= {"limit": 11} if change == "utterances" else {}
    assert extract(other, data, out, **options).resumed == 0
    assert f"e.npz.parts has parts for another {change}: deleted" in capsys.readouterr().err
    extract(other, data, tmp_path / "fresh.npz", **options)
    assert out.read_bytes() == (tmp_path / "fresh.npz").read_bytes()


def test_unfit_files_are_left_out_and_listed(encoder, data, tmp_path):
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
    before, after = load_embeddings(whole), load_embeddings(out)
    kept = [before.ids.index(name) for name in after.ids]
    assert len(kept) == 10
    np.testing.assert_allclose(after.vectors, before.vectors[kept], rtol=1e-4, atol=1e-5)
    for wav in corpus.rglob("*.wav"):
        wav.unlink()
    with pytest.raises(TidyVoiceError, match=r"no utterance could be read: .*; and 11 more"):
        extract(encoder, data, tmp_path / "none.npz")
    assert not (tmp_path / "none.npz").exists()


@pytest.mark.parametrize(
    ("precision", "samples", "limit"),
    [
        ("float32", 400, "one frame"),
        ("bfloat16", 1680, "the 9 frames that bfloat16 needs; use --precision float32"),
    ],
)
def test_what_is_too_short_is_listed_and_an_old_list_is_removed(
    tmp_path, precision, samples, limit
):
    wav, encoder = tmp_path / "corpus" / "id1" / "en" / "short.wav", make_encoder(1, precision)
    wav.parent.mkdir(parents=True)
    soundfile.write(wav.with_name("long.wav"), 0.1 * seeded(1).standard_normal(samples), 16000)
    for count in (samples - 1, samples):
        soundfile.write(wav, 0.1 * seeded(count).standard_normal(count), 16000)
        scan(tmp_path / "corpus", language_folder=True).write(tmp_path / "data")
        made = extract(encoder, tmp_path / "data", tmp_path / "e.npz")
        if count < samples:
            assert (made.utterances, made.failed) == (1, 1)
            line = f"id1/en/short.wav {count} samples, less than {limit}\n"
            assert made.failures.read_text() == line
    assert (made.utterances, made.failures) == (2, None)
    assert not (tmp_path / "e.npz.failed.txt").exists()


def test_an_embedding_that_is_not_finite_is_named(data, tmp_path):
    def spoil(module, inputs, embeddings):
        embeddings[2] = np.nan

    encoder = make_encoder()
    encoder.inference.bottleneck.register_forward_hook(spoil)
    with pytest.raises(
        TidyVoiceError, match=r"id000002/en/en_2\.wav: the embedding of 58 frames is not finite"
    ):
        extract(encoder, data, tmp_path / "e.npz")


@pytest.mark.parametrize("source", ["wav", "flac", "shards"])
def test_a_long_recording_is_the_weighted_mean_of_its_pieces(encoder, tmp_path, source):
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
    vectors = {}
    for name, longest in (("pieces", 1.0), ("whole", 120.0)):
        extract(encoder, tmp_path / "data", tmp_path / "e.npz", longest=longest)
        loaded = load_embeddings(tmp_path / "e.npz")
        vectors[name] = dict(zip(loaded.ids, loaded.vectors, strict=True))
    samples, _ = soundfile.read(folder / f"long.{ending}", dtype="int16")
    assert encoder.frontend.num_frames(samples.size) == 249
    weighted = np.zeros(24)
    for start, frames in ((0, 83), (83, 83), (166, 83)):
        piece = samples[160 * start : 160 * start + encoder.frontend.num_samples(frames)]
        weighted += frames * encoder.embed_samples(piece[None])[0]
    long, short = (f"id1/en/{name}.{ending}" for name in ("long", "short"))
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(vectors["pieces"][long], weighted / 249, **close)
    np.testing.assert_allclose(vectors["pieces"][short], vectors["whole"][short], **close)
    assert np.abs(vectors["whole"][long] - vectors["pieces"][long]).max() > 1e-3


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extraction") / "model"
    model = fill_weights(build_model("SimAM_ResNet34_ASP", in_planes=8, embed_dim=24), 1)
    settings = ModelSettings(args={"in_planes": 8, "embed_dim": 24})
    save_model_config(folder, settings, FrontendSettings(), ["nobody"])
    torch.save(model.state_dict(), folder / "avg_model.pt")
    return folder


def start(model, data, out, processes):
    command = ["tidyvoice"]
    if processes > 1:
        command = ["torchrun", "--standalone", f"--nproc-per-node={processes}", "-m", "tidyvoice"]
    command += ["extract", "--model", model, "--data", data, "--out", out, "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*map(str, command)], env=environment(), **pipes)


def finish(process):
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors[-3000:]
    return json.loads(output)


def test_killed_twice_and_ended_by_two_processes_it_has_the_same_bytes(model_folder, tmp_path):
    rng = seeded(1)
    for number in range(500):
        path = tmp_path / "corpus" / f"id{number % 9}" / "en" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.standard_normal(rng.integers(16000, 48000)) / 10
        soundfile.write(path, noise, 16000)
    data, whole, out = (tmp_path / name for name in ("data", "whole.npz", "e.npz"))
    scan(tmp_path / "corpus", language_folder=True).write(data)
    made = finish(start(model_folder, data, whole, 1))
    assert made["utterances"] == 500
    for _ in range(2):
        parts = set((tmp_path / "e.npz.parts").glob("*.npz"))
        process = start(model_folder, data, out, 1)
        while set((tmp_path / "e.npz.parts").glob("*.npz")) == parts:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not out.exists()
    made = finish(start(model_folder, data, out, 2))
    assert 0 < made["resumed"] < 500
    assert out.read_bytes() == whole.read_bytes()
    assert not (tmp_path / "e.npz.parts").exists()


def test_the_command_says_what_failed(model_folder, data, tmp_path):
    next((tmp_path / "corpus").rglob("en_0.wav")).unlink()
    out = tmp_path / "e.npz"
    command = ("extract", "--model", model_folder, "--data", data, "--out", out)
    assert f"; 1 utterances failed, listed in {out}.failed.txt" in succeed(*command)
    strict = invoke(*command, "--strict")
    assert strict.exit_code == 1
    assert "en_0.wav is missing" in strict.output.splitlines()[-1]
