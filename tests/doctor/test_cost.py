import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tidyvoice.config import Experiment
from tidyvoice.doctor.cost import (
    classes_of,
    saved_bytes,
    steps,
    training_cost,
    weight_bytes,
)
from tidyvoice.losses import ArcMargin
from tidyvoice.manifest import Manifest
from tidyvoice.models import build_model


@pytest.fixture
def settings(experiment):
    return Experiment.model_validate(experiment)


def changed(settings, **data):
    return settings.model_copy(update={"data": settings.data.model_copy(update=data)})


class TwoLayers(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(80, 7)
        self.second = torch.nn.Linear(7, 3)

    def forward(self, features):
        return self.second(self.first(features).relu())


def test_saved_bytes_are_those_counted_by_hand(settings):
    """Two linear layers keep their inputs, and the ReLU its output, which is one of these."""
    batch, frames = 4, 10
    inputs, hidden = batch * frames * 80, batch * frames * 7
    assert saved_bytes(TwoLayers(), settings, batch, frames) == 4 * (inputs + hidden)


def peak_bytes(step):
    """The most that tensors made inside ``step`` hold at one time."""
    live, most = {}, [0]

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            for tensor in tree_leaves(result):
                if isinstance(tensor, torch.Tensor):
                    storage = tensor.untyped_storage()
                    live[storage.data_ptr()] = (
                        StorageWeakRef(storage),
                        storage.nbytes(),
                    )
            for address in [a for a, (reference, _) in live.items() if reference.expired()]:
                del live[address]
            most[0] = max(most[0], sum(number for _, number in live.values()))
            return result

    with Count():
        step()
    return most[0]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize(("batch", "frames"), [(8, 200), (16, 104)])
def test_the_estimate_is_the_peak_of_a_real_step_to_ten_percent(settings, precision, batch, frames):
    settings = changed(settings, batch_size=batch, chunk_frames=frames)
    model = settings.model.model_copy(update={"in_planes": 8, "embed_dim": 64})
    settings = settings.model_copy(update={"precision": precision, "model": model})
    network, head = build_model("SimAM_ResNet34_ASP", 8, 64), ArcMargin(64, 1000)
    features, labels = torch.randn(batch, frames, 80), torch.arange(batch)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            embeddings = network(features)
        head(embeddings, labels)[0].backward()

    measured = peak_bytes(step)
    cost = training_cost(settings, classes=1000)
    # Weights and momentum are not made inside the step; they are two thirds of the state.
    estimate = cost.activations + cost.head + cost.state / 3
    assert measured == pytest.approx(estimate, rel=0.1)


@pytest.mark.parametrize(("batch", "dim"), [(16, 32), (64, 8)])
def test_the_loss_head_holds_what_the_estimate_says(settings, batch, dim):
    classes = 5000
    model = settings.model.model_copy(update={"embed_dim": dim})
    settings = changed(settings, batch_size=batch).model_copy(update={"model": model})
    head = ArcMargin(dim, classes)
    embeddings = torch.randn(batch, dim, requires_grad=True)
    measured = peak_bytes(lambda: head(embeddings, torch.arange(batch))[0].backward())
    gradient = 4 * classes * dim
    assert measured == pytest.approx(training_cost(settings, classes).head + gradient, rel=0.05)


def test_what_else_is_kept(settings):
    plain = training_cost(settings, classes=10)
    model = settings.model.model_copy(update={"ema_decay": 0.9})
    _, parameters = weight_bytes(settings)
    averaged = training_cost(settings.model_copy(update={"model": model}), classes=10)
    assert averaged.state == plain.state + parameters
    loss = settings.loss.model_copy(update={"name": "SubCentreArcMargin"})  # three a class
    centres = training_cost(settings.model_copy(update={"loss": loss}), classes=10)
    assert centres.state == plain.state + 3 * 4 * 2 * 10 * 16
    assert centres.head == 3 * plain.head


def test_recomputing_keeps_less(settings):
    model = settings.model.model_copy(update={"in_planes": 8, "recompute": True})
    again = changed(settings, batch_size=8, chunk_frames=200).model_copy(update={"model": model})
    plain = again.model_copy(update={"model": model.model_copy(update={"recompute": False})})
    network, head = build_model("SimAM_ResNet34_ASP", 8, 16), ArcMargin(16, 10)
    network.front.recompute = True
    features = torch.randn(8, 200, 80)
    measured = peak_bytes(lambda: head(network(features), torch.arange(8))[0].backward())
    estimate = training_cost(again).activations
    assert measured == pytest.approx(estimate, rel=0.25)
    assert estimate < 0.6 * training_cost(plain).activations


def test_state_is_weights_gradients_and_what_the_optimizer_keeps(settings):
    state, parameters = weight_bytes(settings)
    model = build_model("SimAM_ResNet34_ASP", 2, 16)
    assert parameters == 4 * sum(p.numel() for p in model.parameters())
    assert state == sum(t.numel() * t.element_size() for t in model.state_dict().values())
    assert training_cost(settings).state == 3 * parameters
    adam = settings.optimizer.model_copy(update={"name": "AdamW"})
    assert training_cost(settings.model_copy(update={"optimizer": adam})).state == 4 * parameters
    assert training_cost(settings, classes=10).state == 3 * (parameters + 4 * 10 * 16)


def test_a_measurement_leaves_the_random_numbers_alone(settings):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    training_cost(settings, timed=True)
    assert torch.equal(torch.rand(4), expected)


def test_time_grows_with_batch_and_frames(settings):
    small = training_cost(changed(settings, chunk_frames=64), timed=True)
    large = training_cost(changed(settings, chunk_frames=640), timed=True)
    assert small.seconds_per_step > 0
    # Ten times as many frames, but timed apart, on a machine that others may use.
    assert large.seconds_per_step > 2 * small.seconds_per_step
    assert training_cost(settings).seconds_per_step is None


def test_steps_and_classes_come_from_the_data(settings, tiny):
    manifest = Manifest.read(tiny / "train")
    assert steps(settings, None) == 12
    whole = settings.model_copy(update={"epoch_iterations": None})
    assert steps(whole, None) is None
    assert steps(whole, manifest) == 3 * (24 // 5)
    assert steps(changed(whole, min_seconds=2.35), manifest) == 3 * (12 // 5)
    assert classes_of(settings, None) == 0
    assert classes_of(settings, manifest) == 18
