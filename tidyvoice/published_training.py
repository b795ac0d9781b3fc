"""The training of a released model, read from its WeSpeaker config.yaml, beside one of ours."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tidyvoice.config import Experiment
from tidyvoice.evaluation.tables import Table
from tidyvoice.settings import flatten

# Keys of WeSpeaker's train.py and ours (None without an equivalent), as in docs/wespeaker.md.
KEYS = {
    "gpus": None,
    "dataloader_args.batch_size": "data.batch_size",
    "projection_args.num_class": None,
    "num_epochs": "epochs",
    "num_avg": "average",
    "scheduler_args.epoch_iter": "epoch_iterations",
    "scheduler_args.scale_ratio": None,
    "scheduler_args.initial_lr": "learning_rate.args.initial_lr",
    "scheduler_args.final_lr": "learning_rate.args.final_lr",
    "scheduler_args.warm_up_epoch": "learning_rate.args.warmup_epochs",
    "scheduler_args.warm_from_zero": None,
    "margin_update.initial_margin": "margin.args.initial_margin",
    "margin_update.final_margin": "margin.args.final_margin",
    "margin_update.increase_start_epoch": "margin.args.increase_start_epoch",
    "margin_update.fix_start_epoch": "margin.args.fix_start_epoch",
    "margin_update.increase_type": "margin.args.increase_type",
}
RATES = ("scheduler_args.initial_lr", "scheduler_args.final_lr")
SCALE = "scheduler_args.scale_ratio"


class Setting(NamedTuple):
    """A setting of both trainings; None where a training does not give it."""

    key: str
    published: Any
    ours: Any

    @property
    def differs(self) -> bool:
        return None not in (self.published, self.ours) and self.published != self.ours


def compare_training(published: Mapping[str, Any], experiment: Experiment | None) -> list[Setting]:
    """Compare the training of a released model with one of ours.

    The learning rates in effect come last: WeSpeaker multiplies those in the file by scale_ratio.

    Args:
        published: the config.yaml of the model.

    Returns:
        Nothing if the file does not describe the training.
    """
    reference = flatten(published)
    values = flatten(experiment.model_dump(mode="json")) if experiment else {}
    if not any(key in reference for key in KEYS):
        return []
    settings = [Setting(key, reference.get(key), values.get(same)) for key, same in KEYS.items()]
    for key in RATES:
        in_effect = _product(reference.get(key), reference.get(SCALE))
        settings.append(Setting(f"{key} x scale_ratio", in_effect, values.get(KEYS[key])))
    return settings


def training_table(settings: Sequence[Setting], title: str) -> Table:
    """Return the settings as a table whose last column marks differences.

    Args:
        title: of our column.
    """
    rows = [
        [
            setting.key,
            *(None if value is None else str(value) for value in setting[1:]),
            "differs" if setting.differs else "",
        ]
        for setting in settings
    ]
    return Table(["setting", "published", title, ""], rows, left={1, 2, 3})


def _product(rate: Any, scale: Any) -> float | None:
    numbers = isinstance(rate, int | float) and isinstance(scale, int | float)
    return float(f"{rate * scale:.6g}") if numbers else None
