import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from tidyvoice.schedules.registry import CosineRestarts
from tidyvoice.training.schedules import ExponentialDecrease, MarginSchedule


def test_margin_equals_the_published_schedule(golden):
    for case in golden["margin_schedule"]:
        schedule = MarginSchedule(**case["args"])
        for iteration, margin in case["margin_at_iteration"].items():
            assert schedule.at(int(iteration)) == pytest.approx(margin, abs=1e-7)


def test_learning_rate_equals_the_published_schedule(golden):
    for case in golden["lr_schedule"]:
        schedule = ExponentialDecrease(**case["args"])
        for iteration, lr in case["lr_at_iteration"].items():
            assert schedule.at(int(iteration)) == pytest.approx(lr, rel=1e-6)


@pytest.mark.parametrize("factor", [1, 2])
def test_cosine_restarts_equal_those_of_torch(factor):
    schedule = CosineRestarts(
        10, 8, initial_lr=0.1, final_lr=0.01, cycle_epochs=1.5, cycle_factor=factor
    )
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    torchs = CosineAnnealingWarmRestarts(optimizer, 15, factor, eta_min=0.01)
    for iteration in range(80):
        assert schedule.at(iteration) == pytest.approx(torchs.get_last_lr()[0], rel=1e-9)
        optimizer.step()
        torchs.step()
