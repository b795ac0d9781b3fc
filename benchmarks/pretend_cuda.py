"""A CUDA device without a GPU: its tensors compute on the CPU, or not at all.

Inside ``PretendCuda`` tensors that move to ``DEVICE`` claim to be there. Tensors of the host and of
the device must not meet. It records the operations, the bytes that each would move, and the places
where the host would wait for a real GPU.
"""

import sys
import traceback
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor
from torch.utils import _foreach_utils
from torch.utils._device import _device_constructors
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import flop_registry

from tidyvoice import kernels
from tidyvoice.frontends import fbank
from tidyvoice.models import simam_resnet

DEVICE = torch.device("cuda", 0)
PACKAGE = str(Path(__file__).parents[1] / "tidyvoice")
# The host reads their result, or their result's size depends on values.
READ_BY_HOST = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal")
# Operations that start no kernel; views do not either.
FREE = ("detach", "alias", "empty", "new_empty", "empty_like", "_unsafe_view", "lift_fresh")
# Operations of several kernels: how many kernels, and how many of the first inputs are read twice.
KERNELS = {
    "native_batch_norm": (2, 1),
    "native_batch_norm_backward": (2, 2),
    "convolution_backward": (2, 1),
    "simam_residual": (2, 1),
    "simam_residual_backward": (2, 3),
}
FACTORIES = (
    "arange",
    "empty",
    "eye",
    "full",
    "linspace",
    "ones",
    "rand",
    "randn",
    "tensor",
    "zeros",
)


class Operation(NamedTuple):
    """An operation on the device: the bytes that it reads and writes, its arithmetic, kernels."""

    name: str
    bytes: int
    flop: int
    launches: int


