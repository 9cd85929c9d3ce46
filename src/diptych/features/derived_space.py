"""Spaces that systems fit for other samples than photos: round a backbone, or with classes of their own.

Most are a backbone whose image encoder is replaced, so that every classifier and index works on the samples.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from diptych.backbones.module_backbone import StatedSpace
from diptych.core import Around, Backbone, DataError, Encoder, MissingHook, Parts, Run, Samples, Space, Spec, Tower
from diptych.features.networks import twin_of
from diptych.features.strict_weights import check_tensors, load_tensors

M = TypeVar("M", bound=nn.Module)


class DerivedSpace(Around):
    """The space of a backbone, whose "image" encoder takes clips, point clouds or other samples.

    Args:
        base: the space of photos and texts.
        text: encoder of texts; None: the base's.
        module: the trained parts, in eval mode; None: the base's module.
        origin: the backbone from which the base was trained; None: the base, which is as it was.
    """

    def __init__(
        self,
        base: Backbone,
        image: Encoder[Any],
        text: Encoder[Any] | None = None,
        suffix: str = "derived",
        module: nn.Module | None = None,
        origin: Backbone | None = None,
    ) -> None:
        super().__init__(base, {"image": image, "text": text or base.text})
        self._suffix, self._module, self.origin = suffix, module, origin or base

    @property
    def spec(self) -> Spec:
        """The specification of the base, whose name has the suffix."""
        return replace(self.base.spec, name=f"{self.base.spec.name}+{self._suffix}")

    def module(self) -> nn.Module:
        """Return the trained parts, or the base's module."""
        return self.base.module() if self._module is None else self._module

    def tower(self, modality: str) -> Tower:
        """Return the base's text tower.

        Raises:
            MissingHook: the modality is "image", since a sample takes several passes through the image tower.
        """
        if modality == "image":
            raise MissingHook(
                f"{self.spec.name} has no image tower: a {self.image.modality} takes several passes through it. Use "
                f"the tower of its base."
            )
        return self.base.tower(modality)


class ConditionedSpace(DerivedSpace):
    """A space whose texts may depend on the sample: the place of systems that no two vectors describe.

    ``encoders`` give the embeddings without that, for indexes; whoever compares samples with texts asks ``cosines``.
    """

    @abstractmethod
    def cosines(self, items: Samples[Any], texts: Sequence[str], run: Run) -> Tensor:
        """Return the (N, K) cosines of samples with texts, each conditioned on the sample."""


class LabelledSpace(Space):
    """A space without texts that names classes by a head, which was trained on labels.

    Attributes:
        labelled: key in ``encoders`` of the encoder whose vectors the head takes.
    """

    labelled: str

    @abstractmethod
    def class_logits(self, vectors: Tensor) -> Tensor:
        """Return the (N, K) logits of the classes for (N, D) vectors of the encoder, not normalised."""


class LabelledTower(StatedSpace, LabelledSpace):
    """A labelled space with one encoder, whose head gives logits.

    Args:
        spec: of the space.
        encoder: whose vectors the head takes.
        labelled: its key.
    """

    def __init__(self, spec: Spec, encoder: Encoder[Any], labelled: str) -> None:
        self.labelled, self._spec = labelled, spec
        self._encoders = {labelled: encoder}

    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        """Return 1 and 0: the head gives logits, and no modality is compared with another."""
        return torch.ones(()), torch.zeros(())


def parts_of(space: DerivedSpace, settings: Mapping[str, Any], module: nn.Module | None = None) -> Parts:
    """Return the parts of a space round a backbone.

    Args:
        space: whose base may have been trained; of its tensors those are written that differ from the origin's.
        settings: what ``of_parts`` of its class reads.
        module: trained beside the base; None: nothing was.
    """
    tensors: dict[str, Tensor] = {}
    if space.base is not space.origin:
        before = space.origin.module().state_dict()
        after = space.base.module().state_dict()
        tensors = {f"base/{n}": t for n, t in after.items() if not torch.equal(t.cpu(), before[n].cpu())}
    if module is not None:
        tensors |= {f"own/{name}": tensor for name, tensor in module.state_dict().items()}
    return Parts(space.origin, settings, tensors)


def base_of(parts: Parts) -> tuple[Backbone, Backbone]:
    """Return the base of a derived space and the backbone from which it was trained, which may be the same.

    Raises:
        DataError: there is no backbone, or the tensors do not fit it.
    """
    origin = None if parts.base is None else parts.base.unwrapped
    if not isinstance(origin, Backbone):
        raise DataError("This space names no backbone that it was fitted round: fit it again.")
    changed = _of("base/", parts)
    if not changed:
        return origin, origin
    twin = twin_of(origin)
    load_tensors(twin.module(), {**twin.module().state_dict(), **changed}, types=True)
    rebuilt = origin.rebuild(twin.module(), origin.spec)
    assert isinstance(rebuilt, Backbone)  # rebuild keeps the kind
    return rebuilt, origin


def restored(build: Callable[[], M], parts: Parts) -> M:
    """Return a module with the tensors that ``parts_of`` took from it: in eval mode, frozen, on the base's device.

    Args:
        build: makes the module from the settings. It is called on torch's meta device first, so that settings of an
            untrusted folder take no more memory than its tensors.
        parts: the module's tensors have the prefix "own/".

    Raises:
        DataError: a tensor is missing, unknown, or of another shape or type.
    """
    tensors = _of("own/", parts)
    try:
        with torch.device("meta"):
            check_tensors(build(), tensors, types=True)
    except RuntimeError as error:  # sizes that no tensor has
        raise DataError(f"The settings of this space are no sizes of tensors ({error}): fit it again.") from error
    with Run().seeded("restored"):  # the start of weights that are replaced
        module = build()
    load_tensors(module, tensors, types=True)
    device = next(parts.base.module().parameters()).device if isinstance(parts.base, Backbone) else "cpu"
    return module.eval().requires_grad_(False).to(device)


def _of(prefix: str, parts: Parts) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in parts.tensors.items() if name.startswith(prefix)}
