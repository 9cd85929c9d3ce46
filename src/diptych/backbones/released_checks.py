"""Tensors of a file beside those that are wanted: which have no place, what to do, and which hold no finite numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diptych.core import DataError
from diptych.core.wording import first_of

if TYPE_CHECKING:
    from torch import Tensor

_DECODER = "text_decoder."
"""Beginning of the names of CoCa's decoder."""
_UNROUNDED = re.compile(r"(.*\.)?(class_embedding|positional_embedding|logit_scale|token_embedding\..*|ln_\w+\..*)")


@dataclass(frozen=True)
class Spelling:
    """How messages call a file and its tensors, of which we know our names; see ``released_names.spelling``.

    Args:
        held: our name of a tensor that the file holds -> the file's.
        absent: our name of one that it lacks -> the file's.
        source: the file; "": whoever says the message knows it.
    """

    held: Callable[[str], str] = str
    absent: Callable[[str], str] = str
    source: object = ""


OURS = Spelling()
"""Our names."""


class UnfitTensors(DataError):
    """Tensors of a file have no place, or others are wanted. Who knows the file's names can say it in these.

    Args:
        say: returns the message in the names of a spelling.

    Example:
        >>> error = UnfitTensors(lambda names: f"{names.source or 'The file'} lacks {names.absent('head')}.")
        >>> print(error)
        The file lacks head.
        >>> error.say(Spelling(absent=lambda name: f"model.{name}", source="a.pth"))
        'a.pth lacks model.head.'
    """

    def __init__(self, say: Callable[[Spelling], str]) -> None:
        super().__init__(say(OURS))
        self.say = say


def misfit(held: Mapping[str, Tensor], wanted: Mapping[str, Tensor], names: Spelling = OURS) -> str:
    """Say which tensors are missing, unexpected, of another shape, or of whole numbers where others are wanted, which
    were rounded; the first three of each; "": none.

    Args:
        held: what was read.
        wanted: what must be there.
        names: in which they are said.

    Example:
        >>> import torch
        >>> misfit({"a": torch.ones(2), "c": torch.ones(1)}, {"a": torch.ones(1), "b": torch.ones(1)})
        '1 missing (b); 1 unexpected (c); 1 of another shape (a)'
    """
    both = wanted.keys() & held.keys()
    faults = {
        "missing": {names.absent(k) for k in wanted.keys() - held.keys()},
        "unexpected": {names.held(k) for k in held.keys() - wanted.keys()},
        "of another shape": {names.held(k) for k in both if wanted[k].shape != held[k].shape},
        "of whole numbers": {
            names.held(k) for k in both if wanted[k].is_floating_point() and not held[k].is_floating_point()
        },
    }
    return "; ".join(
        f"{len(some)} {fault} ({', '.join(sorted(some)[:3])}{', ...' if len(some) > 3 else ''})"
        for fault, some in faults.items()
        if some
    )


def remedy(held: Mapping[str, Tensor], wanted: Mapping[str, Tensor], otherwise: str) -> str:
    """Return what to do about a misfit: get the file again where all but a few tensors are those that are wanted.

    Args:
        held: what was read.
        wanted: what must be there.
        otherwise: what to do where the file belongs to something else than was said.

    Example:
        >>> import torch
        >>> wanted = {str(i): torch.ones(2, 3) for i in range(40)}
        >>> remedy({name: t for name, t in wanted.items() if name != "7"}, wanted, "state the architecture")
        'all else fits, so the file is damaged or was changed: get it again'
        >>> remedy({"a": torch.ones(2)}, wanted, "state the architecture")
        'state the architecture'
        >>> remedy({**wanted, "7": torch.ones(3, 2)}, wanted, "state the architecture")
        'all else fits, so a tensor was transposed: get the file again'
        >>> remedy({**wanted, "7": torch.ones(9, 3)}, wanted, "state the architecture")
        'state the architecture'
    """
    apart = held.keys() ^ wanted.keys()
    shaped = [name for name in held.keys() & wanted.keys() if held[name].shape != wanted[name].shape]
    if len(apart) + len(shaped) > max(1, len(wanted) // 20):
        return otherwise
    if not shaped:
        return "all else fits, so the file is damaged or was changed: get it again"
    if all(held[name].shape == wanted[name].shape[::-1] for name in shaped):
        return "all else fits, so a tensor was transposed: get the file again"
    return otherwise


def refuse_not_finite(held: Mapping[str, Tensor], source: object, names: Spelling = OURS) -> None:
    """Refuse weights that hold NaN or infinite numbers, with which vectors and maps are NaN.

    A decoder may hold anything here: open_clip's CoCa leaves tensors of its decoder as they lie in memory, and vectors
    never read them. What it writes is looked at where it writes, see ``nn.text.decode.Reader``.

    Args:
        held: our names -> tensors.
        source: the file, for messages.
        names: in which the tensors are said.

    Raises:
        UnfitTensors: there are some; the first three tensors are named.

    Example:
        >>> import torch
        >>> refuse_not_finite({"a": torch.tensor([1.0, -torch.inf]), "b": torch.tensor([torch.nan])}, "clip.pt")
        Traceback (most recent call last):
        diptych.backbones.released_checks.UnfitTensors: clip.pt holds numbers that are not finite (a, b): ...
    """
    import torch

    faults = [
        name
        for name, t in sorted(held.items())
        if t.is_floating_point()
        and not name.startswith(_DECODER)
        and not t.sum(dtype=torch.float32).isfinite()  # a sum is a tenth of the work
        and not bool(t.isfinite().all())
    ]
    if faults:
        raise UnfitTensors(
            lambda by: (
                f"{by.source or source} holds numbers that are not finite "
                f"({first_of(dict.fromkeys((names if by is OURS else by).held(k) for k in faults))}): its training "
                f"diverged, or they were too large for float16; get an earlier checkpoint, or one in float32."
            )
        )


def rounded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a CLIP's tensors as loaders round them that fill a model which is float16 already but for its norms,
    embeddings and positions.
    """
    return {
        name: t if _UNROUNDED.fullmatch(name) or not t.is_floating_point() else t.half().to(t.dtype)
        for name, t in state.items()
    }
