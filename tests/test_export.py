import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import fill_weights, prepared, reference_waveform, refusal, succeed, write_model

from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.export import command
from tidyvoice.export.graph import FEWEST_TRACED_FRAMES
from tidyvoice.export.onnx_encoder import OnnxEncoder
from tidyvoice.files import sha256
from tidyvoice.frontends import FrontendSettings
from tidyvoice.modelhub.folder import fingerprint, load_model
from tidyvoice.models import build_model
from tidyvoice.scoring.embeddings import load_embeddings

if os.environ.get("CI") != "true":
    pytest.importorskip("onnx", reason="it is in the extra export")
import onnx

pytestmark = pytest.mark.usefixtures("shallow")
ROOT = Path(__file__).parent.parent
FILES = ("waveform.onnx", "features.onnx")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, shallow):
    """A narrow model, a data folder of four speakers, and the model with either input."""
    folder = tmp_path_factory.mktemp("export")
    write_model(folder / "model")
    prepared(folder, speakers=4, utterances=2, seconds=0.5)
    for name in FILES:
        options = ("--out", folder / name, "--input", name.removesuffix(".onnx"), "--json")
        said = json.loads(succeed("export", "--model", folder / "model", *options))
        assert said["path"] == str(folder / name)
        assert said["bytes"] == (folder / name).stat().st_size
        assert said["difference"] <= 1e-4
    return folder


@pytest.fixture(scope="module")
def encoder(folder):
    return SpeakerEncoder.from_pretrained(folder / "model", "cpu")


@pytest.fixture(scope="module")
def int8(folder):
    out = folder / "int8.onnx"
    options = ("--model", folder / "model", "--out", out, "--int8", folder / "data")
    assert "8 embeddings differ from the model's by" in succeed("export", *options)
    return OnnxEncoder(out)


def test_the_exported_filterbank_is_the_filterbank():
    speech = reference_waveform(5, 20000)
    time = np.arange(20000) / 16000
    tone = np.round(20000 * np.sin(2 * np.pi * 300 * time))
    quiet = np.round(speech / 5000)
    cases = np.stack([speech, quiet, quiet + 3000, tone, 0 * speech, 0 * speech + 1000])
    waveforms = torch.from_numpy(cases.astype(np.float32) / 32768)
    reference = FrontendSettings().build().eval()
    ours = reference.for_export()
    for length in (400, 559, 560, 7777, 20000):
        difference = (ours(waveforms[:, :length]) - reference(waveforms[:, :length])).abs()
        assert difference.amax() < 1e-3, (length, difference.amax(dim=(1, 2)))


@pytest.mark.parametrize("name", FILES)
def test_a_file_computes_what_the_model_does_at_any_length(folder, encoder, name):
    exported = OnnxEncoder(folder / name)
    for frames in (1, 2, *range(FEWEST_TRACED_FRAMES, 18), 29, 201, 402):
        for batch in (1, 3):
            samples = reference_waveform(frames, batch * encoder.frontend.num_samples(frames))
            samples = samples.reshape(batch, -1)
            expected, found = encoder.embed_samples(samples), exported.embed_samples(samples)
            difference = np.linalg.norm(found - expected, axis=1)
            assert (difference < 1e-4 * np.linalg.norm(expected, axis=1)).all(), (frames, batch)


def test_a_file_says_what_it_is_of_and_nothing_of_this_machine(folder):
    path = folder / "waveform.onnx"
    exported = OnnxEncoder(path)
    assert exported.weights == fingerprint(*load_model(folder / "model"))
    assert exported.trained_on == ["somebody"]
    assert exported.settings == FrontendSettings()
    assert exported.frame_bytes == 2 * 80 * 4
    content = path.read_bytes()
    assert str(ROOT).encode() not in content
    assert sys.prefix.encode() not in content


