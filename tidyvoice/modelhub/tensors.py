"""Files of ``torch.save``, and checks of the tensors in any file."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tidyvoice.errors import TidyVoiceError, reading, summarise
from tidyvoice.settings import flatten

FORMAT = 1  # of the files that ``read_saved`` reads
SHOWN = 3  # tensors in an error message


def read_torch(path: Path, content: str, fix: str) -> Any:
    """Read a file of ``torch.save`` on the CPU, without running code (see ``errors.reading``)."""
    with reading(path, content, fix):
        # Torch neither refuses compressed members, which may be bombs, nor compares checksums.
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if any(member.compress_type for member in archive.infolist()):
                    raise ValueError("compressed")
                if damaged := archive.testzip():
                    raise ValueError(f"the checksum of {damaged} differs")
        return torch.load(path, map_location="cpu", weights_only=True)


def read_saved(
    path: Path, wanted: Mapping[str, type], content: str, fix: str, other_version: str
) -> dict[str, Any]:
    """Read a dictionary of ``FORMAT`` with values of the ``wanted`` types, and check its tensors.

    ``Tensor`` stands for a dictionary of tensors; a name that ends in "?" may be absent.
    """
    saved = read_torch(path, content, fix)
    with reading(path, content, fix):
        if saved.get("format") != FORMAT:
            raise TidyVoiceError(f"{path} is a {content} of another version: {other_version}")
        for key, kind in wanted.items():
            name = key.removesuffix("?")
            value = saved[name] if name == key else saved.get(name, {})
            values = value.values() if kind is Tensor else [value]
            if not all(isinstance(value, kind) for value in values):
                raise ValueError(f"{key} has another type")
        refuse_defects(path, {k: t for k, t in flatten(saved).items() if torch.is_tensor(t)}, fix)
    return saved


def refuse_defects(path: Path, tensors: Mapping[str, Tensor], fix: str) -> None:
    """Raise a TidyVoiceError unless all tensors of a file are dense, real and finite."""
    defects = {name: _defect(tensor) for name, tensor in tensors.items()}
    if problems := [f"{name} {defect}" for name, defect in defects.items() if defect]:
        raise TidyVoiceError(f"{path}: {summarise(problems, SHOWN)}: {fix}")


def _defect(tensor: Tensor) -> str | None:
    dense = tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not dense or tensor.is_nested or tensor.is_quantized or tensor.is_complex():
        return "is no dense tensor of real numbers"
    # A stride of zero makes any number of values out of one.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"claims {tensor.numel():,} values"
    # In float32, in which models compute; isfinite would take twenty times as long.
    if tensor.numel() and not torch.stack(torch.aminmax(tensor.float())).isfinite().all():
        return "is not finite"
    return None


def misfits(state: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> str:
    """Describe how the names and shapes of a state dict differ from ``tensors``; "" if nowhere."""
    problems = [f"{name} is missing" for name in tensors if name not in state]
    problems += [f"{name} is unknown" for name in state if name not in tensors]
    problems += [
        f"{name} has the shape {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in tensors.items()
        if name in state and state[name].shape != tensor.shape
    ]
    return summarise(problems, SHOWN)
