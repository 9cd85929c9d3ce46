"""Ways to train a tower in less memory: patches that are left out, and activations that are computed again."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from torch import nn

from diptych.core import Backbone, MissingHook, Space, UsageError


def drop_patches(space: Space, share: float) -> Space:
    """Return a copy of a space whose ViT leaves out a random share of the patches of each image while it is trained.

    In eval mode all patches are read. The dropout has no weights, and is not written with the space.

    Args:
        space: an open_clip model with a ViT of open_clip or timm.
        share: in (0, 1).

    Raises:
        UsageError: the share is out of its range.
        MissingHook: there is no such ViT.

    Source: Li et al. 2023 (FLIP), with open_clip's and timm's modules.
    """
    if not 0 < share < 1:
        raise UsageError(f"The share of patches that is left out must be in (0, 1), got {share}.")
    module: Any = copy.deepcopy(space.module())
    visual = getattr(module, "visual", None)
    trunk = getattr(visual, "trunk", None)
    if visual is not None and hasattr(visual, "patch_dropout"):
        from open_clip.transformer import PatchDropout

        visual.patch_dropout = PatchDropout(share)
    elif trunk is not None and hasattr(trunk, "patch_drop"):
        from timm.layers import PatchDropout as TimmPatchDropout
        from timm.layers import PatchDropoutWithIndices

        kind = PatchDropoutWithIndices if _asks_which(trunk) else TimmPatchDropout
        trunk.patch_drop = kind(share, num_prefix_tokens=trunk.num_prefix_tokens)
    else:
        raise MissingHook(f"{space.spec.name} has no ViT whose patches can be left out: take an open_clip ViT.")
    return space.rebuild(module, space.spec)


def read_all_patches(module: nn.Module) -> None:
    """Take the dropout of ``drop_patches`` out of a module. Modified in place."""
    visual: Any = getattr(module, "visual", None)
    trunk = getattr(visual, "trunk", None)
    if visual is not None and hasattr(visual, "patch_dropout"):
        visual.patch_dropout = nn.Identity()
    if trunk is not None and hasattr(trunk, "patch_drop"):
        trunk.patch_drop = None if _asks_which(trunk) else nn.Identity()


def _asks_which(trunk: Any) -> bool:
    """Whether a trunk of timm takes two values from its dropout, the patches and which they are, as EVA does.

    Such trunks have None where there is no dropout, and their rotary positions follow the patches; others have an
    identity.
    """
    from timm.layers import PatchDropoutWithIndices

    return trunk.patch_drop is None or isinstance(trunk.patch_drop, PatchDropoutWithIndices)


def recompute(module: nn.Module, on: bool = True) -> None:
    """Have the blocks of all towers keep no activations, and compute them again in the backward pass.

    The gradient is the same. Modified in place.

    Args:
        module: of an open_clip or a transformers model, or one whose towers are models of timm and transformers.
        on: False keeps them again.

    Raises:
        MissingHook: the library has no such switch for this model.
    """
    if not _switched(module, on) and not sum(_switched(tower, on) for tower in module.children()):
        raise MissingHook("The activations of this backbone cannot be computed again: take an open_clip model.")


def _switched(module: Any, on: bool) -> bool:
    """Whether a module of open_clip, timm or transformers has the switch, which is then set."""
    if hasattr(module, "set_grad_checkpointing"):
        module.set_grad_checkpointing(on)
        return True
    for kind in ("activation", "gradient"):  # transformers renamed it
        if hasattr(module, f"{kind}_checkpointing_enable"):
            getattr(module, f"{kind}_checkpointing_{'enable' if on else 'disable'}")()
            return True
    return False


@dataclass(frozen=True)
class Saving:
    """Ways to train in less memory.

    Args:
        patch_dropout: share of the patches that a ViT leaves out; 0.0: none.
        recompute: whether activations are computed again.
        text_tokens: most tokens of texts, padding included, that the text tower reads at once, >= 1: the texts of a
            batch are read in groups of similar length. None: at once, each as long as the longest.

    Raises:
        UsageError: ``text_tokens`` is out of its range.
    """

    patch_dropout: float = 0.0
    recompute: bool = False
    text_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.text_tokens is not None and self.text_tokens < 1:
            raise UsageError(f"{{text_tokens}} must be at least 1, got {self.text_tokens}.")

    def of(self, space: Backbone) -> Backbone:
        """Return the space that is trained so; the given one is not changed.

        Raises:
            MissingHook: it cannot.
        """
        taught: Space = drop_patches(space, self.patch_dropout) if self.patch_dropout else space
        if self.recompute:
            module = copy.deepcopy(taught.module())
            recompute(module)
            taught = taught.rebuild(module, taught.spec)
        assert isinstance(taught, Backbone)  # it is rebuilt as what it is
        return taught

    def undo(self, space: Backbone) -> None:
        """Have a trained space run as others do. Modified in place."""
        if self.patch_dropout:
            read_all_patches(space.module())
        if self.recompute:
            recompute(space.module(), on=False)