class CudaTensor(Tensor):
    """A tensor that claims to be on ``DEVICE``; ``inner`` is on the CPU, or on meta."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "CudaTensor":
        options = {"strides": inner.stride(), "storage_offset": inner.storage_offset()}
        self = Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype, **options)
        self.inner = inner
        PretendCuda.current.hold(self, inner.untyped_storage())
        return self

    @property
    def device(self) -> torch.device:
        return DEVICE

    @property
    def is_cuda(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"CudaTensor({list(self.shape)}, {self.dtype})"

    def __deepcopy__(self, memo: dict) -> "CudaTensor":
        copied = CudaTensor(self.inner.clone())
        if isinstance(self, torch.nn.Parameter):
            copied = torch.nn.Parameter(copied, self.requires_grad)
        return memo.setdefault(id(self), copied)

    def __reduce_ex__(self, protocol: int) -> Any:
        return self.inner.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return PretendCuda.current.compute(func, args, dict(kwargs or {}))


class PretendCuda:
    """The device, as a context.

    Args:
        values: compute values; False: only types and shapes, at any size.
        kernels: pretend that the package's Triton kernels work, or do not; None: let it check.

    Attributes:
        operations: all since the start, or the last ``clear``.
        waits: the places in the package where the host would have waited.
        peak: most bytes that were held at once; kernels' own workspace does not count.
    """

    current: "PretendCuda"

    def __init__(self, values: bool = True, kernels: bool | None = True):
        self.values = values
        self.kernels = kernels
        self._copying: list[tuple[Tensor, Tensor]] = []
        self._holders: dict[int, int] = {}  # tensors of each storage
        self._held = 0
        self.clear()

    def clear(self) -> None:
        """Forget what was recorded."""
        self.peak = self._held
        self.operations: list[Operation] = []
        self.waits: list[str] = []

    def __enter__(self) -> "PretendCuda":
        PretendCuda.current = self
        # A set that torch keeps: with the patched functions in it, torch.device("meta") would fail.
        _device_constructors()
        self._patches = ExitStack()
        patch = self._patches.enter_context
        for name in FACTORIES:
            patch(mock.patch.object(torch, name, self._factory(name, getattr(torch, name))))
        for name in ("to", "cpu", "tolist", "numpy", "pin_memory", "is_pinned"):
            method = getattr(self, f"_{name}")
            patch(mock.patch.object(Tensor, name, _method(method, getattr(Tensor, name))))
        if self.kernels is not None:
            patch(mock.patch.object(kernels, "passes", self._passes))
        types = [*_foreach_utils._foreach_supported_types, CudaTensor]
        for module in (_foreach_utils, sys.modules["torch.optim.optimizer"]):
            patch(mock.patch.object(module, "_foreach_supported_types", types))
        patch(mock.patch.object(torch, "autocast", _Autocast))
        # Modules get new parameters when they move; data of another type does not fit the old ones.
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        self._patches.callback(torch.__future__.set_overwrite_module_params_on_conversion, False)
        health = "_accelerator_graph_capture_health_check"
        patch(mock.patch.object(torch.optim.Optimizer, health, create=True))
        # _lazy_init: called when an argument names a CUDA device.
        for name, value in {
            "_lazy_init": None,
            "is_available": True,
            "is_bf16_supported": True,
            "is_current_stream_capturing": False,
            "device_count": 1,
            "current_device": 0,
            "current_stream": None,
            "get_device_name": "pretended GPU",
            "get_device_capability": (8, 0),
            "max_memory_allocated": 0,
            "reset_peak_memory_stats": None,
            "empty_cache": None,
            "get_rng_state": torch.zeros(16, dtype=torch.uint8),
            "set_rng_state": None,
        }.items():
            patch(mock.patch.object(torch.cuda, name, lambda *_, value=value, **__: value))
        generator = torch.Generator
        group = torch._C._group_tensors_by_device_and_dtype
        for owner, name, value in (
            (torch._C, "_group_tensors_by_device_and_dtype", lambda *a: _on_device(group(*a))),
            (torch, "Generator", lambda device="cpu": generator()),
            (torch.cuda, "Event", _Event),
            (torch.cuda, "synchronize", lambda *_: self.wait("synchronize")),
        ):
            patch(mock.patch.object(owner, name, value))
        return self

    def __exit__(self, *error: object) -> None:
        self._patches.close()

    def hold(self, tensor: CudaTensor, storage: torch.UntypedStorage) -> None:
        """Count the memory of a storage from its first tensor to its last."""
        key, size = storage._cdata, storage.nbytes()
        self._holders[key] = self._holders.get(key, 0) + 1
        if self._holders[key] == 1:
            self._held += size
            self.peak = max(self.peak, self._held)
        weakref.finalize(tensor, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._holders[key] -= 1
        if not self._holders[key]:
            del self._holders[key]
            self._held -= size

    def wait(self, reason: str) -> None:
        """Record that the host waits here."""
        with torch.inference_mode():
            for target, value in self._copying:
                target.copy_(value)
        self._copying.clear()
        frames = [f for f in traceback.extract_stack() if f.filename.startswith(PACKAGE)]
        place = frames[-1] if frames else traceback.extract_stack()[-3]
        self.waits.append(f"{Path(place.filename).name}:{place.lineno} {reason}: {place.line}")

    def compute(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Do an operation of which at least one tensor is on the device."""
        name = func.overloadpacket.__name__
        self._check_devices(name, args, kwargs)
        if name in READ_BY_HOST:
            self.wait(name)
        inner = torch.device("cpu" if self.values else "meta")
        if "device" in kwargs:
            kwargs["device"] = inner

        def unwrapped(value: Any) -> Any:
            if isinstance(value, CudaTensor):
                return value.inner
            return value.to(inner) if isinstance(value, Tensor) else value

        function = PLAIN.get(name, func) if self.values else func
        plain = tree_map(unwrapped, (args, kwargs))
        # Some fused operations that return nothing cannot work on shapes alone.
        done = func._schema.returns or self.values
        result = function(*plain[0], **plain[1]) if done else None
        if name == "convolution" and any(
            each.is_contiguous(memory_format=torch.channels_last) for each in plain[0][:2]
        ):
            result = result.contiguous(memory_format=torch.channels_last)  # as cuDNN does
        self._record(func, name, plain, result)
        # An operation in place returns its argument.
        wrapped = {id(v.inner): v for v in tree_leaves((args, kwargs)) if isinstance(v, CudaTensor)}

        def wrap(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            return wrapped[id(value)] if id(value) in wrapped else CudaTensor(value)

        return tree_map(wrap, result)

    def _check_devices(self, name: str, args: tuple, kwargs: dict[str, Any]) -> None:
        host = [
            value
            for value in tree_leaves((args, kwargs))
            if isinstance(value, Tensor) and not isinstance(value, CudaTensor) and value.dim()
        ]
        if name in ("index", "index_put", "index_put_", "_index_put_impl_"):
            indexes = [index for index in args[1] if index is not None]
            if any(index.dtype == torch.bool for index in indexes):
                self.wait("a mask as an index")
            for index in indexes:
                if not isinstance(index, CudaTensor):
                    self.wait("an index on the host")
            host = [value for value in host if not any(value is index for index in indexes)]
        elif name == "copy_" and host:
            pinned = hasattr(host[0], "pretend_pinned")
            if not (pinned and len(args) > 2 and args[2]):
                self.wait("a copy between host and device")
            return
        # In a backward pass autograd makes zeros on the device that C++ knows, which is the CPU.
        if host and torch._C._current_graph_task_id() == -1:
            raise RuntimeError(f"{name}: tensors of the host and of the device meet")

    def _record(self, func: Any, name: str, inputs: Any, result: Any) -> None:
        if func.is_view or name in FREE:
            return
        tensors = {id(v): v for v in tree_leaves(inputs) if isinstance(v, Tensor)}
        moved = sum(map(_bytes, tensors.values()))
        moved += sum(_bytes(value) for value in tree_leaves(result) if isinstance(value, Tensor))
        if not func._schema.returns:
            arguments = zip(func._schema.arguments, inputs[0], strict=False)
            written = [v for a, v in arguments if a.alias_info and a.alias_info.is_write]
            moved += sum(map(_bytes, tree_leaves(written)))
        launches, again = KERNELS.get(name, (1, 0))
        moved += sum(map(_bytes, tree_leaves(inputs[0])[:again]))
        flop = 0
        if func.overloadpacket in flop_registry:
            flop = flop_registry[func.overloadpacket](*inputs[0], **inputs[1], out_val=result)
        self.operations.append(Operation(name, moved, flop, launches))

    def _passes(self, *kind: Any) -> bool:
        from tidyvoice.kernels import operators  # noqa: F401  (registers them; needs Triton)

        return bool(self.kernels)

    def _factory(self, name: str, function: Callable) -> Callable:
        def factory(*args: Any, **kwargs: Any) -> Tensor:
            device = kwargs.get("device")
            if device is None or torch.device(device).type != "cuda":
                return function(*args, **kwargs)
            if name == "tensor":
                self.wait("a copy from the host")
            return self._on_device(function(*args, **{**kwargs, "device": "cpu"}))

        return factory

    def _on_device(self, tensor: Tensor) -> CudaTensor:
        return CudaTensor(tensor.detach() if self.values else tensor.detach().to("meta"))

    def _to(self, original: Callable, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if args and isinstance(args[0], Tensor):
            args = (args[0].device, args[0].dtype, *args[1:])
        if "copy" in kwargs:  # only torch's own decompositions use it
            return original(tensor, *args, **kwargs)
        device, dtype, non_blocking, _ = torch._C._nn._parse_to(*args, **kwargs)
        here = isinstance(tensor, CudaTensor)
        if device is None or (device.type == "cuda") == here:
            if here and device is not None:
                args = tuple(a for a in args if not isinstance(a, str | torch.device | int))
                kwargs = {name: value for name, value in kwargs.items() if name != "device"}
                if not args and not kwargs:
                    return tensor
            return original(tensor, *args, **kwargs)
        if here:
            moved = tensor.inner.detach().clone()
            if non_blocking:  # until the host waits, the memory holds something else
                self._copying.append((moved, moved.clone()))
                moved.zero_().sub_(1)
            else:
                self.wait("a copy to the host")
        else:
            if not (non_blocking and hasattr(tensor, "pretend_pinned")):
                self.wait("a copy from the host")
            moved = self._on_device(tensor.clone())
        return moved if dtype is None else moved.to(dtype)

    def _cpu(self, original: Callable, tensor: Tensor, *args: Any) -> Tensor:
        return tensor.to("cpu")

    def _tolist(self, original: Callable, tensor: Tensor) -> Any:
        return original(tensor.to("cpu"))

    def _numpy(self, original: Callable, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        if isinstance(tensor, CudaTensor):
            raise TypeError("a tensor on the device has no array")
        return original(tensor, *args, **kwargs)

    def _pin_memory(self, original: Callable, tensor: Tensor) -> Tensor:
        pinned = tensor.clone()
        pinned.pretend_pinned = True
        return pinned

    def _is_pinned(self, original: Callable, tensor: Tensor) -> bool:
        return hasattr(tensor, "pretend_pinned")


def _method(method: Callable, original: Callable) -> Callable:
    return lambda self, *args, **kwargs: method(original, self, *args, **kwargs)


def _bytes(tensor: Tensor) -> int:
    """Bytes of a tensor; an expanded dimension lies in memory once."""
    places = (size for size, step in zip(tensor.shape, tensor.stride(), strict=True) if step)
    return torch.Size(places).numel() * tensor.element_size()


def _on_device(groups: dict) -> dict:
    """Name the device that the tensors of optimizers and gradients claim."""
    return {
        (lists[0][0].device, dtype): (lists, indexes)
        for (_, dtype), (lists, indexes) in groups.items()
    }


class _Autocast(torch.autocast):
    def __init__(self, device_type: str, *args: Any, **kwargs: Any):
        super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)


class _Saved:
    def save_for_backward(self, *tensors: Tensor) -> None:
        self.saved_tensors = tensors


def _simam_residual(x: Tensor, residual: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    saved = _Saved()
    out = simam_resnet._SimAMResidual.forward(saved, x, residual)
    return (out, *saved.saved_tensors[2:])


def _simam_residual_backward(gradient: Tensor, *tensors: Tensor) -> tuple[Tensor, Tensor]:
    saved = _Saved()
    saved.save_for_backward(*tensors)
    return simam_resnet._SimAMResidual.backward(saved, gradient)


# What the package's kernels compute.
PLAIN = {
    "simam_residual": _simam_residual,
    "simam_residual_backward": _simam_residual_backward,
    "seeded_noise": fbank.seeded_noise,
}


class _Event:
    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def record(self, *args: Any) -> None:
        pass

    def synchronize(self) -> None:
        PretendCuda.current.wait("an event")
