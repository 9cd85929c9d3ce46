"""CoCa's loss: match the pairs, and write each caption from its image, word by word.

    L = w_con L_clip + w_cap mean over words of -ln p(next word | words before, image)

Uniform predictions give ln V for the second term, before its weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from diptych.core.card import Card, Needs, ProofPlan, Reference
from diptych.core.train import Clock, Embedded, Objective
from diptych.nn.contrastive import contrastive, next_token


@dataclass(frozen=True)
class CoCaLoss(Objective):
    """Match pairs and predict the next word. For models that must retrieve and caption; it needs a decoder.

    The trainee brings ``tokens["caption"].h``, (B, L, C) states of the decoder where state l predicts word l of
    ``targets["caption"]``, (B, L) ids: the shift by one word is done there, once. ``heads`` is the output layer (C to
    V); the default, the identity, takes states that are logits already.

    Args:
        pair: the two modalities of the contrastive term.
        contrastive_weight: w_con.
        caption_weight: w_cap.
        pad: id of padding, which is not predicted; 0 is right for CLIP's tokenizer only.
        chunk: pairs and words whose logits exist at once; None: all. Smaller is slower and exact all the same.

    Source: Yu et al. 2022, in the form and with the weights of open_clip's CoCaLoss.

    Example:
        >>> CoCaLoss(pad=1).caption_weight
        2.0
    """

    pair: tuple[str, str] = ("image", "text")
    contrastive_weight: float = 1.0
    caption_weight: float = 2.0
    pad: int = 0
    chunk: int | None = None

    card: ClassVar[Card] = Card(
        slug="coca-loss",
        name="CoCa",
        title="CoCa: Contrastive Captioners are Image-Text Foundation Models",
        url="https://arxiv.org/abs/2205.01917",
        year=2022,
        verb="pretrain",
        claim="A captioning loss beside the contrastive one gives a single model that retrieves, classifies and "
        "captions.",
        needs=Needs(
            hooks=("image", "text", "rebuild"),
            parts=("LanguageModel",),
            extras=("train",),
            evidence=("train",),
            optional=("val",),
        ),
        trains="both towers, the decoder and the scale",
        reference=Reference("https://github.com/mlfoundations/open_clip", "v3.3.0", "MIT"),
        differs=(
            "The mean runs over the words of all processes; open_clip averages each process's own mean, which weighs "
            "words of short"
            " captions more and depends on how the batch was split.",
        ),
        proof=ProofPlan(
            claim="A small decoder beside the heads finds captions of unseen photos likelier given their own photo "
            "than given another.",
            control="Trained on captions permuted against photos, it gains nothing from the right photo.",
            datasets=("flickr8k_small",),
            minutes=8,
        ),
        baseline=True,
    )

    def terms(self, e: Embedded, heads: nn.Module, clock: Clock) -> Mapping[str, Tensor]:
        """Return {"contrastive": scalar, "caption": scalar}, both weighted.

        Args:
            e: vectors, scale, decoder states and caption ids as above.
            heads: the output layer.
            clock: not used.
        """
        total, words = next_token(e.tokens["caption"].h, heads, e.targets["caption"], self.pad, self.chunk)
        everywhere = e.gather(
            words[None]
        )  # one count a process, so that the mean of the terms is the mean over all words
        caption = total * len(everywhere) / everywhere.sum().clamp(min=1)
        return {
            "contrastive": self.contrastive_weight * contrastive(e, self.pair, self.chunk),
            "caption": self.caption_weight * caption,
        }
