"""Extractions that are stopped, shared out, spoiled, or of long recordings."""

import json
import signal
import time

import numpy as np
import pytest
import soundfile
import torch
from conftest import fill_weights, prepared, refused, seeded, stop_extraction, succeed, write_model

from tests import preloaded
from tidyvoice.audio import read_pcm16
from tidyvoice.data.manifest import Manifest, scan
from tidyvoice.data.packing import write_shards
from tidyvoice.distributed import choose_device
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.extraction import extract as module
from tidyvoice.extraction.extract import extract
from tidyvoice.frontend import FrontendSettings
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


def test_what_was_stopped_goes_on_to_the_same_bytes(encoder, data, tmp_path, capsys):
    whole, out = tmp_path / "whole.npz", tmp_path / "e.npz"
    made = extract(encoder, data, whole, memory_mib=1)
    assert (made.utterances, made.resumed, made.failed) == (12, 0, 0)
    for batches in (1, 2):
        stop_extraction(encoder, data, out, batches, memory_mib=1)
        assert not out.exists()
    made = extract(encoder, data, out, memory_mib=1)
    assert made.utterances == 12
    assert made.resumed > 0
    assert "of 12 utterances" in capsys.readouterr().err
    assert out.read_bytes() == whole.read_bytes()
    assert not (tmp_path / "e.npz.parts").exists()


@pytest.mark.parametrize(
    "change", ["model", "longest", "utterances", "audio", "code", "batch_frames"]
)
def test_parts_of_another_plan_are_deleted(encoder, data, tmp_path, capsys, monkeypatch, change):
    out = tmp_path / "e.npz"
    stop_extraction(encoder, data, out, memory_mib=1)
    if change == "code":
        monkeypatch.setattr(module, "source_hash", lambda: "other")
    limit = {"limit": 11} if change == "utterances" else {}
    if change == "audio":
        path, change = sorted(data.parent.rglob("*.wav"))[0], "utterances"
        soundfile.write(path, read_pcm16(path)[::-1], 16000)
    other = make_encoder(2) if change == "model" else encoder
    options = {"memory_mib": 2 if change == "batch_frames" else 1}
    options |= {"longest": 60.0} if change == "longest" else {}
    options |= limit
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
    write_model(tmp_path / "model", 4, 24, seed=1)
    command = ("extract", "--model", tmp_path / "model", "--data", data, "--out", out)
    assert f"; 2 utterances failed, listed in {listed}" in succeed(*command)
    lines = [line.split(" ", 1) for line in listed.read_text().splitlines()]
    assert [name for name, _ in lines] == ["id000001/en/en_0.wav", "id000002/fr/fr_1.wav"]
    assert "is missing" in lines[0][1]
    assert "is not a readable audio" in lines[1][1]
    before, after = load_embeddings(whole), load_embeddings(out)
    kept = [before.ids.index(name) for name in after.ids]
    assert len(kept) == 10
    np.testing.assert_allclose(after.vectors, before.vectors[kept], rtol=1e-4, atol=1e-5)
    assert extract(encoder, data, out, limit=1, seed=3).failures is None
    assert not listed.exists()
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
def test_what_is_too_short_is_listed(tmp_path, precision, samples, limit):
    folder = tmp_path / "corpus" / "id1" / "en"
    folder.mkdir(parents=True)
    for count in (samples - 1, samples):
        soundfile.write(folder / f"{count}.wav", 0.1 * seeded(count).standard_normal(count), 16000)
    scan(tmp_path / "corpus", language_folder=True).write(tmp_path / "data")
    made = extract(make_encoder(1, precision), tmp_path / "data", tmp_path / "e.npz")
    assert (made.utterances, made.failed) == (1, 1)
    line = f"id1/en/{samples - 1}.wav {samples - 1} samples, less than {limit}\n"
    assert made.failures.read_text() == line


def test_an_embedding_that_is_not_finite_is_named(data, tmp_path):
    encoder = make_encoder()
    with torch.no_grad():
        next(encoder.inference.bottleneck.parameters()).fill_(np.nan)
    with pytest.raises(TidyVoiceError, match=r"en_\d\.wav: the embedding of \d+ frames is not fin"):
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
        (tmp_path / "data" / "utt2dur").unlink()
    vectors = {}
    for name, longest in (("pieces", 1.0), ("whole", 120.0)):
        extract(encoder, tmp_path / "data", tmp_path / "e.npz", longest=longest)
        loaded = load_embeddings(tmp_path / "e.npz")
        vectors[name] = dict(zip(loaded.ids, loaded.vectors, strict=True))
    samples, _ = soundfile.read(folder / f"long.{ending}", dtype="int16")
    size = encoder.frontend.num_samples(83)  # a third of its 249 frames
    pieces = np.stack([samples[160 * start :][:size] for start in (0, 83, 166)])
    long, short = (f"id1/en/{name}.{ending}" for name in ("long", "short"))
    close = {"rtol": 1e-4, "atol": 1e-5}
    mean = encoder.embed_samples(pieces).mean(axis=0)
    np.testing.assert_allclose(vectors["pieces"][long], mean, **close)
    np.testing.assert_allclose(vectors["pieces"][short], vectors["whole"][short], **close)
    assert np.abs(vectors["whole"][long] - vectors["pieces"][long]).max() > 1e-3


