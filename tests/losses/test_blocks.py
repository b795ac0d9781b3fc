import re
import subprocess
import sys

import pytest
import torch

from benchmarks.loss_head import MIB, Allocations, measured
from tests.losses.reference import CASES
from tidyvoice.errors import TidyVoiceError
from tidyvoice.losses import LOSSES, ArcMargin, build_loss

DIM, CLASSES, ROWS = 8, 203, 12


def pair(name, options, mib, dtype=torch.float64):
    """A whole head and one in blocks with the same weights."""
    torch.manual_seed(0)
    whole = build_loss(name, DIM, CLASSES, **options).to(dtype)
    blocked = build_loss(name, DIM, CLASSES, **options, logit_mib=mib).to(dtype)
    blocked.load_state_dict(whole.state_dict())
    return whole, blocked


def batch(whole, dtype=torch.float64):
    """Embeddings of which half are near their class."""
    labels = torch.randint(0, CLASSES, (ROWS,))
    labels[:3] = torch.tensor([0, CLASSES - 1, 0])
    embeddings = torch.randn(ROWS, DIM, dtype=dtype)
    embeddings[::2] += 3 * whole.cosines(torch.eye(DIM, dtype=dtype)).detach().T[labels[::2]]
    return embeddings, labels


def results(head, embeddings, labels):
    embeddings = embeddings.clone().requires_grad_()
    loss, accuracy = head(embeddings, labels)
    (3.0 * loss).backward()
    return loss.detach(), accuracy, embeddings.grad, *(p.grad for p in head.parameters())


def assert_same(ours, wanted, tolerance):
    for one, two in zip(ours, wanted, strict=True):
        assert one.dtype == two.dtype
        assert (one - two).abs().max() <= tolerance * two.abs().max()


@pytest.mark.parametrize("mib", [0.00001, 0.002, 0.01, 1])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_blocks_are_the_whole(name, options, mib):
    whole, blocked = pair(name, options, mib)
    embeddings, labels = batch(whole)
    wanted = results(whole, embeddings, labels)
    assert 0 < wanted[1] < 1
    assert_same(results(blocked, embeddings, labels), wanted, 1e-12)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_blocks_are_the_whole_in_float32(name, options):
    whole, blocked = pair(name, options, 0.002, torch.float32)
    embeddings, labels = batch(whole, torch.float32)
    exact = results(whole.double(), embeddings.double(), labels)
    exact = [value.float() for value in exact]
    assert_same(results(blocked, embeddings, labels), exact, 5e-6)


def test_block_sizes_follow_the_limit():
    head = build_loss("SubCentreArcMargin", 10, 1000, sub_centres=3, logit_mib=1 / 1024)
    assert head.block_classes(rows=20, itemsize=4) == 1024 // (20 * 3 * 4)
    # Unit weights are larger than logits here.
    assert head.block_classes(rows=2, itemsize=4) == 1024 // (10 * 3 * 4)
    assert head.block_classes(rows=2000, itemsize=4) == 1


@pytest.mark.parametrize("name", LOSSES)
def test_memory_stays_below_the_limit_at_350_thousand_classes(name):
    head = build_loss(name, 64, 350_000, logit_mib=1.0)
    embeddings = torch.randn(8, 64, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 3, 349_999, 100_000, 5, 5])
    allocations = measured(head, embeddings, labels)
    gradient = head.weight.nbytes
    assert allocations.sizes.count(gradient) == 1
    assert max(size for size in allocations.sizes if size != gradient) <= MIB
    assert allocations.peak < gradient + 8 * MIB
    assert torch.isfinite(head.weight.grad).all()


def test_memory_counted_is_memory_made():
    given = torch.zeros(1000)
    with Allocations(given) as allocations:
        made = given + 1
        made = made * 2
        given.add_(made[:10].sum())
    assert allocations.sizes == [4000, 4000, 4]
    assert allocations.peak == 8000


@pytest.mark.parametrize("margin_at_backward", [0.2, 0.0])
def test_a_margin_moved_before_the_backward_does_not_reach_it(margin_at_backward):
    whole, blocked = pair("ArcMargin", {}, 0.002)
    embeddings, labels = batch(whole)
    gradients = []
    for head in (whole, blocked):
        x = embeddings.clone().requires_grad_()
        loss, _ = head(x, labels)
        head.margin = margin_at_backward
        loss.backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("frozen", ["weight", "bias", "embeddings"])
def test_what_is_frozen_gets_no_gradient_and_the_rest_its_own(frozen):
    whole, blocked = pair("SphereFace2", {}, 0.002)
    embeddings, labels = batch(whole)
    _, _, *gradients = results(whole, embeddings, labels)
    wanted = dict(zip(["embeddings", "weight", "bias"], gradients, strict=True))
    tensors = {"embeddings": embeddings, **dict(blocked.named_parameters())}
    for name, tensor in tensors.items():
        tensor.requires_grad_(name != frozen)
    (3.0 * blocked(embeddings, labels)[0]).backward()
    for name, tensor in tensors.items():
        if name == frozen:
            assert tensor.grad is None
        else:
            torch.testing.assert_close(tensor.grad, wanted[name])


@pytest.mark.parametrize("name", LOSSES)
def test_blocks_without_gradient(name):
    whole, blocked = pair(name, {}, 0.002)
    embeddings, labels = batch(whole)
    with torch.inference_mode():
        loss, accuracy = blocked(embeddings, labels)
        wanted = whole(embeddings, labels)
    torch.testing.assert_close((loss, accuracy), wanted)


@pytest.mark.parametrize("label", [-1, CLASSES])
def test_a_label_that_is_no_class_is_named(label):
    head = ArcMargin(DIM, CLASSES, logit_mib=1)
    with pytest.raises(TidyVoiceError, match=rf"labels are .*{label}.*classes 0..202"):
        head(torch.randn(2, DIM), torch.tensor([label, 1]))


def test_training_in_blocks_is_training_whole():
    whole, blocked = pair("SubCentreArcMargin", {}, 0.002)
    first, _ = pair("SubCentreArcMargin", {}, None)
    for head in (whole, blocked):
        torch.manual_seed(1)
        optimizer = torch.optim.SGD(head.parameters(), lr=0.5, momentum=0.9)
        for step in range(20):
            head.margin = 0.02 * step
            embeddings, labels = batch(first)
            optimizer.zero_grad()
            head(embeddings, labels)[0].backward()
            optimizer.step()
    assert (whole.weight - first.weight).abs().max() > 0.1
    torch.testing.assert_close(blocked.weight, whole.weight)


def test_the_benchmark_runs():
    command = [sys.executable, "benchmarks/loss_head.py", "--classes", "3000", "--batch", "4"]
    command += ["--dim", "16", "--mib", "0.01", "--runs", "1", "--loss", "SphereFace2"]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    difference = re.search(r"relative difference (\S+)", said)
    assert float(difference[1]) < 1e-5
    assert re.search(r"blocks .*beside the weight's gradient +0\.0 MiB", said)
