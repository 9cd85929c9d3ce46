"""Stem and pooling of text towers: ids or soft prompts, padding and causal bias, the pooled position."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional as F

from diptych.backbones.towers.cut import CutTower, attention_bias
from diptych.core import Resampling, State, UsageError
from diptych.core.backbone import ANTIALIASED

if TYPE_CHECKING:
    from torch import Tensor

    from diptych.core import Edit, Inputs

TextPooling = Literal["argmax", "eos", "first", "last", "mean"]
_FIELDS = {"ids", "embeds", "mask"}


@dataclass(eq=False, repr=False, kw_only=True)
class TextTower(CutTower):
    """A text transformer. Subclasses define embeddings and positions.

    Args:
        name, layers, width, heads, token_norm, pooled_norm, head: see ``CutTower``.
        pooling: which tokens are pooled: of the largest id, the first end id, the first, the last place, or the mean of
            real tokens.
        causal: whether a token attends to earlier ones only.
        context: longest sequence, in tokens.
        padding: id whose tokens are masked for ids without a mask; None: padding is attended to, as in training.
        eos: end id, for "eos".
    """

    pooling: TextPooling
    causal: bool
    context: int
    padding: int | None = None
    eos: int | None = None

    def start(self, x: Inputs, /, *, edit: Edit | None = None, positions: Resampling = ANTIALIASED) -> State:
        """Run the stem.

        Args:
            x: (B, T) ids, or a mapping with "ids" and/or "embeds" (B, T, C), and perhaps "mask" (B, T), True for tokens
                that may be seen. Embeds come from ``embed``, edited; beside them, ids (of a placeholder text) say where
                the end token and the padding are, else the mask says so.
            edit: called at "patches" (token embeddings), "positioned", "ready" (after the stem's norm).
            positions: of images; a text has no grid, and its table stays as it is.

        Raises:
            UsageError: unknown fields, lengths that differ or exceed the context, or no way to tell the end token.
        """
        fields = x if isinstance(x, Mapping) else {"ids": x}
        fields = {name: t.to(self.token_table.device) for name, t in fields.items()}
        ids, embeds, mask = fields.get("ids"), fields.get("embeds"), fields.get("mask")
        if not fields.keys() <= _FIELDS or (ids is None and embeds is None):
            raise UsageError(f"A text tower takes 'ids' and/or 'embeds', and 'mask', not {sorted(fields)}.")
        if len({t.shape[:2] for t in (ids, embeds, mask) if t is not None}) > 1:
            raise UsageError(
                "'ids', 'embeds' and 'mask' must agree in batch and length: give placeholder ids for soft prompts."
            )
        valid = mask.bool() if mask is not None else None
        if valid is None and ids is not None and self.padding is not None:
            valid = ids != self.padding
        pool = self._weights(ids, embeds, valid)
        s = self._opened(self.embed(ids) if embeds is None else embeds, valid, pool)  # type: ignore[arg-type]  # one of both is given
        s = replace(s, valid=self._real(ids, valid, s.h.shape[1]))
        if edit is not None:
            s = edit("patches", 0, s)
        if s.h.shape[1] > self.context:
            raise UsageError(
                f"{s.h.shape[1]} tokens are more than the {self.context} of {self.name}: shorten the text or the "
                f"prompt."
            )
        s = replace(s, h=self._positioned(s))
        if edit is not None:
            s = edit("positioned", 0, s)
        s = replace(s, h=self._ready(s.h))
        return s if edit is None else edit("ready", 0, s)

    @property
    @abstractmethod
    def token_table(self) -> Tensor:
        """The (V, C) table of raw token embeddings, such as for a head that is tied to it."""

    @abstractmethod
    def embed(self, ids: Tensor, /) -> Tensor:
        """Return (B, T, C) raw token embeddings."""

    @abstractmethod
    def _positioned(self, s: State) -> Tensor:
        """``s.h`` with positions added."""

    def _ready(self, h: Tensor) -> Tensor:
        """Norm at the end of the stem."""
        return h

    def _opened(self, h: Tensor, valid: Tensor | None, pool: Tensor) -> State:
        """The state of raw token embeddings."""
        return State(h, bias=attention_bias(valid, self.causal, h.shape[1], h), pool=pool.to(h.dtype))

    def _real(self, ids: Tensor | None, valid: Tensor | None, length: int) -> Tensor | None:
        """(B, T) True up to the end token, and for tokens that the tower appends; None where nothing says so."""
        if valid is None and ids is not None and self.pooling in ("argmax", "eos"):
            end = self._end(ids)
            valid = torch.arange(ids.shape[1], device=ids.device) <= end[:, None]
        elif valid is None and ids is not None:
            valid = torch.ones_like(ids, dtype=torch.bool)
        return None if valid is None else F.pad(valid, (0, length - valid.shape[1]), value=True)

    def _end(self, ids: Tensor) -> Tensor:
        """(B,) position of the end token: of the largest id, or of the first end id."""
        return (
            ids.argmax(1)
            if self.pooling == "argmax"
            else torch.eq(ids, -1 if self.eos is None else self.eos).int().argmax(1)
        )

    def _weights(self, ids: Tensor | None, embeds: Tensor | None, valid: Tensor | None) -> Tensor:
        """(B, T) pooling weights: a one-hot place, or 1/n on each real token."""
        known = ids if ids is not None else embeds
        assert known is not None
        batch, length = known.shape[:2]
        if self.pooling == "mean":
            weights = torch.ones(batch, length, device=known.device) if valid is None else valid.float()
            return weights / weights.sum(1, keepdim=True)
        if self.pooling == "first":
            position = torch.zeros(batch, dtype=torch.long, device=known.device)
        elif self.pooling == "last":
            position = torch.full((batch,), length - 1, device=known.device)
        elif ids is not None:
            position = self._end(ids)
        elif valid is not None:
            position = length - 1 - valid.int().flip(1).argmax(1)
        else:
            raise UsageError(
                "Soft prompts alone do not say where the text ends: give the placeholder 'ids' or a 'mask' beside "
                "'embeds'."
            )
        return F.one_hot(position, length).float()