def test_the_extract_command_takes_an_exported_file(folder, int8, tmp_path):
    tables = {}
    for name in ("model", *FILES, "int8.onnx"):
        out = tmp_path / f"{name}.npz"
        succeed("extract", "--model", folder / name, "--data", folder / "data", "--out", out)
        tables[name] = load_embeddings(out)
    expected = tables.pop("model")
    for name, table in tables.items():
        assert table.ids == expected.ids
        assert (table.model == expected.model) == (name in FILES)
        difference = np.linalg.norm(table.vectors - expected.vectors, axis=1)
        difference /= np.linalg.norm(expected.vectors, axis=1)
        assert (difference < (1e-4 if name in FILES else 0.2)).all()
        assert name in FILES or (difference > 1e-4).any()


def test_int8_is_in_the_wide_convolutions_and_keeps_the_speakers_of_its_ranges(int8):
    assert int8.trained_on == ["id000000", "id000001", "id000002", "id000003", "somebody"]
    assert int8.precision == "int8"
    assert int8.weights == sha256(int8.path)
    model = onnx.load(int8.path)
    made = {name: node for node in model.graph.node for name in node.output}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    quantised = [made[node.input[1]] for node in convolutions if node.input[1] in made]
    assert len(convolutions) - len(quantised) == 3  # the first, and the two of the attention
    for node in quantised:
        values = onnx.numpy_helper.to_array(weights[node.input[0]])
        assert values.dtype == np.int8
        # 255 x 64 + 255 x 64 is the most that 16 bits hold: see tidyvoice/export/graph.py.
        assert 0 < np.abs(values.astype(int)).max() <= 64
        assert len(weights[node.input[1]].dims) == 1  # a scale a channel


def test_a_file_that_computes_something_else_is_not_kept(folder, encoder, tmp_path, monkeypatch):
    other = fill_weights(build_model("SimAM_ResNet34_ASP", in_planes=2, embed_dim=16), seed=4)
    wrong = onnx.load(folder / "features.onnx")
    monkeypatch.setattr(command, "onnx_model", lambda *_: wrong)
    out = tmp_path / "model.onnx"
    out.write_text("what was there")
    with pytest.raises(TidyVoiceError, match=r"model\.onnx is not written"):
        command.export(SpeakerEncoder(other, encoder.settings, "cpu"), out, "features")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert out.read_text() == "what was there"


def test_a_mistake_is_one_line_and_writes_nothing(folder, monkeypatch, tmp_path):
    foreign = onnx.load(folder / "waveform.onnx")
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    content = bytearray((folder / "waveform.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "changed.onnx").write_bytes(content)
    before = sorted(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    export = ("export", "--model", folder / "model", "--out")
    extract = ("extract", "--data", folder / "data", "--out", "e.npz", "--model")
    for line, message in (
        ((*export, "m.pt2"), "m.pt2: give a name that ends in .onnx"),
        ((*export, "m.onnx", "--int8", "nowhere"), "nowhere/shards is missing or unfinished"),
        ((*extract, "foreign.onnx"), "foreign.onnx is not a readable exported model"),
        ((*extract, "changed.onnx"), "changed.onnx is not a readable exported model"),
        ((*extract, folder / "waveform.onnx", "--precision", "bfloat16"), "leave --device and"),
    ):
        assert message in refusal(*line)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    message = refusal(*export, "m.onnx")
    assert message.startswith("error: ONNX needs onnxscript")
    assert "pip install -e '.[export]' -c constraints.txt" in message
    assert sorted(tmp_path.iterdir()) == before


def test_the_example_needs_neither_torch_nor_this_package(folder, encoder, tmp_path):
    for name in ("torch", "tidyvoice"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('must not be imported')\n")
    options = ("--data", folder / "data", "--out", tmp_path / "mean.npz")
    succeed("extract", "--model", folder / "model", *options)
    table = load_embeddings(tmp_path / "mean.npz")

    line = [sys.executable, ROOT / "examples/onnx-without-torch/compare.py"]
    line += ["--model", folder / "waveform.onnx", "--mean", tmp_path / "mean.npz"]
    line += [folder / "corpus" / table.ids[row] for row in (0, 1)]
    environment = {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(line, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    first, second = (table.vectors[row] - table.mean() for row in (0, 1))
    cosine = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
    assert abs(float(done.stdout) - cosine) < 2e-4
