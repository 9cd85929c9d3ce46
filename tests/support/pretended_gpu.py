"""A GPU that is pretended: its tensors have the values of the CPU, and refuse what those of a GPU refuse.

Inside ``with PretendedGPU():`` "cuda" is a device. A tensor that is moved there, or made there, says so, and so do
results computed from it, in the backward pass too. These raise as CUDA does: tensors of both devices in one operation,
NumPy's view of a tensor on the GPU, and a generator of the CPU that draws there. Autocast of the GPU is that of the
CPU. Nothing is said of speed, memory, or numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data.dataloader import _SingleProcessDataLoaderIter

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
ANY_DEVICE = ("copy_", "_copy_from", "index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")
"""Operations that CUDA does with tensors of both devices: copies, and indices of the CPU."""
JOINED = ("cat", "stack")
"""Operations that take no scalars of the CPU, as arithmetic does."""
DEVICE, IS_CUDA = Tensor.device.__get__, Tensor.is_cuda.__get__  # type: ignore[attr-defined]
READS = (Tensor.numpy, Tensor.__array__)
MOVES = (Tensor.to, Tensor.cpu, Tensor.cuda, Tensor.type_as)


class Tags:
    """Which storages lie on the GPU. A weak reference keeps the address from being used again.

    Attributes:
        inside: whether torch is in a function of a tensor on the GPU, whose intermediate results lie there too.
    """

    def __init__(self) -> None:
        self.inside = False
        self._refs: dict[int, StorageWeakRef] = {}

    def __contains__(self, x: Any) -> bool:
        return isinstance(x, Tensor) and _address(x) in self._refs

    def set(self, x: Tensor, on: bool) -> Tensor:
        if not on:
            self._refs.pop(_address(x), None)
        elif (address := _address(x)) not in self._refs:
            self._refs[address] = StorageWeakRef(x.untyped_storage())
        return x


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """Return the tensors in values, and in lists, tuples and dictionaries of them. Each operation asks for these, and
    ``torch.utils._pytree``, or a generator, takes longer than most of the operations.
    """
    tensors: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            tensors.append(value)
        elif isinstance(value, (list, tuple)):
            tensors += _tensors(value)
        elif isinstance(value, dict):
            tensors += _tensors(value.values())
    return tensors


def _address(x: Tensor) -> int:
    """Return the address of the storage; called where functions of tensors are not answered by ``_Functions``."""
    return 0 if x.layout != torch.strided else int(x.untyped_storage()._cdata)


class _Move(torch.autograd.Function):
    """A copy on the other device; the gradient goes back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, tags: Tags, to: bool) -> Tensor:
        with torch._C.DisableTorchFunction():
            ctx.tags, ctx.origin = tags, x in tags
            return tags.set(x.clone(), to)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        with torch._C.DisableTorchFunction():
            return ctx.tags.set(grads[0].clone(), ctx.origin), None, None


class _Dispatch(TorchDispatchMode):
    """Says of results where they lie, and refuses operations on tensors of both devices."""

    def __init__(self, tags: Tags) -> None:
        super().__init__()
        self.tags = tags

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = _tensors((args, kwargs))
        with torch._C.DisableTorchFunction():
            there = [x in self.tags for x in given]
        name = func._schema.name.removeprefix("aten::")
        if any(there):
            self._check(name, given, there, kwargs)
        out = func(*args, **kwargs)
        made = any(there) if given else self.tags.inside
        if made and not (name in ANY_DEVICE and given[0] not in self.tags):
            with torch._C.DisableTorchFunction():
                before = {_address(x) for x in given}
                for x in _tensors((out,)):
                    if _address(x) not in before:
                        self.tags.set(x, True)
        return out

    def _check(self, name: str, given: list[Tensor], there: list[bool], kwargs: Any) -> None:
        generator = kwargs.get("generator")
        if generator is not None:
            raise RuntimeError(f"Expected a 'cuda' device type for generator but found 'cpu' ({name})")
        off = [x for x, on in zip(given, there, strict=True) if not on and (x.dim() or name in JOINED)]
        if not off or (name in ANY_DEVICE and (there[0] or "copy" in name)):
            return
        shapes = [tuple(x.shape) for x in off]
        raise RuntimeError(f"Expected all tensors to be on the same device: {name} has {shapes} on the CPU")


