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


@pytest.mark.parametrize("easy_margin", [False, True])
def test_gradient_is_that_of_the_value(easy_margin):
    torch.manual_seed(0)
    loss = ArcMargin(6, 5, margin=0.3, easy_margin=easy_margin)
    x = torch.randn(4, 6)
    labels = torch.tensor([0, 4, 2, 2])
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x, labels)[0], x)
    step = 1e-2
    for row, column in np.ndindex(4, 6):
        delta = torch.zeros(4, 6)
        delta[row, column] = step
        with torch.no_grad():
            slope = (loss(x + delta, labels)[0] - loss(x - delta, labels)[0]) / (2 * step)
        assert abs(float(slope) - float(gradient[row, column])) < 5e-2


def test_accuracy_counts_logits_that_carry_the_margin():
    loss = ArcMargin(3, 3, margin=0.5)
    with torch.no_grad():
        loss.weight.copy_(torch.eye(3))
    embeddings = torch.tensor([[1.0, 0.9, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.2]])
    for margin, expected in ((0.5, 1 / 3), (0.0, 2 / 3)):
        loss.margin = margin
        _, accuracy = loss(embeddings, torch.tensor([0, 1, 2]))
        assert float(accuracy) == pytest.approx(expected)
