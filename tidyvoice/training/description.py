"""The lines that a training logs before its first step."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidyvoice.training.trainer import Trainer


def describe(trainer: "Trainer") -> list[str]:
    """Return lines about model, data and steps, and a warning if the batch size is unusual."""
    settings, data, size = trainer.settings, trainer.data, trainer.world.size
    parameters = sum(parameter.numel() for parameter in trainer.network.model.parameters())
    share = trainer.epoch_iterations * trainer.step_chunks / data.num_utterances
    shape = f"{settings.data.batch_size} chunks of {settings.data.chunk_frames} frames"
    if size * settings.gradient_accumulation > 1:
        shape = f"{size} processes x {settings.gradient_accumulation} batches of {shape}"
    lines = [
        f"{settings.model.name}, {parameters:,} parameters, on {trainer.world.device}; "
        f"{data.num_utterances:,} of {len(data.reader):,} utterances are long enough; "
        f"{len(data.speakers):,} speakers at {len(settings.data.speeds)} speeds make "
        f"{data.num_classes:,} classes",
        f"{settings.epochs} epochs of {trainer.epoch_iterations} steps of {shape}; an epoch is "
        f"{share:.4g} passes over the data",
    ]
    if settings.reference_batch_size not in (None, trainer.step_chunks):
        lines.append(
            f"warning: a step takes {trainer.step_chunks} chunks, but the learning rate was tuned "
            f"for {settings.reference_batch_size} (reference_batch_size): change "
            "gradient_accumulation, data.batch_size or the learning rate"
        )
    return lines
