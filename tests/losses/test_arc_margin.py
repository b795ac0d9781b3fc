import numpy as np
import pytest
import torch
from conftest import seeded

from tidyvoice.losses import ArcMargin


def reference_inputs(case):
    rng = seeded(case["seed"], 5)
    x = rng.standard_normal((case["n"], case["d"])).astype(np.float32)
    w = rng.standard_normal((case["c"], case["d"])).astype(np.float32)
    labels = rng.integers(0, case["c"], case["n"])
    x[0] = -3 * w[labels[0]]
    x[1] = 2 * w[labels[1]]
    return torch.from_numpy(x), torch.from_numpy(w), torch.from_numpy(labels)


def head(case, weight):
    loss = ArcMargin(case["d"], case["c"], case["scale"], case["margin"], case["easy_margin"])
    with torch.no_grad():
        loss.weight.copy_(weight)
    return loss


@pytest.mark.parametrize("index", range(4))
def test_logits_equal_the_published_loss_and_are_finite(golden, index):
    case = golden["arc_margin"][index]
    x, w, labels = reference_inputs(case)
    assert labels.tolist() == case["labels"]
    x.requires_grad_()
    loss = head(case, w)
    logits = loss.logits(x, labels)
    published = np.array(case["logits"], dtype=float)
    known = ~np.isnan(published)
    ours = logits.detach().numpy()
    np.testing.assert_allclose(ours[known], published[known], atol=2e-3)
    assert np.isfinite(ours).all()
    # At a cosine of one the limit is the cosine of the margin itself.
    assert ours[1, labels[1]] == pytest.approx(case["scale"] * np.cos(case["margin"]), abs=0.02)
    loss(x, labels)[0].backward()
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(loss.weight.grad).all()
