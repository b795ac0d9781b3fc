"""Fixtures shared by the tests."""

import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

torch.set_num_threads(2)


def require(condition: bool, reason: str) -> None:
    """Skip with a reason where a tool is absent, but fail where CI promises that it is there."""
    if not condition:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def seeded(*seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(list(seed)))


def fill_weights(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Give a model the reference weights, each a function of its name (tests/golden.md)."""
    state = {}
    for name, tensor in model.state_dict().items():
        shape = tuple(tensor.shape)
        x = seeded(seed, zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
        if name.endswith("num_batches_tracked"):
            x = np.zeros(shape, np.int64)
        elif name.endswith(("running_mean", "bias")):
            x = x * np.float32(0.1)
        elif name.endswith("running_var"):
            x = 1 + np.float32(0.1) * np.abs(x)
        elif x.ndim == 1:
            x = 1 + np.float32(0.1) * x
        else:
            x = x / np.float32(np.sqrt(np.prod(shape[1:])))
        state[name] = torch.from_numpy(np.asarray(x, dtype=x.dtype))
    model.load_state_dict(state)
    return model.eval()


def reference_waveform(seed: int, samples: int) -> np.ndarray:
    """Speech-like int16 samples of the reference cases (tests/golden.md)."""
    x = seeded(seed, 41).standard_normal(samples)
    x = np.cumsum(x) * 0.2 + x
    x = x - np.convolve(x, np.ones(400) / 400, mode="same")
    x = x / np.abs(x).max() * 20000 * np.hanning(samples) ** 0.25
    return np.round(x).astype(np.int16)


@pytest.fixture(scope="session")
def golden() -> dict:
    return json.loads((Path(__file__).parent / "golden.json").read_text())
