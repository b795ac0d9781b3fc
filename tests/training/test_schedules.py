import pytest

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


def test_a_rise_from_epoch_one_starts_at_the_initial_margin():
    schedule = MarginSchedule(100, 0.1, 0.3, increase_start_epoch=1, fix_start_epoch=3)
    assert schedule.at(0) == pytest.approx(0.1)
    assert schedule.at(200) == pytest.approx(0.3)


def test_a_margin_that_is_not_updated_stays():
    schedule = MarginSchedule(100, 0.1, 0.3, update_margin=False)
    assert schedule.at(10_000) == pytest.approx(0.1)