class _Functions(TorchFunctionMode):
    """Answers where a tensor lies, moves it, and makes new ones on the GPU."""

    def __init__(self, tags: Tags) -> None:
        super().__init__()
        self.tags = tags

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before, self.tags.inside = self.tags.inside, any(x in self.tags for x in _tensors((args, kwargs or {})))
        try:
            return self._answer(func, args, dict(kwargs or {}))
        finally:
            self.tags.inside = before

    def _answer(self, func: Any, args: Any, kwargs: Any) -> Any:
        name, on = getattr(func, "__name__", ""), bool(args) and args[0] in self.tags
        if on and func == DEVICE:
            return GPU
        if func == IS_CUDA:
            return on
        if on and func in READS:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
        if func in MOVES:
            return self._moved(func, args, kwargs)
        if func is torch.as_tensor and isinstance(args[0], Tensor) and "device" in kwargs:
            return self._moved(Tensor.to, args, kwargs)
        if func is Tensor.pin_memory:
            if on:
                raise RuntimeError("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned")
            return args[0]
        if func is Tensor.backward:
            with self:  # recomputed activations, and backward passes in Python, ask for devices too
                return torch.autograd.backward(args[0], kwargs.pop("gradient", None), **kwargs)
        asked = kwargs.get("device")
        if asked is None:
            out = func(*args, **kwargs)
            return self.tags.set(out, True) if on and name in ("new_tensor", "__deepcopy__") else out
        to = torch.device(asked).type == "cuda"
        if to and kwargs.get("generator") is not None:
            raise RuntimeError(f"Expected a 'cuda' device type for generator but found 'cpu' ({name})")
        out = func(*args, **{**kwargs, "device": CPU})
        return self.tags.set(out, to) if isinstance(out, Tensor) else out

    def _moved(self, func: Any, args: Any, kwargs: Any) -> Any:
        x, *rest = args
        to: bool | None
        dtype, copy = kwargs.get("dtype"), kwargs.pop("copy", False)
        if func in (Tensor.cpu, Tensor.cuda):
            to = func is Tensor.cuda
        elif rest and isinstance(rest[0], Tensor):
            to, dtype = rest[0] in self.tags, rest[0].dtype
        else:
            kwargs.pop("memory_format", None)
            device, dtype, *_ = torch._C._nn._parse_to(*rest, **kwargs)
            to = None if device is None else device.type == "cuda"
        out = x if dtype is None else Tensor.to(x, dtype)
        if to is not None and to != (x in self.tags):
            return _Move.apply(out, self.tags, to)
        return out.clone() if copy and out is x else out


class PretendedGPU(contextlib.ExitStack):
    """A device "cuda" of this thread, while the context is open."""

    def __enter__(self) -> PretendedGPU:
        super().__enter__()
        self.tags = Tags()
        patch = self.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(torch, "autocast", _autocast)
        patch.setattr(torch.amp, "autocast", _autocast)
        patch.setattr(_SingleProcessDataLoaderIter, "__init__", _pins)
        self.enter_context(_Dispatch(self.tags))
        self.enter_context(_Functions(self.tags))
        return self


_opened = _SingleProcessDataLoaderIter.__init__


def _pins(self: Any, loader: Any) -> None:
    """Open an iterator of a loader that pins its batches where it is asked to, as beside a real GPU."""
    _opened(self, loader)
    self._pin_memory = loader.pin_memory


class _autocast(torch.autocast):  # noqa: N801
    def __init__(self, device_type: str, *args: Any, **how: Any) -> None:
        super().__init__("cpu" if device_type == "cuda" else device_type, *args, **how)
