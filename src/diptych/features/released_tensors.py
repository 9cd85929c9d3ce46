"""Tensors of files that authors released, checked before a fitted object takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from diptych.backbones.released_checks import UnfitTensors, misfit, refuse_not_finite, remedy
from diptych.core import Backbone, ClassNames, UsageError
from diptych.core.wording import first_of
from diptych.features.networks import twin_of
from diptych.features.strict_weights import load_tensors

_COUNTER = "num_batches_tracked"
"""End of the names of counters in norms, which files of some years lack."""


def frozen_apart(
    learnt: Mapping[str, Tensor], backbone: Backbone, source: str, *, needs: Callable[[str], bool] | None = None
) -> dict[str, Tensor]:
    """Return what a released file holds without the tensors "backbone.NAME", which must be those of the backbone.

    Args:
        learnt: translated by ``backbones.released``.
        backbone: that the caller gives.
        source: the file, for messages.
        needs: says of a NAME whether the file must hold it; None: it may lack any.

    Raises:
        UnfitTensors: one is no tensor of the backbone, or has other values: the file belongs to another one; or the
            file lacks one that it must hold.
    """
    state = backbone.module().state_dict()
    if needs is not None:
        names = {n.removeprefix("text.") for n in state if not n.endswith(_COUNTER)}
        if absent := sorted(n for n in names if needs(n) and f"backbone.{n}" not in learnt):
            raise UnfitTensors(
                lambda by: (
                    f"{by.source or source} lacks {len(absent)} tensors of its frozen {backbone.spec.name} "
                    f"({first_of(by.absent(f'backbone.{n}') for n in absent)}): it is damaged, or "
                    f"belongs to another backbone."
                )
            )
    frozen: dict[str, Tensor] = {}
    for name, tensor in learnt.items():
        if not name.startswith("backbone."):
            frozen[name] = tensor
            continue
        inner = name.removeprefix("backbone.")
        stored = state.get(inner, state.get(f"text.{inner}"))
        if (
            stored is None
            or stored.shape != tensor.shape
            or not torch.allclose(
                stored.float().cpu(),
                tensor.float(),
                rtol=2e-3,
                atol=1e-4,  # some authors keep theirs in float16
            )
        ):
            raise _not_the_frozen(name, backbone, source)
    return frozen


def _not_the_frozen(name: str, backbone: Backbone, source: str) -> UnfitTensors:
    return UnfitTensors(
        lambda by: (
            f"{by.source or source} holds a frozen {by.held(name)} that is not the one of {backbone.spec.name}: give "
            f"the backbone that the file was trained on."
        )
    )


def generator_apart(
    learnt: Mapping[str, Tensor], generator: object, source: str, *, leaves: tuple[str, ...] = (".kernel",)
) -> dict[str, Tensor]:
    """Return what a released file holds without the tensors "generator.NAME", which must be those of the generator.

    Args:
        learnt: translated by ``backbones.released``.
        generator: that the caller gives, with ``weights``.
        source: the file, for messages.
        leaves: ends of names that no generator here has.

    Raises:
        UnfitTensors: one is no tensor of the generator, has other values, or is missing.
    """
    known: Mapping[str, Tensor] = getattr(generator, "weights", {})
    theirs = {n.removeprefix("generator."): t for n, t in learnt.items() if n.startswith("generator.")}
    theirs = {n: t.float() for n, t in theirs.items() if not n.endswith(leaves)}
    absent = sorted({n for n in known if n not in ("latent_avg", "conv_clamp")} - theirs.keys())
    other = [n for n, t in theirs.items() if n not in known or not torch.equal(known[n].cpu(), t)]
    if absent or other:
        raise UnfitTensors(
            lambda by: (
                f"{by.source or source} was trained for another generator than the given one, which differs in "
                f"{first_of(_spelled(sorted(other), by.held) or _spelled(absent, by.absent))}: give {{generator}} so, "
                f"for instance the released file itself."
            )
        )
    return {n: t for n, t in learnt.items() if not n.startswith("generator.")}


def _spelled(names: Sequence[str], spell: Callable[[str], str]) -> list[str]:
    return [spell(f"generator.{name}") for name in names]


def named_classes(classes: ClassNames | None, system: str) -> ClassNames:
    """Return the classes of a released file's training.

    Raises:
        UsageError: they are missing, and the file does not hold them.
    """
    if classes is None:
        raise UsageError(
            f"A released file of {system} does not hold the names of the classes that it was trained on: give "
            f"{{names}} in the authors' order."
        )
    return classes


def check_released(learnt: Mapping[str, Tensor], wanted: Mapping[str, Tensor], system: str) -> dict[str, Tensor]:
    """Return the tensors of a released file in float32, where they are the wanted ones.

    Raises:
        UnfitTensors: tensors are missing, unexpected or of another shape; the first three of each are named.
    """
    fault = misfit(learnt, wanted)
    if fault:
        do = remedy(learnt, wanted, "give the backbone and the settings that it was trained with")
        raise UnfitTensors(
            lambda by: (
                f"{by.source or 'The released file'} does not fit {system}, tensors {misfit(learnt, wanted, by)}: {do}."
            )
        )
    refuse_not_finite(learnt, f"The released file of {system}")
    return {name: (t.float() if t.is_floating_point() else t).contiguous() for name, t in learnt.items()}


def tuned_backbone(
    learnt: Mapping[str, Tensor], backbone: Backbone, system: str, *, tunes: Callable[[str], bool]
) -> Backbone:
    """Return a backbone with the weights that a released file has for it; the one given is not changed.

    Args:
        learnt: open_clip's names -> tensors.
        backbone: that can be rebuilt; it keeps what the file lacks.
        system: for messages.
        tunes: says of a name whether the file must hold it.

    Raises:
        MissingHook: the backbone cannot be rebuilt.
        UnfitTensors: tensors are missing, unexpected or of another shape; the first three of each are named.
    """
    twin = twin_of(backbone)
    state = twin.module().state_dict()
    ours = {n.removeprefix("text."): n for n in state if not n.endswith(_COUNTER)}
    tensors = check_released(learnt, {short: state[n] for short, n in ours.items() if tunes(short)}, system)
    placed = {ours[short]: t.to(state[ours[short]].dtype) for short, t in tensors.items()}
    load_tensors(twin.module(), {**state, **placed}, types=True)
    rebuilt = backbone.rebuild(twin.module(), backbone.spec)
    assert isinstance(rebuilt, Backbone)  # rebuild keeps the kind
    return rebuilt
