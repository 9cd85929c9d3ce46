"""SyCoCa adds the way back to CoCa: hidden patches are painted from the caption, as captions are written from patches.

    r_p     = max over the words l of  v_p . w_l
    S       = the patches with the largest r_p, all but a share r_l                  (the captioner sees them alone)
    H       = a share r_h of the patches, those with the largest r_p                 (the painter must rebuild them)
    L_cap   = mean over words of -ln p(word | words before it, tokens of S)
    L_paint = mean over the patches of H of the mean squared error of t_p and d_p
    L       = L_clip + w_cap L_cap + w_paint L_paint

v_p, w_l: (D,) unit embeddings of patch p and of word l, without gradient
L_clip: CLIP's loss of the N pairs, see ``clip_loss``; L_cap with all patches is CoCa's, see ``coca_loss``
t_p: pixels of patch p, with mean 0 and variance 1
d: decoder of the image tokens, of a second pass in which a learnt vector stands for the patches of H, and of the words

In the first steps similarities say little, so all patches are seen and nothing is painted. With r_l = 0 and w_paint = 0
it is CoCa's loss. The painter is not used afterwards.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.backbones.towers.edits import fill
from diptych.backbones.towers.image import ImageTower
from diptych.core import (
    Backbone,
    ClassNames,
    Clock,
    Embedded,
    Evidence,
    Kit,
    LanguageModel,
    Learns,
    MissingHook,
    Recipe,
    Run,
    Stage,
    State,
    Trainee,
    UsageError,
)
from diptych.core.ranges import at_least, between, check
from diptych.core.train import everything
from diptych.nn.contrastive import contrastive, next_token
from diptych.nn.pixel_decoder import PixelDecoder, painting_error
from diptych.train.captioning import PAD, WordIds, has_decoder, next_logits
from diptych.train.pair import PairTrainee, token_ids
from diptych.train.recipe import DECODER, WORDS


def relevance(patches: Tensor, words: Tensor, valid: Tensor) -> Tensor:
    """Return r, the (B, P) largest cosine of each patch to a word of its caption.

    Args:
        patches: (B, P, D) unit.
        words: (B, L, D) unit.
        valid: (B, L) bool, False for padding.
    """
    return (patches @ words.mT).masked_fill(~valid[:, None], -torch.inf).amax(2)


def largest(scores: Tensor, share: float) -> Tensor:
    """Return (B, P) bool, True for a share of the patches, rounded, and at least one: those with the largest scores.

    Example:
        >>> largest(torch.tensor([[0.1, 0.4, 0.3, 0.2]]), 0.5).tolist()
        [[False, True, True, False]]
    """
    chosen = scores.topk(max(1, round(share * scores.shape[1]))).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter(1, chosen, True)


class SymmetricTrainee(PairTrainee):
    """Trains pairs, a captioner on relevant patches, and a painter of these patches; see ``PairTrainee``."""

    def __init__(
        self, recipe: SyCoCa, space: Backbone, run: Run, decoder: nn.Module, words: WordIds, learns: Learns
    ) -> None:
        super().__init__(space, None, run, learns=learns, tokens=("image", "text"))
        tower, side = self.space.tower("image"), space.image.size or 0
        if not isinstance(tower, ImageTower):
            raise MissingHook(f"SyCoCa hides patches, which {space.spec.name} has not: use a ViT CLIP, such as tiny.")
        self.recipe, self.words, self.tower, self.patch = recipe, words, tower, tower.patch
        patches = (side // self.patch[0]) * (side // self.patch[1])
        sizes = {"image_width": tower.width, "text_width": self.space.tower("text").width}
        sizes |= {"width": recipe.paint_width, "depth": recipe.paint_depth}
        with run.seeded("painter"):
            self.painter = PixelDecoder(patches, 3 * self.patch[0] * self.patch[1], **sizes)
            blank = nn.Parameter(torch.randn(tower.width) * 0.02)
        self._module.update({"decoder": decoder, "painter": self.painter})
        self._module.register_parameter("blank", blank)

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the inputs of both encoders, and the captioner's ids."""
        return {**super().collate(views), "ids": self.words.ids([v["text"] for v in views])}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the weighted terms "contrastive", "caption" and "paint"; without the last one in the first steps."""
        r, e = self.recipe, self.embed(batch)
        masks = clock.step >= r.start * clock.steps
        scores = self.scores(e, clock) if masks else None
        logits, ids = self.captioned(batch, e.tokens["image"], scores if r.unseen else None)
        total, words = next_token(logits, nn.Identity(), ids, PAD)
        everywhere = e.gather(words[None])  # so that the mean over processes is the mean over all words
        out = {
            "contrastive": contrastive(e, ("image", "text")),
            "caption": r.caption_weight * total * len(everywhere) / everywhere.sum().clamp(min=1),
        }
        if scores is not None and r.paint_weight:
            hidden = largest(scores, r.hidden)
            around = self.tokens_around(batch["image"], hidden)
            out["paint"] = r.paint_weight * self.errors(batch["image"], hidden, around, e.tokens["text"]).mean()
        return out

    def validate(self, batches: Iterable[Mapping[str, Any]], clock: Clock) -> float:
        """Return the mean loss with masks, in the first steps too, so that epochs can be compared."""
        return super().validate(batches, replace(clock, step=clock.steps))

    def captioned(self, batch: Mapping[str, Any], image: State, scores: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the captioner's logits, (B, L, V), and the (B, L) ids that they predict, with padding ``PAD``.

        Args:
            batch: of ``collate``.
            image: normed tokens after the last block.
            scores: (B, P) relevance of the patches, the least of which are not seen; None: all are.
        """
        memory = self.project("image", image.h)
        seen = memory if scores is None else self.visible(memory, scores, image.prefix)
        return next_logits(self._module["decoder"], batch["ids"], seen), batch["ids"][:, 1:]

    def scores(self, e: Embedded, clock: Clock) -> Tensor:
        """Return r, (B, P), without gradient."""
        text, ids = e.tokens["text"], e.targets["ids/text"]
        assert text.valid is not None  # a text tower that was given ids says which are real
        length = ids.shape[1]  # a CoCa has a CLS token behind the words
        with torch.no_grad():
            patches = normalize(self.patch_vectors(e.tokens["image"]).float(), dim=-1)
            words = normalize(self.project("text", text.h[:, :length]).float(), dim=-1)
            real = text.valid[:, :length] & (ids != self.space.spec.pad)  # SigLIP's padding is read too
            return relevance(patches, words, real)

    def patch_vectors(self, image: State) -> Tensor:
        """Return v, (B, P, D), of normed tokens."""
        return self.project("image", image.h[:, image.prefix :])

    def visible(self, memory: Tensor, scores: Tensor, prefix: int) -> Tensor:
        """Return the tokens that the captioner sees: those before the patches, and all but a share of the patches."""
        patches = largest(scores, 1 - self.recipe.unseen).nonzero()[:, 1].reshape(len(scores), -1) + prefix
        before = torch.arange(prefix, device=patches.device).expand(len(patches), -1)
        places = torch.cat([before, patches], dim=1)
        return memory.gather(1, places[..., None].expand(-1, -1, memory.shape[2]))

    def tokens_around(self, pixels: Tensor, hidden: Tensor) -> Tensor:
        """Return the (B, P, C) patch tokens of images in which a learnt vector stands for the hidden patches.

        Args:
            pixels: (B, 3, H, W) normalised.
            hidden: (B, P) bool.
        """

        def hide(stage: Stage, i: int, s: State) -> State:
            # of the module, since a division over processes replaces its parameters
            return fill(s, hidden, self._module.get_parameter("blank")) if stage == "patches" else s

        s = self.tower.blocks(self.tower.start(pixels, edit=hide))
        return self.tower.norm(s.h)[:, s.prefix :]

    def errors(self, pixels: Tensor, hidden: Tensor, around: Tensor, text: State) -> Tensor:
        """Return the (B,) ``painting_error`` of images.

        Args:
            pixels: (B, 3, H, W) normalised.
            hidden: (B, P) bool, the same number in each row.
            around: (B, P, C), see ``tokens_around``.
            text: tokens of the captions after the last block.
        """
        return painting_error(self.painter(around, text.h, text.valid), pixels, hidden, self.patch)

    def parts(self) -> Mapping[str, nn.Module]:
        """Return a copy of the captioner."""
        return {"decoder": copy.deepcopy(self._module["decoder"])}


