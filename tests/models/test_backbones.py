"""Networks against numbers of WeSpeaker's own modules (commit dfa7419), on the CPU in float32.

Each case of backbones.json names a model and its arguments as a WeSpeaker config.yaml does, and
``width``, the arguments that make it small. ``names_sha256`` is of the sorted lines
``NAME [SHAPE]`` of the state dict. A case with an ``embedding`` fills the reference weights from
``seed`` and then multiplies every tensor whose name ends with a key of ``scale``.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import fill_weights, seeded

from tidyvoice.errors import TidyVoiceError
from tidyvoice.models import MODELS, build_model
from tidyvoice.models.pooling import POOLINGS

REFERENCE = json.loads(Path(__file__).with_name("backbones.json").read_text())
# Name, settings and number of blocks.
NETWORKS = [
    ("ResNet34", {"m_channels": 4, "pooling_func": "MQMHASTP"}, 16),
    ("ECAPA_TDNN_GLOB_c512", {"channels": 16}, 3),
    ("CAMPPlus", {"growth_rate": 8, "bn_size": 1, "init_channels": 32}, 4 + 52),
    ("ReDimNetB2", {"C": 8}, 19 + 6),
    ("SimAM_ResNet34_ASP", {"in_planes": 4}, 16),
    ("ReDimNetB6", {"C": 16, "group_divisor": 4}, 40 + 6),
    ("SimAM_ResNet293_ASP", {"in_planes": 2}, 97),
]


def names_sha256(module):
    lines = sorted(f"{name} {list(t.shape)}" for name, t in module.state_dict().items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@pytest.mark.parametrize("case", REFERENCE["models"], ids=lambda case: case["model"])
def test_tensors_and_embeddings_are_wespeakers(case):
    small = "embedding" in case
    with torch.device("cpu" if small else "meta"):
        model = build_model(case["model"], **case["model_args"], **case["width"])
    assert sum(parameter.numel() for parameter in model.parameters()) == case["n_params"]
    assert len(model.state_dict()) == case["n_tensors"]
    assert names_sha256(model) == case["names_sha256"]
    if not small:
        return
    fill_weights(model, case["seed"])
    for ending, factor in case["scale"].items():
        for name, tensor in model.state_dict().items():
            if name.endswith(ending):
                tensor.mul_(factor)
    frames, bins = case["frames"], case["model_args"]["feat_dim"]
    rng = seeded(case["seed"], 99)
    noise, offset, slope = (rng.standard_normal((2, n, bins)) for n in (frames, 1, 1))
    ramp = np.linspace(-0.5, 0.5, frames)[:, None]
    x = 2 * noise + 2 * offset + 6 * ramp * slope
    with torch.no_grad():
        embedding = model(torch.from_numpy(x.astype(np.float32))).numpy()
    reference = np.array(case["embedding"])
    distance = np.linalg.norm(embedding - reference, axis=1) / np.linalg.norm(reference, axis=1)
    # Rounding differs by about 1e-6; a wrong constant or activation shows above 1e-5.
    assert distance.max() < 1e-5


@pytest.mark.parametrize("case", REFERENCE["poolings"], ids=lambda case: case["pooling"])
def test_poolings_are_wespeakers(case):
    pooling = fill_weights(POOLINGS[case["pooling"]](**case["args"]), case["seed"])
    assert names_sha256(pooling) == case["names_sha256"]
    x = seeded(case["seed"], 55).standard_normal(case["shape"]).astype(np.float32)
    x[0, 0] = 0
    x[1, 1] *= np.float32(1e-4)
    with torch.no_grad():
        pooled = pooling(torch.from_numpy(x)).numpy()
    assert pooled.shape[1] == pooling.out_dim
    np.testing.assert_allclose(pooled, case["output"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "settings", "blocks"), NETWORKS)
def test_a_network_trains_and_computes_in_half_precision(name, settings, blocks):
    torch.manual_seed(1)
    model = MODELS.build(name, 24, embed_dim=8, **settings)
    assert len(model.blocks()) == blocks
    embeddings = model(torch.randn(3, 33, 24))
    assert embeddings.shape == (3, model.embed_dim)
    embeddings.square().sum().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)
    with torch.no_grad():
        assert torch.isfinite(model.eval()(torch.randn(2, 1, 24))).all()
        copy = model.for_inference(torch.bfloat16)
        for frames in (copy.fewest_frames, 40):
            features = torch.randn(2, frames, 24)
            embeddings, half = model(features), copy(features)
            assert half.dtype == torch.float32
            assert torch.isfinite(half).all()
        # bfloat16 rounds to 2^-9 of a value.
        assert 0 < torch.linalg.norm(half - embeddings) < 0.1 * torch.linalg.norm(embeddings)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("ResNet34", {"pooling_func": "TSP"}, "pooling_func: did you mean TSTP"),
        ("ResNet34", {"feat_dim": 84}, "a multiple of 8 features a frame, not 84"),
        ("CAMPPlus", {"embed_dims": 9, "bn_size": "x"}, "bn_size: .*did you mean embed_dim"),
        ("ReDimNetB2", {}, "ReDimNet with C = 16 takes a multiple of 24 features a frame, not 80"),
    ],
)
def test_impossible_settings_are_errors(name, arguments, message):
    with pytest.raises(TidyVoiceError, match=message):
        build_model(name, **arguments)
