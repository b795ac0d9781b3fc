"""Only resampling needs torchaudio, which pip may install for another CUDA version than torch's."""

import sys
from importlib import metadata

import soundfile
import yaml
from conftest import invoke, succeed


def test_all_but_resampling_works_when_torchaudio_cannot_be_imported(
    experiment, tiny, voices, tmp_path, monkeypatch
):
    broken = "raise RuntimeError('compiled with different CUDA versions')\n"
    (tmp_path / "torchaudio.py").write_text(broken)
    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    experiment |= {"epochs": 1, "epoch_iterations": 2}
    experiment["data"]["speeds"] = [1.0]
    config, ann = tmp_path / "experiment.yaml", voices / "ann-1.wav"
    config.write_text(yaml.safe_dump(experiment))
    soundfile.write(tmp_path / "8k.wav", soundfile.read(ann)[0][::2], 8000)
    model = ("--model", voices / "model")
    succeed("train", config)
    succeed("extract", *model, "--data", tiny / "train", "--out", tmp_path / "a.npz")
    succeed("verify", ann, voices / "ann-2.wav", *model)
    versions = " and ".join(f"{name} {metadata.version(name)}" for name in ("torch", "torchaudio"))
    other = f"experiment={tmp_path / 'other'}"
    for arguments, begin in (
        (("verify", ann, tmp_path / "8k.wav", *model), "error: "),
        (("train", config, "data.speeds=[1.0,0.9]", other), "error: "),
        (("doctor",), "FAIL  torchaudio: "),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 1
        (line,) = (line for line in result.output.splitlines() if "torchaudio" in line)
        assert line.startswith(f"{begin}resampling needs torchaudio")
        assert versions in line
        assert line.endswith("run: pip install -e . -c constraints.txt")
    assert not (tmp_path / "other").exists()
