"""How a released model was trained, as its WeSpeaker config.yaml tells, beside settings of ours."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tidyvoice.config import Experiment
from tidyvoice.settings import flatten

# Keys that WeSpeaker's train.py writes, and ours for the same; None where the settings do not say.
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
UNKNOWN = "-"


class Row(NamedTuple):
    """A setting of both trainings; None where one does not say."""

    key: str
    published: Any
    ours: Any

    @property
    def differs(self) -> bool:
        return None not in (self.published, self.ours) and self.published != self.ours


def compare_training(published: Mapping[str, Any], ours: Experiment | None) -> list[Row]:
    """Compare how a model was trained with settings of ours.

    The learning rates that were in effect follow those in the file: WeSpeaker multiplies them by
    scale_ratio.

    Args:
        published: the config.yaml of the model.

    Returns:
        Nothing if the file tells nothing of the training.
    """
    theirs = flatten(published)
    own = flatten(ours.model_dump(mode="json")) if ours else {}
    if not any(key in theirs for key in KEYS):
        return []
    rows = [Row(key, theirs.get(key), own.get(same)) for key, same in KEYS.items()]
    values = {row.key: row for row in rows}
    for key in RATES:
        row = values[key]
        in_effect = _product(row.published, values[SCALE].published)
        rows.append(Row(f"{key} x scale_ratio", in_effect, row.ours))
    return rows


def format_training(rows: list[Row], ours: str) -> str:
    """The rows as a table, whose last column marks what differs; ``ours`` names our settings."""
    head = ("setting", "published", ours, "")
    cells = [
        (row.key, _shown(row.published), _shown(row.ours), "differs" if row.differs else "")
        for row in rows
    ]
    widths = [max(len(line[column]) for line in (head, *cells)) for column in range(3)]
    form = "  ".join(f"{{:<{width}}}" for width in widths) + "  {}"
    return "\n".join(form.format(*line).rstrip() for line in (head, *cells))


def _product(rate: Any, scale: Any) -> float | None:
    known = isinstance(rate, int | float) and isinstance(scale, int | float)
    return float(f"{rate * scale:.6g}") if known else None


def _shown(value: Any) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:g}" if isinstance(value, float) else str(value)
