"""Trained weights divided over the processes by torch's ``fully_shard`` (FSDP2), and checkpoints of the parts."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from diptych.core import Run, Trainee, UsageError
from diptych.train.layers import is_block
from diptych.train.pair import PairTrainee

_BETWEEN = "|"


class Sharded:
    """The module of a trainee whose trained weights are divided over the processes.

    Between the steps a process has its part of each weight, and so of the optimiser states, of the moving average and
    of a checkpoint. For the time of a step the weights and their gradients are whole in each; with ``blocks`` those of
    one block of a tower alone, and of what is outside blocks, such as word embeddings. Scalars and frozen weights are
    never divided.

    Args:
        trainee: of one phase, and whose weights are not changed by anything but the optimiser and the clamp of scales.
        trained: names of the trained parameters.
        run: processes.
        blocks: whether blocks are whole one at a time. The trainee must then call them as modules, as pairs of
            embeddings do; towers that are read token by token are called in other ways.
        offload: whether the parts, their gradients and optimiser states lie in the memory of the host.

    Raises:
        UsageError: the trainee, the precision or the number of processes does not allow it.
    """

    def __init__(
        self, trainee: Trainee, trained: Sequence[str], run: Run, *, blocks: bool = False, offload: bool = False
    ) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard

        _check(trainee, run, blocks)
        if "ignored_params" not in signature(fully_shard).parameters or not _writes_safetensors():
            raise UsageError(
                f"torch {torch.__version__} cannot leave scalars whole, or write parts as safetensors: update torch to "
                f"divide weights."
            )
        self._module = trainee.module()
        named = dict(self._module.named_parameters())
        whole = {p for n, p in named.items() if n not in trained or p.ndim == 0}
        self._hooks = {m: tuple(map(set, _state_hooks(m))) for m in self._module.modules()}
        self._root: Any = _Called(self._module)  # and what fully_shard makes of it
        self._device = torch.device(run.device)
        policy = CPUOffloadPolicy(pin_memory=self._device.type != "cpu") if offload else OffloadPolicy()
        how: Any = {
            "mesh": init_device_mesh(self._device.type, (run.world.size,)),
            "ignored_params": whole, "offload_policy": policy,
        }  # fmt: skip
        self._blocks = [_Block(m) for m in _outermost(self._module, whole)] if blocks else []
        if blocks and not self._blocks:
            raise UsageError("What is trained has no towers of blocks to divide one by one: leave out {shard_blocks}.")
        for block in self._blocks:
            fully_shard(block.module, reshard_after_forward=True, **how)
        fully_shard(self._root, reshard_after_forward=False, **how)

    def __call__(self, function: Callable[..., Any], *given: Any) -> Any:
        """Return function(*given) of whole weights; the backward pass divides them and the gradients again."""
        return self._root(function, *given)

    @staticmethod
    def local(x: Tensor) -> Tensor:
        """Return this process's part of a tensor, in the same memory; the tensor itself where it is whole."""
        return x.to_local() if isinstance(x, DTensor) else x

    @torch.no_grad()
    def clip(self, grads: Sequence[Tensor], most: float | None) -> Tensor:
        """Clip whole and divided gradients together, and return their norm before. Modified in place.

        Args:
            grads: of this process.
            most: largest norm; None does not clip.
        """
        parts = [self.local(g) for g in grads if isinstance(g, DTensor)]
        divided = nn.utils.get_total_norm(parts).to(self._device).square()
        torch.distributed.all_reduce(divided)
        norm = (divided + nn.utils.get_total_norm([g for g in grads if not isinstance(g, DTensor)]).square()).sqrt()
        for part in map(self.local, grads if most is not None else ()):
            part.mul_(((most or 0.0) / (norm + 1e-6)).clamp(max=1.0).to(part.device))
        return norm

    def write(self, folder: Path, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Write tensors, each process its part, to a folder that all see; as safetensors, not torch's own pickles.

        Args:
            folder: new.
            tensors: stem -> name -> tensor, as ``checkpoint.save`` takes them.
        """
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
        from torch.distributed.checkpoint.state_dict_saver import save

        flat = {f"{stem}{_BETWEEN}{name}": t.detach() for stem, named in tensors.items() for name, t in named.items()}
        save(flat, storage_writer=HuggingFaceStorageWriter(str(folder), save_distributed=True))

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """Have whole weights for a time, to read; blocks can then be called in any way, and copied."""
        self._gather()
        divided = [block.pause() for block in self._blocks]
        try:
            yield
        finally:
            for block, state in zip(self._blocks, divided, strict=True):
                block.resume(state)
                block.module.reshard()
            self._root.reshard()

    def _gather(self) -> None:
        for m in (self._root, *(block.module for block in self._blocks)):
            m.unshard()

    def undo(self) -> None:
        """Give the module whole parameters, as it had before."""
        flags = {name: p.requires_grad for name, p in self._parameters().items() if isinstance(p, DTensor)}
        self._gather()
        for block in self._blocks:
            block.pause()
        gathered = self._parameters()
        fresh = {gathered[name]: nn.Parameter(gathered[name].detach().clone(), flag) for name, flag in flags.items()}
        for name in flags:
            owner, _, last = name.rpartition(".")
            self._module.get_submodule(owner).register_parameter(last, fresh[gathered[name]])
        for m, before in self._hooks.items():  # they divide the weights where a state is read or loaded
            for hooks, known in zip(_state_hooks(m), before, strict=True):
                for key in hooks.keys() - known:
                    del hooks[key]

    def _parameters(self) -> dict[str, nn.Parameter]:
        return dict(self._module.named_parameters(remove_duplicate=False))

    def divided(self, tensors: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
        """Return the tensors of a checkpoint with whole weights, those of divided parameters divided alike."""
        parameters = self._parameters()

        def placed(name: str, t: Tensor) -> Tensor:
            like: Any = parameters.get(name.rsplit("/", 1)[-1])
            if isinstance(t, DTensor) or not isinstance(like, DTensor) or like.shape != t.shape:
                return t
            whole = t.to(like.device_mesh.device_type)  # where processes exchange tensors, wherever the part lies
            return distribute_tensor(whole, like.device_mesh, like.placements).to(like.device)

        return {stem: {name: placed(name, t) for name, t in named.items()} for stem, named in tensors.items()}


class _Block:
    """A block of a tower, and what it was before ``fully_shard``."""

    def __init__(self, module: nn.Module) -> None:
        self.module: Any = module
        self.type = type(module)
        self.before = {name: set(value) if name in _CALLS else None for name, value in vars(module).items()}

    def pause(self) -> dict[str, Any]:
        """Make it a plain module again, which may be called in any way and copied; return what it was."""
        inside, state = vars(self.module), dict[str, Any](__class__=type(self.module))
        for name in list(inside):
            if name not in self.before:
                state[name] = inside.pop(name)
            elif name in _CALLS:
                new = inside[name].keys() - (self.before[name] or set())
                state[name] = {key: inside[name].pop(key) for key in list(inside[name]) if key in new}
        self.module.__class__ = self.type
        return state

    def resume(self, state: dict[str, Any]) -> None:
        """Undo ``pause``."""
        self.module.__class__ = state.pop("__class__")
        for name, value in state.items():
            if name in _CALLS:
                vars(self.module)[name].update(value)
            else:
                vars(self.module)[name] = value


_CALLS = (
    *("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_forward_hooks", "_forward_hooks_with_kwargs"),
    *("_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
)
"""Where a module has its hooks; torch has no public way to them."""


def _outermost(module: nn.Module, whole: set[nn.Parameter]) -> list[nn.Module]:
    """Return the blocks of all towers that have weights to divide, without blocks inside them."""
    names: list[str] = []
    for name, block in module.named_modules():
        inside = any(name.startswith(f"{other}.") for other in names)
        if is_block(name) and not inside and any(p not in whole for p in block.parameters()):
            names.append(name)
    return [module.get_submodule(name) for name in names]


class _Called(nn.Module):
    """A module that is called as a step of its trainee."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, function: Callable[..., Any], *given: Any) -> Any:
        return function(*given)


def _writes_safetensors() -> bool:
    """Whether this torch has the writer of parts in a form that is no pickle."""
    try:
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    except ImportError:
        return False
    return "save_distributed" in signature(HuggingFaceStorageWriter).parameters


def _state_hooks(m: Any) -> tuple[dict[int, Any], dict[int, Any]]:
    return m._state_dict_pre_hooks, m._load_state_dict_pre_hooks  # torch has no public way to them


def _check(trainee: Trainee, run: Run, blocks: bool) -> None:
    kind = type(trainee)
    if blocks and not (isinstance(trainee, PairTrainee) and not trainee.tokens and _embeds_plainly(trainee)):
        raise UsageError(
            f"{kind.__name__} reads inside blocks, which must then be whole: leave out {{shard_blocks}}, or train a "
            f"loss of embeddings alone."
        )
    if run.world.size == 1:
        raise UsageError("Weights are divided over several processes, and there is one: start them with torchrun.")
    if run.precision == "fp16":
        raise UsageError("The scaler of fp16 does not read divided gradients: train in bf16, or with whole weights.")
    if len(trainee.phases) > 1 or kind.after not in (Trainee.after, PairTrainee.after):
        raise UsageError(
            f"{kind.__name__} changes its weights in several phases or after a step, which needs them whole: leave out "
            f"the division over processes."
        )


def _embeds_plainly(trainee: PairTrainee) -> bool:
    return type(trainee).embed is PairTrainee.embed


def read(folder: Path, parameters: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return what ``write`` wrote, also with another number of processes, or with one.

    Args:
        folder: of ``write``.
        parameters: name -> parameter, as whose parts tensors of its name and size are read.

    Raises:
        OSError: a file is missing or damaged.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    try:
        reader = HuggingFaceStorageReader(str(folder))
        known = reader.read_metadata().state_dict_metadata
        flat = {key: _room(key, about, parameters) for key, about in known.items()}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)  # as one process has it
            load(flat, storage_reader=reader)
    except (CheckpointException, RuntimeError, SafetensorError, ValueError) as error:
        raise OSError(str(error).strip().split("\n")[-1][:200]) from None
    tensors: dict[str, dict[str, Tensor]] = {}
    for key, t in flat.items():
        stem, name = key.split(_BETWEEN)
        tensors.setdefault(stem, {})[name] = t
    return tensors


def _room(key: str, about: Any, parameters: Mapping[str, Tensor]) -> Tensor:
    """Return a tensor to read into, divided as the parameter of its name where that is."""
    p = parameters.get(key.split(_BETWEEN)[1].rsplit("/", 1)[-1])
    if isinstance(p, DTensor) and p.shape == about.size:
        return torch.zeros_like(p.detach(), dtype=about.properties.dtype)
    return torch.zeros(about.size, dtype=about.properties.dtype)
