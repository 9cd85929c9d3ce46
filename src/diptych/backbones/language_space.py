"""A backbone whose texts are read by a frozen language model, behind a trained adaptor into the joint space."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.backbones.language_text import LanguageText
from diptych.backbones.spec import state_hash
from diptych.backbones.text_vectors import TextVectors
from diptych.core import Around, Backbone, Dense, Inputs, MissingHook, Spec, Tower

_AT_ONCE = 64


class Adaptor(nn.Module):
    """Maps vectors of a language model to the joint space.

        x <- e / |e|;   n times  x <- x + W_2 gelu(W_1 norm(x));   y = W norm(x) + b

    Args:
        width: C, of the vectors e.
        dim: D, of the joint space.
        blocks: n.

    Source: Huang et al. 2024 (LLM2CLIP), the adaptor of the released code.

    Example:
        >>> Adaptor(6, 4, 2)(torch.randn(3, 6)).shape
        torch.Size([3, 4])
    """

    def __init__(self, width: int, dim: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
            for _ in range(blocks)
        )
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dim))

    def forward(self, e: Tensor) -> Tensor:
        """Return (B, D) embeddings of (B, C) vectors; their length does not matter."""
        x = normalize(e, dim=-1)
        for block in self.blocks:
            x = x + block(x)
        return self.out(x)


@dataclass(frozen=True, eq=False)
class AdaptedText:
    """The text encoder of a ``LanguageSpace``: inputs are the language model's vectors.

    Args:
        adaptor: maps its vectors to the joint space.
        dim: D.
        known: (C,) vectors of texts that were read before; shared, and filled.
    """

    language: LanguageText
    adaptor: nn.Module
    dim: int
    known: TextVectors
    modality = "text"
    size = None

    @property
    def fingerprint(self) -> str:
        """Hash of the language model and the adaptor."""
        facts = f"{self.language.fingerprint}/{state_hash(self.adaptor)}"
        return hashlib.sha256(facts.encode()).hexdigest()[:16]

    def inputs(self, items: Sequence[str], size: int | None = None) -> Tensor:
        """Return the (B, C) vectors of texts, without gradient."""
        new = list(dict.fromkeys(text for text in items if text not in self.known))
        with torch.no_grad():
            for first in range(0, len(new), _AT_ONCE):
                some = new[first : first + _AT_ONCE]
                self.known.add(some, self.language.encode(self.language.inputs(some)))
        return self.known.take(items)

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) float32 embeddings of (B, C) vectors."""
        assert isinstance(x, Tensor)
        y: Tensor = self.adaptor(x.to(next(self.adaptor.parameters()).device))
        return y.float()


class LanguageSpace(Around):
    """The image encoder of a backbone beside a language model with an adaptor.

    The language model is frozen and no part of ``module()``, so that checkpoints do not hold it.

    Args:
        base: the backbone with the image encoder and the scale; its own text encoder is not used.
        adaptor: in eval mode from here on.
        known: vectors that were computed before; None: none.
        name: of the space; "": that of the base, and that there is a language model.
    """

    def __init__(
        self,
        base: Backbone,
        language: LanguageText,
        adaptor: nn.Module,
        known: TextVectors | None = None,
        name: str = "",
    ) -> None:
        self.name = name
        self.language, self.adaptor = language, adaptor.eval()
        self.known = TextVectors(language.dim) if known is None else known
        text = AdaptedText(language, self.adaptor, base.spec.dim, self.known)
        super().__init__(base, {"image": base.image, "text": text})
        self._module = nn.ModuleDict({"base": base.module(), "adaptor": self.adaptor}).eval()

    @property
    def whole(self) -> LanguageSpace:
        """This space, with the whole backbone where its base is heads alone."""
        whole = getattr(self.base, "whole", None)
        return self if whole is None else LanguageSpace(whole, self.language, self.adaptor, self.known)

    @property
    def spec(self) -> Spec:
        """The specification of the base, with another name and the language model's context."""
        name = self.name or f"{self.base.spec.name} with a language model"
        return replace(self.base.spec, name=name, context=self.language.limit, pooling="mean")

    def module(self) -> nn.Module:
        """Return the base's module and the adaptor."""
        return self._module

    def tower(self, modality: str) -> Tower:
        """Return the image tower of the base.

        Raises:
            MissingHook: of texts, which no tower of ours reads.
        """
        if modality == "text":
            raise MissingHook("Texts are read by a language model here, which has no tower: use its base for texts.")
        return self.base.tower(modality)

    def dense(self) -> Dense:
        """Return the dense maps of the base."""
        return self.base.dense()

    def rebuild(self, module: nn.Module, spec: Spec) -> LanguageSpace:
        """Return a space with another base and adaptor, and the same language model.

        Raises:
            MissingHook: the module is no pair of base and adaptor.
        """
        if not isinstance(module, nn.ModuleDict) or set(module) != {"base", "adaptor"}:
            raise MissingHook("This space is rebuilt with a ModuleDict of base and adaptor: start from its module().")
        base = self.base.rebuild(module["base"], self.base.spec)
        assert isinstance(base, Backbone)  # rebuild keeps the kind
        return LanguageSpace(base, self.language, module["adaptor"], self.known)
