"""The model of an experiment: the mean of its last checkpoints' weights."""

from pathlib import Path

from tidyvoice.config import load_experiment
from tidyvoice.errors import TidyVoiceError
from tidyvoice.hub import OTHERS, save_model_config, save_torch, training_speakers
from tidyvoice.training.checkpoint import epoch_checkpoints, load_checkpoint


def average_checkpoints(
    experiment: str | Path, last: int, unfinished: bool = False
) -> tuple[Path, list[int]]:
    """Write ``models/avg_model.pt`` with its ``config.yaml`` and ``speakers.txt``.

    Integer tensors (batch norm's counters) are those of the last checkpoint.

    Args:
        unfinished: take a training that has not come to its end.

    Returns:
        The model folder, and the epochs that were averaged.

    Raises:
        TidyVoiceError: fewer than ``last`` epochs have checkpoints, or the training is not at its
            end.
    """
    experiment = Path(experiment)
    if not (experiment / "config.yaml").is_file():
        raise TidyVoiceError(f"{experiment} is no experiment that was begun: train it first")
    settings = load_experiment(experiment / "config.yaml")
    paths = epoch_checkpoints(experiment)
    reached = max(paths, default=0)
    if reached < settings.epochs and not unfinished:
        raise TidyVoiceError(
            f"{experiment} is at epoch {reached} of {settings.epochs}: train on, or say "
            "--unfinished"
        )
    epochs = list(paths)[-last:]
    if len(epochs) < last or (last > 1 and epochs[0] == 0):
        trained = [epoch for epoch in paths if epoch > 0]
        raise TidyVoiceError(
            f"{experiment} has checkpoints of {len(trained)} epochs, cannot average {last}: give "
            "a smaller --last or train on (keep_checkpoints says how many are kept)"
        )
    total: dict = {}
    for epoch in epochs:
        state = load_checkpoint(paths[epoch])
        for name, tensor in state["model"].items():
            if not tensor.is_floating_point():
                total[name] = tensor
            elif name in total:
                total[name] += tensor / last
            else:
                total[name] = tensor / last
    folder = experiment / "models"
    speakers = set(state["speakers"])
    if settings.model.init:
        # The initial model may have been trained on anybody if it does not say on whom.
        speakers |= set(training_speakers(settings.model.init) or [OTHERS])
    speakers = sorted(speakers)
    save_model_config(folder, settings.model, settings.frontend, speakers)
    save_torch(folder / "avg_model.pt", total)
    return folder, epochs
