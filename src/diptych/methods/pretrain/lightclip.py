"""LightCLIP trains a small CLIP on three levels: softened targets, matched words and patches, and masked words.

    L      = L_inst + w_t L_tok + w_m L_mlm
    L_inst = CE(s x Y^T, q) and CE(s y X^T, q), averaged;   q_ij = (1 - a) [j = i] + a u_ij
    u_ij   = softmax over j != i of x_i . y_j / tau                   (or 1 / (N - 1))
    g_ij   = mean over the words l of caption j of  w_l . v_m(l)
    L_tok  = CE over j of s g_ij, whose right column is j = i, in both directions, averaged
    L_mlm  = mean over masked words of -ln p(word | other words of the caption, image)

x, y: (N, D) unit embeddings of images and captions; X, Y: those of all processes; s: learnt scale
q: targets; a: share of the negatives, which grows linearly from 0 to its end during the training
w_l: (D,) unit embedding of word l; v_p: (D,) unit embedding of patch p
m: assignment of the words to patches with the largest sum, where a patch takes up to k words (bipartite for k = 1)
p: by a second pass of the text tower, in which all words see each other and, after some blocks, the image's tokens

Negatives of L_tok are a few captions for each image, drawn among those of the batch. With a = w_t = w_m = 0 it is
CLIP's loss. What the training adds is not used afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.functional import normalize

from diptych.backbones.towers.edits import bidirectional
from diptych.backbones.towers.image import ImageTower
from diptych.backbones.towers.text import TextTower
from diptych.core import (
    Backbone,
    ClassNames,
    Clock,
    Embedded,
    Evidence,
    Kit,
    Learns,
    MissingHook,
    Recipe,
    Run,
    Stage,
    State,
    Trainee,
)
from diptych.core.ranges import above, at_least, between, check, one_of
from diptych.core.train import everything
from diptych.nn.soft_pairs import instance_loss, token_loss
from diptych.nn.text.masked_words import Masked, WordModel, mask_words, thirds, words_in
from diptych.train.pair import PairTrainee, token_ids


class LightTrainee(PairTrainee):
    """Trains pairs on the three levels; see ``PairTrainee``."""

    def __init__(self, recipe: LightCLIP, space: Backbone, run: Run, learns: Learns) -> None:
        super().__init__(space, None, run, learns=learns, tokens=("image", "text"))
        image, text = self.space.tower("image"), self.space.tower("text")
        if not isinstance(image, ImageTower) or not isinstance(text, TextTower):
            raise MissingHook(
                f"LightCLIP needs image patches and words, which {space.spec.name} has not: use a ViT CLIP."
            )
        self.recipe, self.image, self.text = recipe, image, text
        self.empty = token_ids(space.encoders["text"].inputs([""]))
        with run.seeded("words"):
            places, words = thirds(text.depth), len(text.token_table)
            self.model = WordModel(text.width, text.heads, image.width, places, words)
        self._module["words"] = self.model

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the weighted terms "instance", "token" and "words"; those of weight 0 are left out."""
        r, e = self.recipe, self.embed(batch)
        share = r.soften * clock.step / max(1, clock.steps)
        out = {"instance": instance_loss(e, share, r.temperature if r.negatives == "similar" else None)}
        words = self.words(e)
        if r.token_weight:
            patches, units = self.units(e)
            scale = e.scale("image", "text")[0]
            loss = token_loss(patches, units, words, scale, r.capacity, r.compared, clock.generator)
            out["token"] = r.token_weight * loss
        if r.word_weight:
            masked = mask_words(e.targets["ids/text"], words, r.masked, clock.generator)
            nats = self.word_losses(batch, masked, self.patches(e.tokens["image"]))
            counts = e.gather(nats.new_full((1,), len(nats)))  # so that the mean over processes is that over all words
            out["words"] = r.word_weight * nats.sum() * len(counts) / counts.sum().clamp(min=1)
        return out

    def validate(self, batches: Iterable[Mapping[str, Any]], clock: Clock) -> float:
        """Return the mean loss with the share of the negatives at its end, so that epochs can be compared."""
        return super().validate(batches, replace(clock, step=clock.steps))

    def words(self, e: Embedded) -> Tensor:
        """Return the (B, L) tokens of texts that are words: no start, end or padding.

        Raises:
            MissingHook: the text tower has tokens beside those of the ids.
        """
        valid, ids = e.tokens["text"].valid, e.targets["ids/text"]
        if valid is None or valid.shape != ids.shape:
            raise MissingHook(
                f"The text tower of {self.space.spec.name} adds tokens to its ids: use a CLIP, such as tiny."
            )
        return valid & words_in(ids, self.empty) & (ids != self.space.spec.pad)

    def units(self, e: Embedded) -> tuple[Tensor, Tensor]:
        """Return the unit embeddings of patches, (B, P, D), and of text tokens, (B, L, D)."""
        text = self.project("text", e.tokens["text"].h)
        return normalize(self.project("image", self.patches(e.tokens["image"])).float(), dim=-1), normalize(
            text.float(), dim=-1
        )

    def word_losses(self, batch: Mapping[str, Any], masked: Masked, image: Tensor) -> Tensor:
        """Return -ln p of each of the M words that are predicted, (M,), in the order of the rows.

        Args:
            batch: with the text's inputs.
            masked: of its ids.
            image: (B, P, C') patches of the images that help.
        """
        x = batch["text"]
        embeds = torch.where(masked.blank[..., None], self.model.blank, self.text.embed(masked.ids))

        def edit(stage: Stage, i: int, s: State) -> State:
            if stage == "ready":
                return bidirectional(s)
            return replace(s, h=self.model.fused(i, s.h, image)) if stage == "after" else s

        fields = x if isinstance(x, Mapping) else {"ids": x}
        s = self.text.blocks(self.text.start({**fields, "embeds": embeds}, edit=edit), edit=edit)
        logits = self.model.logits(self.text.norm(s.h)[masked.predicted], self.text.token_table)
        return F.cross_entropy(logits.float(), token_ids(x)[masked.predicted], reduction="none")

    @staticmethod
    def patches(s: State) -> Tensor:
        """Return the tokens of a state without those before the patches."""
        return s.h[:, s.prefix :]