class SymmetricCoCaTrainee(SymmetricTrainee):
    """Trains a CoCa: its own decoder writes the captions, from queries that pool the visible patches alone.

    Args:
        recipe, space, run, learns: as for ``SymmetricTrainee``; the space is an open_clip CoCa.
    """

    def __init__(self, recipe: SyCoCa, space: Backbone, run: Run, learns: Learns) -> None:
        super().__init__(recipe, space, run, nn.Identity(), WordIds(()), learns)

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the inputs of both encoders."""
        return PairTrainee.collate(self, views)

    def captioned(self, batch: Mapping[str, Any], image: State, scores: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the logits of the CoCa's decoder and what they predict; see ``SymmetricTrainee``."""
        coca: Any = self.space.module()
        seen = image.h if scores is None else self.visible(image.h, scores, image.prefix)
        queries = coca.visual.ln_post(coca.visual.attn_pool(seen))
        ids = token_ids(batch["text"])
        _, words = coca.text(ids)
        logits: Tensor = coca.text_decoder(queries[:, 1:], words[:, :-1])  # the first query is the image's embedding
        return logits, ids[:, 1:].masked_fill(ids[:, 1:] == self.space.spec.pad, PAD)

    def patch_vectors(self, image: State) -> Tensor:
        """Return v, (B, P, D): each patch pooled alone by the query of the image's embedding."""
        assert self.tower.pool is not None
        count = image.h.shape[1]
        alone = torch.eye(count, device=image.h.device, dtype=image.h.dtype)[image.prefix :]
        pooled = self.tower.pool(image.h, alone.expand(len(image.h), -1, -1))
        return self.tower.project(self.tower.pooled_norm(pooled))

    def parts(self) -> Mapping[str, nn.Module]:
        """Return nothing: the decoder is the space's own."""
        return {}


