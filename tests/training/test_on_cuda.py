"""The real training on a pretended GPU."""

import pytest
import torch
from test_trainer import final_state, run

from benchmarks.pretend_cuda import PretendCuda

pytestmark = pytest.mark.usefixtures("shallow")


def test_a_training_on_the_device_computes_what_the_cpu_computes(experiment, tmp_path):
    expected = final_state(run(experiment).folder)
    with PretendCuda() as gpu:
        folder = run({**experiment, "device": "cuda", "experiment": str(tmp_path / "cuda")}).folder
    assert gpu.operations
    for name, value in final_state(folder)["model"].items():
        torch.testing.assert_close(value, expected["model"][name])
