import numpy as np
import pytest
import torch
from conftest import seeded
from torch.nn import functional as F

from tests.losses.reference import CASES, expected_loss
from tidyvoice.losses import LOSSES, ArcMargin
from tidyvoice.losses.arc_margin import add_margin, subtract_margin
from tidyvoice.losses.sphereface2 import SphereFace2

DIM, CLASSES = 6, 9


def example(name, options, seed=0, rows=7):
    """A head, embeddings near and far from their classes, and labels, in float64."""
    torch.manual_seed(seed)
    head = LOSSES.build(name, DIM, CLASSES, **options).double()
    labels = torch.randint(0, CLASSES, (rows,))
    rows_per_class = head.rows_per_class
    centre = head.weight.detach()[labels * rows_per_class]
    signs = torch.linspace(-1.5, 1.5, rows, dtype=torch.float64).unsqueeze(1)
    embeddings = signs * F.normalize(centre) + 0.3 * torch.randn(rows, DIM, dtype=torch.float64)
    return head, embeddings, labels


@pytest.mark.parametrize(("name", "options"), CASES)
def test_loss_and_gradient_are_those_of_the_equation(name, options):
    head, embeddings, labels = example(name, options)
    known = {**options, "bias": head.bias.item()} if name == "SphereFace2" else options
    reference = expected_loss(
        name, embeddings.numpy(), head.weight.detach().numpy(), labels.tolist(), known
    )
    loss, _ = head(embeddings, labels)
    assert loss.item() == pytest.approx(reference, rel=1e-9)
    head.scale = 4.0
    inputs = embeddings.requires_grad_(), *head.parameters()
    assert torch.autograd.gradcheck(lambda *_: head(embeddings, labels)[0], inputs, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"margin_type": "A"}, {"t": 1.0}])
def test_a_fitted_bias_is_where_the_loss_is_least(options):
    head, embeddings, labels = example("SphereFace2", options, rows=20)
    head.margin = 0.3
    head.fit(embeddings, labels)
    loss, _ = head(embeddings, labels)
    for step in (-0.01, 0.01):
        with torch.no_grad():
            head.bias += step
            assert head(embeddings, labels)[0] > loss
            head.bias -= step


@pytest.mark.parametrize("options", [{}, {"margin_type": "A"}, {"t": 2.0, "balance": 0.4}])
@pytest.mark.parametrize("classes", [2, 1000])
def test_the_first_bias_is_where_right_angles_pull_it_nowhere(options, classes):
    head = SphereFace2(4, classes, **options).double()
    cosines = torch.zeros(1, classes, dtype=torch.float64)
    label = torch.tensor([1])
    loss = head.mean_loss(head.class_logits(cosines, label), label)
    (slope,) = torch.autograd.grad(loss, head.bias)
    assert abs(slope.item()) < 1e-5


@pytest.mark.parametrize("name", list(LOSSES))
def test_half_precision_is_left_for_float32(name):
    torch.manual_seed(0)
    head = LOSSES.build(name, DIM, CLASSES)
    embeddings = torch.randn(5, DIM, dtype=torch.bfloat16, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 3, 8])
    wanted, _ = head(embeddings.float(), labels)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = head(embeddings, labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, wanted)
    loss.backward()
    assert head.weight.grad.dtype == torch.float32


def test_widened_and_narrowed_angles_keep_their_order():
    # Floored sines next to a cosine of one are 1e-6 off.
    cosines = torch.linspace(-1, 1, 20001, dtype=torch.float64)
    for margin in (0.06, 0.3, 0.5):
        for moved in (add_margin(cosines, margin), subtract_margin(cosines, margin)):
            steps = moved.diff()
            assert (steps > -1e-6).all()
            assert (steps[1:-1] > 0).all()
        torch.testing.assert_close(add_margin(-cosines, margin), -subtract_margin(cosines, margin))


@pytest.mark.parametrize("name", list(LOSSES))
def test_accuracy_is_of_the_highest_logit_with_the_margin(name):
    head = LOSSES.build(name, DIM, DIM, margin=0.2)
    rows = head.rows_per_class
    with torch.no_grad():
        head.weight.copy_(torch.eye(DIM).repeat_interleave(rows, dim=0))
    embeddings = torch.eye(DIM)
    embeddings[2, 4] = 1.1  # nearer to another class
    embeddings[3, 5] = 0.9  # nearest to its own, but for the margin
    for margin, wrong in ((0.2, 2), (0.0, 1)):
        head.margin = margin
        _, accuracy = head(embeddings, torch.arange(DIM))
        assert float(accuracy) == pytest.approx((DIM - wrong) / DIM)


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
