import pytest
import torch
from conftest import fill_weights, seeded

from tidyvoice.models import build_model
from tidyvoice.models.inference import (
    TILE,
    FoldedSimAMResNet,
    simam_and_sum_,
)
from tidyvoice.models.simam import simam_residual
from tidyvoice.models.simam_resnet import SimAMResNetASP


def distance(a, b):
    return (torch.linalg.norm(a - b) / torch.linalg.norm(b)).item()


# With 16 planes the first stage is tiled from 52 frames on.
@pytest.mark.parametrize("planes", [4, 16])
@pytest.mark.parametrize("frames", [1, SimAMResNetASP.min_frames_bf16, 200])
def test_the_folded_copy_gives_the_same_embeddings(planes, frames):
    model = fill_weights(build_model("SimAM_ResNet34_ASP", in_planes=planes, embed_dim=24), 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    features = torch.from_numpy(seeded(frames).standard_normal((2, frames, 80))).float()
    with torch.inference_mode():
        wanted = model(features)
        # 36 layers, each of which rounds twice more than the other does: 72 eps and some room.
        assert distance(FoldedSimAMResNet(model)(features), wanted) < 1e-5
        if frames >= SimAMResNetASP.min_frames_bf16:
            half = FoldedSimAMResNet(model, torch.bfloat16)(features)
            # The root of 2 x 36 roundings that are independent, each of eps / 2 = 2^-9, is 0.017.
            assert 1e-5 < distance(half, wanted) < 0.05
    after = model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_no_map_of_the_shortest_bfloat16_input_has_a_single_column():
    model = FoldedSimAMResNet(
        fill_weights(build_model("SimAM_ResNet34_ASP", in_planes=4, embed_dim=24), 3)
    )
    columns = []
    for module in model.modules():
        assert "BatchNorm" not in type(module).__name__
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda *call: columns.append(call[-1].shape[-1]))
    for frames, narrowest in (
        (SimAMResNetASP.min_frames_bf16, 2),
        (SimAMResNetASP.min_frames_bf16 - 1, 1),
    ):
        columns.clear()
        model(torch.zeros(1, frames, 80))
        assert min(columns) == narrowest


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tiles_change_nothing(dtype):
    x = (3 + torch.randn(2, 24, 80, 61)).to(dtype)
    assert x[0].numel() > TILE
    x, residual = (t.to(memory_format=torch.channels_last) for t in (x, torch.randn_like(x)))
    wanted = simam_residual(x, residual).float()
    assert distance(simam_and_sum_(x, residual).float(), wanted) < (
        1e-6 if x.itemsize == 4 else 0.01
    )
