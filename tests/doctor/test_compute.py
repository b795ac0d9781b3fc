import shutil
from types import SimpleNamespace

import pytest
import torch

from tidyvoice.config import Experiment, ModelSettings
from tidyvoice.doctor import compute
from tidyvoice.doctor.cost import training_cost
from tidyvoice.frontend import FrontendSettings
from tidyvoice.hub import save_model_config, save_torch
from tidyvoice.manifest import Manifest
from tidyvoice.models import build_model


def lines(findings):
    return "\n".join(map(str, findings))


@pytest.fixture
def settings(experiment):
    return Experiment.model_validate(experiment)


@pytest.fixture
def gpu(monkeypatch):
    """A GPU that is only told of: ``gpu.free`` and ``gpu.bf16`` are what torch says of it."""
    told = SimpleNamespace(free=8 * 10**9, bf16=True, count=1)
    card = SimpleNamespace(name="Some GPU", major=7, minor=5)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: told.count)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (told.free, 10**10))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: told.bf16)
    return told


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_a_gpu_is_described(gpu):
    said = lines(compute.device())
    assert said == "OK    cuda: Some GPU, 8 GB of 10 GB free, compute capability 7.5, bf16"
    gpu.bf16, gpu.count = False, 3
    assert "no bf16; 2 more, which a training does not use" in lines(compute.device())


def test_apples_gpu_is_described(no_gpu, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 12 * 10**9)
    assert lines(compute.device()) == "OK    mps: 12 GB to be used"


def test_without_a_gpu_it_computes_on_the_cpu(no_gpu, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert lines(compute.device()).startswith("OK    GPU: none: computing on the CPU, 1 threads")


def test_a_driver_without_a_gpu_in_torch_is_warned_of(no_gpu, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    said = lines(compute.device())
    assert said.startswith("WARN  cuda: nvidia-smi is here, but torch ")
    assert "look at CUDA_VISIBLE_DEVICES" in said


@pytest.mark.parametrize(("share", "status"), [(1.3, "OK"), (1.1, "WARN"), (0.9, "FAIL")])
def test_a_training_fits_or_not(gpu, settings, tiny, share, status):
    settings = settings.model_copy(update={"device": "cuda"})
    folders = {settings.data.train[0]: Manifest.read(tiny / "train")}
    gpu.free = int(share * training_cost(settings, classes=18).total)
    (finding,) = compute.trainings({"x.yaml": settings}, folders)
    assert finding.status == status
    assert "an estimate: activations" in finding.measured
    assert "5 x 40 frames" in finding.measured
    assert "18 classes" in finding.measured
    assert ("or set precision: bf16" in finding.mend) == (status != "OK")


def test_a_device_that_is_not_there_fails(no_gpu, settings):
    settings = settings.model_copy(update={"device": "cuda"})
    (finding,) = compute.trainings({"x.yaml": settings}, {})
    assert str(finding).startswith("FAIL  x.yaml: the device cuda is not available here")


def test_bf16_on_a_gpu_that_lacks_it_is_warned_of(gpu, settings):
    settings = settings.model_copy(update={"device": "cuda", "precision": "bf16"})
    gpu.bf16 = False
    found = compute.trainings({"x.yaml": settings}, {})
    assert [f.status for f in found] == ["OK", "WARN"]
    assert "the GPU only emulates it (expected bf16): set precision: float32" in str(found[1])


def test_on_a_cpu_the_hours_are_told(settings, tiny):
    folders = {settings.data.train[0]: Manifest.read(tiny / "train")}
    memory, hours = compute.trainings({"x.yaml": settings}, folders)
    assert memory.status == hours.status == "OK"
    assert "an estimate: 12 steps; a step takes about" in hours.measured
    long = settings.model_copy(update={"epochs": 10**9})
    _, hours = compute.trainings({"x.yaml": long}, folders)
    assert hours.status == "WARN"
    assert "expected at most 24 h): train on a GPU" in str(hours)
    whole = settings.model_copy(update={"epoch_iterations": None})
    memory, hours = compute.trainings({"x.yaml": whole}, {})
    assert "how many steps, the data will tell" in hours.measured
    assert "without the loss head" in memory.measured


def test_the_model_to_start_from_is_there_and_fits(settings, tmp_path):
    assert compute.initial_models({"x.yaml": settings}) == []

    def start(path):
        model = settings.model.model_copy(update={"init": path})
        return lines(compute.initial_models({"x": settings.model_copy(update={"model": model})}))

    assert start(tmp_path / "none").startswith("WARN  x model.init: ")
    for planes, expected in ((2, "OK  "), (4, "FAIL")):
        file = tmp_path / f"{planes}.pt"
        save_torch(file, build_model("SimAM_ResNet34_ASP", planes, 16).state_dict())
        assert start(file).startswith(expected)
    assert "does not fit the model" in start(file)
    save_model_config(tmp_path, ModelSettings(), FrontendSettings(window_type="povey"), [])
    assert "another frontend (window_type povey, here hamming)" in start(tmp_path / "2.pt")