@dataclass(frozen=True)
class SyCoCa(Recipe):
    """Train pairs, a captioner that sees the relevant patches alone, and a painter that rebuilds them from the caption.

    Use it for models that retrieve and write captions, with a ViT and a text tower that reads ids. A CoCa, the base of
    the paper, trains its own decoder; beside another CLIP the captioner is the kit's small decoder, as for
    ``coca-loss``, and is returned.

    Args:
        caption_weight: w_cap, >= 0; 2.0 (from notes on the paper).
        paint_weight: w_paint, >= 0; 1.0 (from notes).
        unseen: r_l, share of the patches that the captioner does not see, in [0, 1); 0.5 (from notes).
        hidden: r_h, share of the patches that are painted, in (0, 1]; 0.5 (from notes).
        start: share of the steps before masks are used, in [0, 1]; 0.1 (ours).
        paint_width: width of the painter; 512 (ours).
        paint_depth: blocks of the painter, >= 1; 4 (ours).

    Raises:
        UsageError: a setting is out of its range.

    Source: Ma et al. 2024, in outline.

    Example:
        >>> patches, words = torch.eye(3)[None], torch.eye(3)[None, :1]
        >>> relevance(patches, words, torch.ones(1, 1, dtype=torch.bool)).tolist()
        [[1.0, 0.0, 0.0]]
    """

    passes_once: ClassVar[bool] = True
    caption_weight: float = 2.0
    paint_weight: float = 1.0
    unseen: float = 0.5
    hidden: float = 0.5
    start: float = 0.1
    paint_width: int = 512
    paint_depth: int = 4

    trainee: ClassVar[type[SymmetricTrainee]] = SymmetricTrainee

    def __post_init__(self) -> None:
        check(self, at_least(0), "caption_weight", "paint_weight")
        check(self, between(0, 1, "[)"), "unseen")
        check(self, between(0, 1, "(]"), "hidden")
        check(self, between(0, 1), "start")
        check(self, at_least(1), "paint_width", "paint_depth")

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee]:
        """Yield the one trainee; see ``Recipe.stages``.

        Raises:
            MissingHook: a tower cannot be cut in blocks.
            MissingPart: the kit has no decoder, and the space is no CoCa.
            UsageError: the kit has one, and the space is a CoCa.
        """
        space = kit.need(Backbone)
        if has_decoder(space) and DECODER in kit.parts:
            raise UsageError(f"{space.spec.name} writes captions by its own decoder: leave the other one out.")
        if has_decoder(space):
            yield SymmetricCoCaTrainee(self, space, run, learns)
            return
        decoder: Any = kit.need(LanguageModel, DECODER)
        yield self.trainee(self, space, run, decoder, kit.need(WordIds, WORDS), learns)
