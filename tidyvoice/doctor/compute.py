"""Checks of the device, and of whether the trainings fit on it."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch

from tidyvoice.config import Experiment
from tidyvoice.device import choose_device
from tidyvoice.doctor.cost import TrainingCost, classes_of, steps, training_cost, training_data
from tidyvoice.doctor.findings import Finding, about, judge, size
from tidyvoice.errors import TidyVoiceError
from tidyvoice.hub import model_files
from tidyvoice.manifest import Manifest
from tidyvoice.training.start import check_initial_model

# Not counted in the estimate: workspaces of the convolutions, fragmentation, temporary maps.
HEADROOM = 1.2
LONG_HOURS = 24.0


def device() -> list[Finding]:
    """The device that ``auto`` chooses, and what it can do."""
    chosen = choose_device()
    if chosen.type == "cuda":
        card = torch.cuda.get_device_properties(chosen)
        free, total = torch.cuda.mem_get_info(chosen)
        bf16 = "bf16" if _has_bf16() else "no bf16"
        others = torch.cuda.device_count() - 1
        measured = (
            f"{card.name}, {size(free)} of {size(total)} free, compute capability "
            f"{card.major}.{card.minor}, {bf16}"
            + (f"; {others} more, which a training does not use" if others else "")
        )
        return [Finding("OK", "cuda", measured)]
    if chosen.type == "mps":
        return [Finding("OK", "mps", f"{size(torch.mps.recommended_max_memory())} to be used")]
    if shutil.which("nvidia-smi"):
        mend = "install a torch build for its driver, or look at CUDA_VISIBLE_DEVICES"
        measured = f"nvidia-smi is here, but torch {torch.__version__} sees no GPU"
        return [Finding("WARN", "cuda", measured, "a GPU", mend)]
    measured = f"none: computing on the CPU, {torch.get_num_threads()} threads"
    return [Finding("OK", "GPU", measured)]


def _has_bf16() -> bool:
    return torch.cuda.is_bf16_supported(including_emulation=False)


def free_memory(device: torch.device) -> int:
    """Bytes that a training could take on the device.

    On a CPU all that the machine has: other programs, and a container's limit, are not seen.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory()
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def trainings(
    experiments: Mapping[str, Experiment], folders: Mapping[Path, Manifest]
) -> list[Finding]:
    """Whether each training fits on its device, and on a CPU how long it takes.

    Args:
        experiments: by the name of their YAML files.
        folders: data folders that are there; what a training reads is looked up in them.
    """
    found = []
    for name, settings in experiments.items():
        try:
            chosen = choose_device(settings.device)
        except TidyVoiceError as error:
            mend = "run where it is, or give device: auto"
            found.append(Finding("FAIL", name, str(error), f"device {settings.device}", mend))
            continue
        data = training_data(settings, folders)
        classes = classes_of(settings, data)
        cost = training_cost(settings, classes, timed=chosen.type == "cpu")
        found.append(_memory(name, settings, cost, classes, chosen))
        if chosen.type == "cpu":
            found.append(_hours(name, cost, steps(settings, data)))
        if settings.precision == "bf16" and chosen.type == "cuda":
            mend = "set precision: float32, which is faster there"
            state = "the GPU has it" if _has_bf16() else "the GPU only emulates it"
            found.append(judge(_has_bf16(), f"{name} bf16", state, "bf16", mend, "WARN"))
    return found


def initial_models(experiments: Mapping[str, Experiment]) -> list[Finding]:
    """Whether the weights that trainings start from are there and fit the network."""
    found = []
    for name, settings in experiments.items():
        start, network = settings.model.init, settings.model
        if start is None:
            continue
        subject = f"{name} model.init"
        try:
            model_files(start)
        except TidyVoiceError:
            mend = "run stage 3 first, or give a model folder"
            found.append(Finding("WARN", subject, f"{start} is not there yet", mend=mend))
            continue
        try:
            source = check_initial_model(settings)
        except TidyVoiceError as error:
            mend = "give the model that the settings describe, or change model"
            found.append(Finding("FAIL", subject, str(error), network.name, mend))
        else:
            found.append(Finding("OK", subject, f"{source} fits {network.name}"))
    return found


def _memory(
    name: str, settings: Experiment, cost: TrainingCost, classes: int, device: torch.device
) -> Finding:
    free = free_memory(device)
    data = settings.data
    head = f"{classes:,} classes" if classes else "without the loss head, whose classes need data"
    measured = (
        f"about {size(cost.total)}, an estimate: activations {size(cost.activations)} for "
        f"{data.batch_size} x {data.chunk_frames} frames, from a few short chunks run on the CPU; "
        f"weights, gradients and optimizer {size(cost.state)}; {head}"
    )
    expected = f"at most {size(free)} of {device.type} memory, better {size(free / HEADROOM)}"
    mend = "make data.batch_size smaller, and learning_rate with it"
    if settings.precision == "float32" and device.type == "cuda":
        mend += ", or set precision: bf16"
    tight = "FAIL" if cost.total > free else "WARN"
    return judge(cost.total * HEADROOM <= free, f"{name} memory", measured, expected, mend, tight)


def _hours(name: str, cost: TrainingCost, number: int | None) -> Finding:
    a_step = (
        f"a step takes about {about(cost.seconds_per_step)} s on this CPU (forward and backward, "
        "timed with the machine as busy as it is; of large models a part, scaled)"
    )
    if number is None:
        return Finding("OK", f"{name} time", f"{a_step}; how many steps, the data will tell")
    hours = number * cost.seconds_per_step / 3600
    mend = "train on a GPU, or start from a released model"
    return judge(
        hours <= LONG_HOURS,
        f"{name} time",
        f"about {about(hours)} h, an estimate: {number:,} steps; {a_step}",
        f"at most {LONG_HOURS:g} h",
        mend,
        "WARN",
    )
