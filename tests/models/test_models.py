"""The published SimAM-ResNet: golden numbers, SimAM's equation, and the copy for inference."""

import numpy as np
import pytest
import torch
from conftest import fill_weights, reference_waveform, seeded

from tests.models.reference import reference
from tidyvoice.frontend import Frontend
from tidyvoice.models import build_model
from tidyvoice.models.inference import FoldedSimAMResNet
from tidyvoice.models.simam_resnet import simam_residual

NAME = "SimAM_ResNet34_ASP"


def distance(a, b):
    """Return the largest relative distance of two embeddings."""
    a, b = np.asarray(a), np.asarray(b)
    return (np.linalg.norm(a - b, axis=-1) / np.linalg.norm(b, axis=-1)).max()


def test_state_dict_has_the_published_names_and_shapes(golden):
    ours = {name: list(tensor.shape) for name, tensor in build_model(NAME).state_dict().items()}
    assert ours == golden["state_dict"]


@pytest.mark.parametrize("case", [0, 1])
def test_embeddings_equal_the_published_model(golden, case):
    case = golden["model"][case]
    model = build_model(NAME, **{k: case[k] for k in ("in_planes", "embed_dim", "acoustic_dim")})
    assert sum(p.numel() for p in model.parameters()) == case["n_params"]
    fill_weights(model, case["seed"])
    x = seeded(case["seed"], 99).standard_normal((2, case["frames"], case["acoustic_dim"]))
    with torch.no_grad():
        ours = model(torch.from_numpy((2 * x).astype(np.float32)))
    # Both sides are in float32 and round 72 times; at 64 planes sums have up to 4608 terms.
    assert distance(ours, case["embedding"]) < 1e-4


def test_waveform_to_embedding_equals_the_published_chain(golden):
    embeddings = []
    for case in golden["waveform"]:
        samples = reference_waveform(case["seed"], case["samples"])
        assert samples[:8].tolist() == case["waveform_head"]
        assert int(samples.sum(dtype=np.int64)) == case["waveform_sum"]
        waveform = torch.from_numpy(samples).float().div(32768)[None]
        features = Frontend().eval()(waveform)
        assert features.shape[1] == case["frames"]
        middle = features[0, case["frames"] // 2, :8]
        np.testing.assert_allclose(middle, case["features_frame_mid"], atol=1e-3)
        fbank = Frontend(mean_norm=False).eval()(waveform)[0]
        np.testing.assert_allclose(fbank[0, :8], case["fbank_frame0"], atol=1e-3)
        np.testing.assert_allclose(fbank.mean(0)[::10], case["fbank_mean_by_bin"], atol=1e-3)
        model = build_model(NAME, in_planes=case["in_planes"], embed_dim=case["embed_dim"])
        with torch.no_grad():
            embedding = fill_weights(model, case["weights_seed"])(features)[0].numpy()
        assert distance(embedding, case["embedding"]) < 1e-3
        embeddings.append(embedding / np.linalg.norm(embedding))
    for pair, cosine in golden["waveform_cosine"].items():
        first, second = map(int, pair.split("-"))
        assert abs(embeddings[first] @ embeddings[second] - cosine) < 1e-4


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (3, 8, 10, 7), (2, 5, 2, 1)])
def test_simam_and_residual_follow_the_equation_and_its_gradient(shape, layout):
    torch.manual_seed(sum(shape))
    x, residual, weight = (3 * torch.randn(3, *shape)).unbind()
    inputs = [t.to(memory_format=layout).detach().requires_grad_() for t in (x, residual)]
    value = simam_residual(*inputs)
    ours = [value, *torch.autograd.grad((value * weight).sum(), inputs)]
    for one, other in zip(ours, reference(x, residual, weight), strict=True):
        torch.testing.assert_close(one, other.float(), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(simam_residual(x, residual), value)


# With 16 planes the first stage is tiled from 52 frames on.
@pytest.mark.parametrize(("planes", "frames"), [(4, 1), (4, 9), (16, 200)])
def test_the_folded_copy_gives_the_same_embeddings(planes, frames):
    model = fill_weights(build_model(NAME, in_planes=planes, embed_dim=24), 3)
    features = torch.from_numpy(seeded(frames).standard_normal((2, frames, 80))).float()
    with torch.inference_mode():
        wanted = model(features)
        # 36 layers, each of which rounds twice more than the other does: 72 eps and some room.
        assert distance(FoldedSimAMResNet(model)(features), wanted) < 1e-5
        if frames >= model.min_frames_bf16:
            half = FoldedSimAMResNet(model, torch.bfloat16)(features)
            # The root of 2 x 36 roundings that are independent, each of eps / 2 = 2^-9, is 0.017.
            assert 1e-5 < distance(half, wanted) < 0.05


def test_a_new_model_starts_at_torchs_defaults_unless_it_is_initialised():
    torch.manual_seed(1)
    models = [build_model(NAME, in_planes=2, embed_dim=8) for _ in range(2)]
    models[0].initialise()
    ours, torchs = (model.state_dict() for model in models)
    assert (ours["front.layer2.1.bn2.weight"] == 0).all()
    assert (torchs["front.layer2.1.bn2.weight"] == 1).all()
    # Torch draws from a uniform distribution that ends at the root of one over the fan-in.
    convolution = "front.layer4.1.conv2.weight"
    assert torchs[convolution].abs().max() <= (9 * 16) ** -0.5 < ours[convolution].abs().max()
