import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import fill_weights, prepared, reference_waveform
from typer.testing import CliRunner

from tidyvoice.cli import app
from tidyvoice.config import ModelSettings
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import TidyVoiceError
from tidyvoice.export import command
from tidyvoice.export.graph import FEWEST_TRACED_FRAMES
from tidyvoice.export.onnx_encoder import OnnxEncoder
from tidyvoice.extraction.extract import extract
from tidyvoice.files import sha256
from tidyvoice.frontends import FrontendSettings
from tidyvoice.modelhub.folder import fingerprint, load_model, save_model_config
from tidyvoice.models import build_model
from tidyvoice.scoring.embeddings import load_embeddings

if os.environ.get("CI") != "true":
    pytest.importorskip("onnx", reason="it is in the extra export")
import onnx

pytestmark = pytest.mark.usefixtures("shallow")
ROOT = Path(__file__).parent.parent
FILES = {
    "waveform.onnx": (),
    "features.onnx": ("--input", "features"),
}


def invoke(*arguments):
    return CliRunner().invoke(app, ["export", "--model", *map(str, arguments)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory, shallow):
    """A narrow model, a data folder of four speakers, and the model with either input."""
    folder = tmp_path_factory.mktemp("export")
    settings = ModelSettings(args={"in_planes": 2, "embed_dim": 16})
    model = fill_weights(build_model(settings.name, in_planes=2, embed_dim=16), seed=3)
    save_model_config(folder / "model", settings, FrontendSettings(), ["somebody"])
    torch.save(model.state_dict(), folder / "model" / "avg_model.pt")
    prepared(folder, speakers=4, utterances=2, seconds=0.5)
    for name, options in FILES.items():
        done = invoke(folder / "model", "--out", folder / name, *options, "--json")
        assert done.exit_code == 0, done.output
        said = json.loads(done.stdout)
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
    done = invoke(folder / "model", "--out", out, "--int8", "--calibrate", folder / "data",
                  "--limit", 6)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "6 embeddings differ from the model's by" in done.stdout
    return OnnxEncoder(out)


@pytest.mark.parametrize(
    "args",
    [{}, {"num_mel_bins": 40, "frame_length": 20, "mean_norm": False}],
)
def test_the_exported_filterbank_is_the_filterbank(args):
    speech = reference_waveform(5, 20000)
    time = np.arange(20000) / 16000
    cases = {
        "speech": speech,
        "quiet": np.round(speech / 5000),
        "offset": np.round(speech / 5000) + 3000,
        "tone": np.round(20000 * np.sin(2 * np.pi * 300 * time)),
        "silence": 0 * speech,
        "constant": 0 * speech + 1000,
    }
    waveforms = torch.from_numpy(np.stack(list(cases.values())).astype(np.float32) / 32768)
    reference = FrontendSettings(args=args).build().eval()
    ours = reference.for_export()
    for length in (400, 559, 560, 7777, 20000):
        difference = (ours(waveforms[:, :length]) - reference(waveforms[:, :length])).abs()
        found = dict(zip(cases, difference.amax(dim=(1, 2)).tolist(), strict=True))
        assert max(found.values()) < 1e-3, (length, found)


@pytest.mark.parametrize("name", FILES)
def test_a_file_computes_what_the_model_does_at_any_length(folder, encoder, name):
    exported = OnnxEncoder(folder / name)
    for frames in (*range(FEWEST_TRACED_FRAMES, 18), 29, 201, 402):
        for batch in (1, 3):
            samples = reference_waveform(frames, batch * encoder.frontend.num_samples(frames))
            samples = samples.reshape(batch, -1)
            expected, found = encoder.embed_samples(samples), exported.embed_samples(samples)
            assert found.dtype == np.float32
            difference = np.linalg.norm(found - expected, axis=1)
            assert (difference < 1e-4 * np.linalg.norm(expected, axis=1)).all(), (frames, batch)


def test_a_file_accepts_a_single_frame_and_nothing_shorter(folder, encoder):
    for samples in (1520, 400):
        short = reference_waveform(1, samples)[None]
        embedding = OnnxEncoder(folder / "waveform.onnx").embed_samples(short)
        np.testing.assert_allclose(embedding, encoder.embed_samples(short), rtol=1e-3, atol=1e-4)
    with pytest.raises(TidyVoiceError, match="has 399 samples, fewer than the 400 of one frame"):
        OnnxEncoder(folder / "features.onnx").embed_samples(short[:, :399])


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_what_it_is_of_and_nothing_of_this_machine(folder, name):
    path = folder / name
    exported = OnnxEncoder(path)
    assert exported.weights == fingerprint(load_model(folder / "model")[0])
    assert exported.trained_on == ["somebody"]
    assert exported.settings == FrontendSettings()
    assert exported.description.embedding_dim == 16
    assert exported.description.frame_bytes == 2 * 80 * 4
    assert (exported.device.type, exported.precision) == ("cpu", "float32")
    content = path.read_bytes()
    assert str(ROOT).encode() not in content
    assert sys.prefix.encode() not in content


def test_extraction_takes_a_file_in_the_place_of_a_model(folder, encoder, int8, tmp_path):
    tables = {}
    for name, one in (("model", encoder), ("int8", int8), ("onnx", folder / "waveform.onnx")):
        one = OnnxEncoder(one) if isinstance(one, Path) else one
        extract(one, folder / "data", tmp_path / f"{name}.npz")
        tables[name] = load_embeddings(tmp_path / f"{name}.npz")
    assert tables["onnx"].ids == tables["model"].ids
    assert tables["onnx"].model == tables["model"].model != tables["int8"].model
    vectors = {name: table.vectors for name, table in tables.items()}
    lengths = np.linalg.norm(vectors["model"], axis=1)
    difference = np.linalg.norm(vectors["onnx"] - vectors["model"], axis=1)
    assert (difference < 1e-4 * lengths).all()
    difference = np.linalg.norm(vectors["int8"] - vectors["model"], axis=1)
    assert (difference > 1e-4 * lengths).any()
    assert (difference < 0.2 * lengths).all()


def test_int8_is_in_the_wide_convolutions_and_keeps_the_speakers_of_its_ranges(folder, int8):
    speakers = {f"id{number:06d}" for number in range(4)}
    assert set(int8.trained_on) <= {"somebody", *speakers}
    assert len(int8.trained_on) > 3
    assert int8.precision == "int8"
    assert int8.weights == sha256(int8.path)
    model = onnx.load(int8.path)
    made = {name: node for node in model.graph.node for name in node.output}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    quantised = [node for node in convolutions if node.input[1] in made]
    assert len(convolutions) - len(quantised) == 3  # the first, and the two of the attention
    for node in quantised:
        tensor = weights[made[node.input[1]].input[0]]
        assert tensor.data_type == onnx.TensorProto.INT8
        # 255 x 64 + 255 x 64 is the most that 16 bits hold: see tidyvoice/export/int8.py.
        assert 0 < np.abs(onnx.numpy_helper.to_array(tensor).astype(int)).max() <= 64
        assert len(weights[made[node.input[1]].input[1]].dims) == 1  # a scale a channel


def test_maps_are_reduced_along_one_axis_after_the_other(folder):
    graph = onnx.load(folder / "features.onnx").graph
    constants = {t.name: onnx.numpy_helper.to_array(t).tolist() for t in graph.initializer}
    assert constants.keys() <= {name for node in graph.node for name in node.input}
    axes = [constants[n.input[1]] for n in graph.node if n.op_type in ("ReduceMean", "ReduceSum")]
    # A mean and a variance in each of 4 blocks, then the pooling's sums over time.
    assert [axes.count(one) for one in ([3], [2], [2, 3])] == [8, 10, 0]


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--out", "m.pt2"), "--out m.pt2"),
        (("--out", "m.onnx", "--int8"), "--int8 needs --calibrate"),
        (("--out", "m.onnx", "--calibrate", "data"), "--calibrate is for --int8"),
        (("--out", "m.onnx", "--int8", "--calibrate", "nowhere"), "nowhere is not a folder"),
    ],
)
def test_a_wrong_call_is_one_line(folder, monkeypatch, tmp_path, options, message):
    monkeypatch.chdir(tmp_path)
    done = invoke(folder / "model", *options)
    assert done.exit_code == 1
    assert message in done.output
    assert len(done.output.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_extra_the_mend_is_named(folder, monkeypatch, tmp_path, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    done = invoke(folder / "model", "--out", tmp_path / "m.onnx")
    assert done.exit_code == 1
    fix = "In the repository, run: pip install -e '.[export]' -c constraints.txt"
    assert done.output.strip() == f"error: ONNX needs {missing}, which is not installed. {fix}"


def test_other_files_are_refused(folder, tmp_path):
    foreign = onnx.load(folder / "waveform.onnx")
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    for name in ("foreign.onnx", "broken.onnx", "missing.onnx"):
        with pytest.raises(TidyVoiceError, match=name):
            OnnxEncoder(tmp_path / name)


def test_the_example_needs_neither_torch_nor_this_package(folder, encoder, tmp_path):
    for name in ("torch", "tidyvoice"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('must not be imported')\n")
    extract(encoder, folder / "data", tmp_path / "mean.npz")
    table = load_embeddings(tmp_path / "mean.npz")

    def run(*wavs):
        command = [sys.executable, ROOT / "examples/onnx-without-torch/compare.py"]
        command += ["--model", folder / "waveform.onnx", "--mean", tmp_path / "mean.npz", *wavs]
        environment = {"PYTHONPATH": str(tmp_path)}
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    done = run(*(folder / "corpus" / table.ids[row] for row in (0, 1)))
    assert done.returncode == 0, done.stderr
    first, second = (table.vectors[row] - table.mean() for row in (0, 1))
    cosine = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
    assert abs(float(done.stdout) - cosine) < 2e-4
    soundfile.write(tmp_path / "slow.wav", np.zeros(8000), 8000)
    refused = run(folder / "corpus" / table.ids[0], tmp_path / "slow.wav")
    assert refused.returncode == 1
    assert "slow.wav has 8000 Hz, the model takes 16000: resample it" in refused.stderr


def test_the_extract_command_takes_an_exported_file(folder, tmp_path):
    tables = {}
    for name in ("model", "waveform.onnx", "features.onnx"):
        out = tmp_path / f"{name}.npz"
        arguments = ["--model", folder / name, "--data", folder / "data", "--out", out]
        done = CliRunner().invoke(app, ["extract", *map(str, arguments)])
        assert done.exit_code == 0, done.output
        tables[name] = load_embeddings(out)
    wanted = tables.pop("model")
    for table in tables.values():
        assert (table.ids, table.model) == (wanted.ids, wanted.model)
        np.testing.assert_allclose(table.vectors, wanted.vectors, rtol=1e-3, atol=1e-4)
    refused = ["--model", folder / "waveform.onnx", "--data", folder / "data", "--out", "e.npz"]
    done = CliRunner().invoke(app, ["extract", *map(str, refused), "--precision", "bfloat16"])
    assert "leave --device and --precision out" in done.stderr
