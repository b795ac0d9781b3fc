import pytest
import torch
from conftest import fill_weights

from tidyvoice.models import build_model
from tidyvoice.models.inference import TILE, InferenceModel, simam_and_sum_
from tidyvoice.models.simam import simam_residual


def distance(a, b):
    return (torch.linalg.norm(a - b) / torch.linalg.norm(b)).item()


# With 16 planes the first stage is tiled from 52 frames on.
@pytest.mark.parametrize("planes", [4, 16])
@pytest.mark.parametrize("frames", [1, 9, 200])
def test_the_folded_copy_gives_the_same_embeddings(planes, frames):
    model = fill_weights(build_model("SimAM_ResNet34_ASP", planes, 24), 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    features = torch.randn(2, frames, 80)
    with torch.inference_mode():
        wanted = model(features)
        assert distance(InferenceModel(model)(features), wanted) < 1e-5
        assert 1e-5 < distance(InferenceModel(model, torch.bfloat16)(features), wanted) < 0.1
    after = model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_the_folded_copy_holds_no_batch_norm():
    model = fill_weights(build_model("SimAM_ResNet34_ASP", 4, 24), 3)
    kinds = {type(module).__name__ for module in InferenceModel(model).modules()}
    assert not any("BatchNorm" in kind for kind in kinds)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tiles_change_nothing(dtype):
    x = (3 + torch.randn(2, 24, 80, 61)).to(dtype)
    assert x[0].numel() > TILE
    x, residual = (t.to(memory_format=torch.channels_last) for t in (x, torch.randn_like(x)))
    wanted = simam_residual(x, residual).float()
    assert distance(simam_and_sum_(x, residual).float(), wanted) < (
        1e-6 if x.itemsize == 4 else 0.01
    )