@dataclass(frozen=True)
class LightCLIP(Recipe):
    """Train a small CLIP with softened targets, matching of words and patches, and masked words.

    Use it for light towers, whose inference stays as it is. It needs a ViT and a text tower that reads ids. No code of
    the authors was found, and the paper's settings were not: all numbers are ours.

    Args:
        soften: a at the end of the training, in [0, 1]; 0.1 (ours).
        negatives: "similar" (u by similarity) or "equal"; "similar" (ours).
        temperature: tau of u, > 0; 0.1 (ours).
        token_weight: w_t, >= 0; 0.5 (ours).
        capacity: k, words that a patch may take, >= 1; 2 (ours). 1 is exact matching.
        compared: captions that an image is compared with in L_tok, >= 1; 15 (ours).
        word_weight: w_m, >= 0; 0.5 (ours).
        masked: share of the words that are masked, in (0, 1]; 0.15 (BERT's).

    Raises:
        UsageError: a setting is out of its range.

    Source: Nie et al. 2023, in outline.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> alike, all_of_them = torch.ones(4, 3, 1), torch.ones(4, 3, dtype=torch.bool)
        >>> loss = token_loss(alike, alike, all_of_them, torch.tensor(10.0), capacity=2, negatives=3, g=g)
        >>> round(loss.item(), 4)  # ln 4
        1.3863
    """

    passes_once: ClassVar[bool] = True
    soften: float = 0.1
    negatives: str = "similar"
    temperature: float = 0.1
    token_weight: float = 0.5
    capacity: int = 2
    compared: int = 15
    word_weight: float = 0.5
    masked: float = 0.15

    def __post_init__(self) -> None:
        check(self, between(0, 1), "soften")
        check(self, one_of("similar", "equal"), "negatives")
        check(self, above(0), "temperature")
        check(self, at_least(0), "token_weight", "word_weight")
        check(self, at_least(1), "capacity", "compared")
        check(self, between(0, 1, "(]"), "masked")

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee]:
        """Yield the one trainee; see ``Recipe.stages``.

        Raises:
            MissingHook: a tower cannot be cut in blocks, or the text tower takes no ids.
        """
        yield LightTrainee(self, kit.need(Backbone), run, learns)
