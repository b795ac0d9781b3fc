"""The schedules by the arguments of WeSpeaker's ``config.yaml``.

WeSpeaker multiplies the learning rates of its file by ``scale_ratio``. Here they are those in use.
"""

from typing import Literal

from tidyvoice.schedules import exponential_decrease, increasing_margin


def ExponentialDecrease(
    num_epochs: int,
    epoch_iter: int,
    initial_lr: float,
    final_lr: float,
    warm_up_epoch: float = 0,
    scale_ratio: float = 1.0,
    warm_from_zero: bool = False,
) -> exponential_decrease.ExponentialDecrease:
    """Build the learning rate schedule of this name."""
    return exponential_decrease.ExponentialDecrease(
        epoch_iter,
        num_epochs,
        initial_lr=initial_lr * scale_ratio,
        final_lr=final_lr * scale_ratio,
        warmup_epochs=warm_up_epoch,
        # Without warm_from_zero the learning rate rises from that of the file if it is scaled up.
        warmup_start=0.0 if warm_from_zero else min(1.0 / scale_ratio, 1.0),
    )


def MarginSchedule(
    epoch_iter: int,
    initial_margin: float = 0.0,
    final_margin: float = 0.2,
    increase_start_epoch: int = 1,
    fix_start_epoch: int = 1,
    increase_type: Literal["linear", "exp"] = "exp",
    update_margin: bool = True,
) -> increasing_margin.IncreasingMargin:
    """Build the margin schedule of this name."""
    return increasing_margin.IncreasingMargin(
        epoch_iter,
        1,
        initial_margin=initial_margin,
        final_margin=final_margin if update_margin else initial_margin,
        increase_start_epoch=increase_start_epoch,
        fix_start_epoch=fix_start_epoch,
        increase_type=increase_type,
    )
