import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import require_triton

from benchmarks.pretend_cuda import PretendCuda
from tidyvoice.batch_plan import plan_batches, plan_items
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.encoder.embedder import PRECISIONS
from tidyvoice.extraction.workers import bytes_per_frame
from tidyvoice.frontend import FrontendSettings
from tidyvoice.models import build_model

FRONTEND = FrontendSettings().build()
MEASURE = """
import re
import numpy as np
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.extraction.workers import bytes_per_frame
from tidyvoice.frontend import FrontendSettings
from tidyvoice.models import build_model
import torch
torch.set_num_threads(1)
model = build_model("SimAM_ResNet34_ASP", in_planes=16, embed_dim=24)
encoder = SpeakerEncoder(model, FrontendSettings(), "cpu")
def most():
    # Not getrusage, whose maximum is inherited from the process that started this one.
    return 1024 * int(re.search("VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
encoder.embed_samples(np.zeros((1, encoder.frontend.num_samples(200)), np.int16))
before = most()
encoder.embed_samples(np.ones((1, encoder.frontend.num_samples(12000)), np.int16))
print((most() - before) / 12000 / bytes_per_frame(encoder))
"""


def test_batches_hold_equal_frame_counts_and_keep_the_bound():
    frames = np.random.default_rng(0).integers(1, 25, 300)
    batches = plan_batches(frames, batch_frames=60)
    assert sorted(np.concatenate(batches).tolist()) == list(range(300))
    for batch in batches:
        assert len(set(frames[batch])) == 1
        assert len(batch) * frames[batch[0]] <= 60
    lengths = [frames[batch[0]] for batch in batches]
    assert lengths == sorted(lengths, reverse=True)
    assert [batch.tolist() for batch in plan_batches(np.array([99]), 60)] == [[0]]
    assert plan_batches(np.zeros(0, np.int64), 60) == []


def test_pieces_of_a_long_utterance_are_equal_and_cover_it():
    samples = np.array([FRONTEND.num_samples(n) for n in (100, 101, 7, 250)])
    items = plan_items(np.array([3, 0, 1]), samples, FRONTEND, longest=100)
    assert items.rows.tolist() == [3, 3, 3, 0, 1, 1]
    assert items.frames.tolist() == [83, 83, 84, 100, 50, 51]
    assert items.starts.tolist() == [0, 83, 166, 0, 0, 50]
    assert items.firsts.tolist() == [0, 3, 4]


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_frame_takes_the_bytes_that_are_worked_out():
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 0.5 < float(done.stdout) < 1.5


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("with_kernels", [True, False])
def test_a_batch_on_a_gpu_fits_its_plan(precision, with_kernels):
    """At full width, with room for the workspace of a convolution, which is not counted."""
    require_triton()
    frames = 400
    with PretendCuda(values=False, kernels=with_kernels) as gpu:
        model = build_model("SimAM_ResNet34_ASP", in_planes=64)
        encoder = SpeakerEncoder(model, FrontendSettings(), "cuda", precision=precision)
        samples = torch.zeros(10, FRONTEND.num_samples(frames), dtype=torch.int16).pin_memory()
        gpu.clear()
        weights = gpu.peak
        encoder.start(samples)
        planned = bytes_per_frame(encoder)
    counted = (gpu.peak - weights) / (10 * frames)
    workspace = encoder.frame_bytes * (1 if with_kernels else 4 // PRECISIONS[precision].itemsize)
    assert counted < planned < 1.1 * counted + workspace


@pytest.mark.parametrize("name", ["ResNet34", "ECAPA_TDNN_GLOB_c1024"])
def test_the_plan_of_a_network_without_simam_does_not_depend_on_its_kernel(name):
    require_triton()
    planned = set()
    for with_kernels in (True, False):
        with PretendCuda(values=False, kernels=with_kernels) as gpu:
            encoder = SpeakerEncoder(
                build_model(name), FrontendSettings(), "cuda", precision="bfloat16"
            )
            gpu.clear()
            weights = gpu.peak
            encoder.start(torch.zeros(1, FRONTEND.num_samples(400), dtype=torch.int16).pin_memory())
            planned.add(bytes_per_frame(encoder))
    (planned,) = planned
    assert (gpu.peak - weights) / 400 < planned
