"""CoCa's loss adds the prediction of each caption from its image, word by word, to CLIP's loss.

    L_cap = mean over the words l of all captions of -ln p(word l | words before l, image)
    L     = w_con L_clip + w_cap L_cap

L_clip: CLIP's loss of the N pairs, see ``clip_loss``
p: probability by the decoder, over V words
w_con, w_cap: weights

Uniform predictions have L_cap = ln V.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from diptych.core import Clock, Embedded, Objective
from diptych.nn.contrastive import contrastive, next_token


@dataclass(frozen=True)
class CoCaLoss(Objective):
    """Match pairs and predict the next word of each caption.

    Use it for models that must retrieve and write captions. A CoCa trains its own decoder on the tokens of its image
    tower; any other backbone gets a small decoder beside it, on image tokens or, where heads alone learn, on the image
    embedding. The trainee gives the decoder's states
    ``tokens["caption"].h``, (B, L, C), where state l predicts word l of ``targets["caption"]``, (B, L) ids. ``heads``
    is the output layer from C to V; the default, the identity, is for states that are logits.

    Args:
        pair: the two modalities of the contrastive term; ("image", "text").
        contrastive_weight: w_con; 1.0 (open_clip's).
        caption_weight: w_cap; 2.0 (open_clip's).
        pad: id of padding in the targets, which is not predicted; 0, CLIP's and that of small decoders. A CoCa with
            another tokenizer needs no other: its padding gets this id.
        chunk: rows of logits, of pairs and of words, in memory at a time; None (default) is all. A smaller number is
            slower, with the same result.

    Source: Yu et al. 2022, in the form and with the weights of open_clip's CoCaLoss.

    Example:
        Uniform predictions over 5 words; the last word of the second caption is padding:

        >>> import math
        >>> import torch
        >>> logits, ids = torch.zeros(2, 3, 5), torch.tensor([[1, 2, 3], [4, 2, 0]])
        >>> total, words = next_token(logits, nn.Identity(), ids, 0, None)
        >>> int(words), round((total / words).item() - math.log(5), 4)
        (5, 0.0)
    """

    pair: tuple[str, str] = ("image", "text")
    contrastive_weight: float = 1.0
    caption_weight: float = 2.0
    pad: int = 0
    chunk: int | None = None

    def terms(self, e: Embedded, heads: nn.Module, clock: Clock) -> Mapping[str, Tensor]:
        """Return the weighted terms "contrastive" and "caption"."""
        total, words = next_token(e.tokens["caption"].h, heads, e.targets["caption"], self.pad, self.chunk)
        # One count a process, so that the mean of the terms over processes is the mean over all words.
        everywhere = e.gather(words[None])
        caption = total * len(everywhere) / everywhere.sum().clamp(min=1)
        return {
            "contrastive": self.contrastive_weight * contrastive(e, self.pair, self.chunk),
            "caption": self.caption_weight * caption,
        }
