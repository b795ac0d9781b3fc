"""The schedules by the arguments of WeSpeaker's ``config.yaml``."""

from typing import Any

from tidyvoice.schedules import registry


def ExponentialDecrease(
    num_epochs: int,
    epoch_iter: int,
    initial_lr: float,
    final_lr: float,
    warm_up_epoch: float = 0,
    scale_ratio: float = 1.0,
    warm_from_zero: bool = False,
) -> registry.ExponentialDecrease:
    """Build the learning rate schedule of this name."""
    return registry.ExponentialDecrease(
        epoch_iter,
        num_epochs,
        initial_lr=initial_lr * scale_ratio,
        final_lr=final_lr * scale_ratio,
        warmup_epochs=warm_up_epoch,
        # Without warm_from_zero the learning rate rises from that of the file if it is scaled up.
        warmup_start=0.0 if warm_from_zero else min(1.0 / scale_ratio, 1.0),
    )


def MarginSchedule(
    epoch_iter: int, update_margin: bool = True, **args: Any
) -> registry.IncreasingMargin:
    """Build the margin schedule of this name, whose other arguments are those of ours."""
    if not update_margin:
        args["final_margin"] = args.get("initial_margin", 0.0)
    return registry.IncreasingMargin(epoch_iter, 1, **args)