def test_embeddings_are_those_of_the_plain_loop_whatever_the_memory(encoder, data, tmp_path):
    tables, plain = [], []
    for mib in (1, None):
        extract(encoder, data, tmp_path / "e.npz", memory_mib=mib)
        tables.append(load_embeddings(tmp_path / "e.npz"))
    manifest = Manifest.read(data).table
    assert tables[0].ids == tables[1].ids == manifest["utterance"].to_list()
    for path in manifest["path"]:
        waveform = torch.from_numpy(read_pcm16(path).copy()).float()[None] / 32768
        with torch.no_grad():
            plain.append(encoder.model(encoder.frontend(waveform))[0].numpy())
    one, other = (table.vectors for table in tables)
    # 36 layers round twice each, in an order that the batch chooses: 72 eps = 9e-6 at most.
    for found, expected, limit in ((one, other, 1e-5), (one, np.array(plain), 1e-4)):
        distance = np.linalg.norm(found - expected, axis=1)
        assert (distance < limit * np.linalg.norm(expected, axis=1)).all()


def test_a_limit_takes_a_seeded_part(encoder, data, tmp_path):
    assert extract(encoder, data, tmp_path / "a.npz", limit=5, seed=1).utterances == 5
    extract(encoder, data, tmp_path / "b.npz", limit=5, seed=1)
    extract(encoder, data, tmp_path / "c.npz", limit=5, seed=2)
    ids = [load_embeddings(tmp_path / f"{name}.npz").ids for name in "abc"]
    assert ids[0] == ids[1] != ids[2]


def test_a_strict_extraction_stops_at_an_unfit_file_and_writes_no_table(encoder, data, tmp_path):
    wav = tmp_path / "corpus" / "id000002" / "en" / "en_0.wav"
    soundfile.write(wav, np.zeros(399), 16000)
    with pytest.raises(TidyVoiceError, match=rf"{wav} has 399 samples, its utt2dur says 6400"):
        extract(encoder, data, tmp_path / "e.npz", strict=True)
    scan(tmp_path / "corpus", language_folder=True).write(data)
    with pytest.raises(TidyVoiceError, match=r"id000002/en/en_0\.wav has 399 samples"):
        extract(encoder, data, tmp_path / "e.npz", strict=True)
    assert not (tmp_path / "e.npz").exists()
    assert "is a folder: give the file" in refused(extract, encoder, data, tmp_path)


@pytest.mark.parametrize("name", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there_is_named(name):
    assert f"device {name} is not available" in refused(choose_device, name)


# A part after every batch, so that the first one is written long before the end.
KILLED = """
from tidyvoice.cli import main
from tidyvoice.extraction import extract
extract.SHARE = extract.SHORTEST = 0.0
main()
"""


def test_killed_twice_and_ended_by_two_processes_it_has_the_same_bytes(tmp_path):
    write_model(tmp_path / "model", 8, 24)
    rng = seeded(1)
    for number in range(500):
        path = tmp_path / "corpus" / f"id{number % 9}" / "en" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = rng.standard_normal(rng.integers(16000, 48000)) / 10
        soundfile.write(path, noise, 16000)
    scan(tmp_path / "corpus", language_folder=True).write(tmp_path / "data")
    line = "extract --model model --data data --json --out"
    made = json.loads(preloaded.succeed(f"tidyvoice {line} whole.npz", tmp_path))
    assert made["utterances"] == 500
    out, parts = tmp_path / "e.npz", tmp_path / "e.npz.parts"
    for _ in range(2):
        before = set(parts.glob("*.npz"))
        process = preloaded.start("python", "-c", KILLED, *line.split(), out, cwd=tmp_path)
        while set(parts.glob("*.npz")) == before:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not out.exists()
    launch = "torchrun --standalone --nproc-per-node=2 -m tidyvoice"
    made = json.loads(preloaded.succeed(f"{launch} {line} {out}", tmp_path))
    assert 0 < made["resumed"] < 500
    assert out.read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert not parts.exists()
