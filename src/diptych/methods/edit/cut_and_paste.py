"""Cut-and-Paste replaces an object of a clip by the subject of a picture: attention says where, and the rest is kept.

    z_T, ..., z_0 = DDIM inversion of the frames, told the source, without guidance
    A_f = attention of frame f to the words that are replaced, summed over their tokens, averaged over layers, heads
          and steps
    B_f = sum over k of w_k A_(f + k),  k = -1, 0, 1           fused with the neighbours
    m_f = 1 where wider(B_f) / max B_f >= 0.3, else 0;   0 everywhere where max B_f < floor

From z_T again, told the target, with the subject's tokens in the place of its new words (``nn.diffusion.subject``):

    cross-attention = the inversion's, to words that both texts have               in the first 80 % of steps
    self-attention  = the inversion's in cells outside m, its own inside           in the first 80 % of steps
    z_t = z_t of the inversion + strength m (z_t - z_t of the inversion)           from 20 % of the steps on

w_k: 1/4, 1/2, 1/4;  wider: the greatest of 3 x 3 cells, enlarged to the latent's size

The paper's abstract was all that could be read: what is above is a reconstruction from it and from FateZero.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from diptych.core import (
    AttentionHook,
    Backbone,
    Condition,
    EditAsk,
    Edited,
    Editor,
    Evidence,
    FittedEditor,
    Kit,
    Run,
    Site,
    Takes,
    TextDiffusion,
    UsageError,
)
from diptych.core.ranges import above, at_least, between, check, wrong
from diptych.metrics.frame_consistency import frame_consistency
from diptych.nn.diffusion.attention import OnDisk, Record, cut, fused, outside, replaced_columns, word_map
from diptych.nn.diffusion.ddim import Inverted, invert, repeated, sample
from diptych.nn.diffusion.exchange import Exchange, exchanged
from diptych.nn.diffusion.frames import BetweenFrames
from diptych.nn.diffusion.subject import subject_tokens, with_tokens
from diptych.nn.style_space import seen, square_of


@dataclass(frozen=True)
class CutAndPaste(Editor):
    """Replace an object of a clip by words or by the subject of a reference picture, with a denoiser and no training.

    The source names what is there, the target is the same text with the object's words exchanged. Without a reference
    the new words alone say what appears.

    Args:
        steps: of inversion and sampling, >= 1; 50.
        guidance: of sampling, >= 0; 7.5.
        kept_steps: share of the steps in which attention is the inversion's, in [0, 1]; 0.8.
        blend_from: share of the steps after which all outside m is the inversion's, in [0, 1]; 0.2.
        threshold: of the map, in [0, 1]; 0.3. ``EditAsk.threshold`` takes its place.
        wider: cells of the map by which an object is made larger on every side, >= 0; 1.
        floor: greatest attention of a frame below which the words are not there, in [0, 1]; 0 (ours): maps are
            compared with their own greatest value, so a word that is absent is found somewhere. Give a floor where
            frames may lack the object.
        fusion: weights of the frame before, the frame itself and the one after, >= 0; (1/4, 1/2, 1/4) (ours).
        cells: layers with more cells per side than this are left out of the maps and are not put back, >= 1; 16.
        subject_steps: of Adam for the tokens of a reference, >= 0; 500.
        subject_rate: of Adam, > 0; 5e-3 (ours).
        subject_batch: noisy pictures per step, >= 1; 8 (ours).
        between: whether frames read the one before and the first one in self-attention, as FateZero's do, see
            ``nn.diffusion.frames``; False.

    Raises:
        UsageError: a number is out of its range.

    Source: arXiv 2311.11697 (Cut-and-Paste), abstract; Qi et al. 2023 (FateZero), section 3, for the numbers.

    Example:
        >>> method, maps = CutAndPaste(), torch.zeros(1, 4, 4)
        >>> maps[0, 0, 0] = 0.5  # the object is in one cell of the frame; that and its neighbours may change
        >>> cut(maps, method.threshold, method.floor, side=4, wider=method.wider).sum().item()
        4.0
    """

    steps: int = 50
    guidance: float = 7.5
    kept_steps: float = 0.8
    blend_from: float = 0.2
    threshold: float = 0.3
    wider: int = 1
    floor: float = 0.0
    fusion: tuple[float, float, float] = (0.25, 0.5, 0.25)
    cells: int = 16
    subject_steps: int = 500
    subject_rate: float = 5e-3
    subject_batch: int = 8
    between: bool = False

    takes: ClassVar[Takes] = Takes(("clips",), reference="may", threshold=True)

    def __post_init__(self) -> None:
        check(self, at_least(1), "steps", "cells", "subject_batch")
        check(self, at_least(0), "guidance", "subject_steps", "fusion", "wider")
        check(self, above(0), "subject_rate")
        check(self, between(0, 1, "[]"), "kept_steps", "blend_from", "threshold", "floor")
        if sum(self.fusion[1:2]) <= 0 or len(self.fusion) != 3:
            raise wrong(self, "fusion", "three weights, the second of which is above 0")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedCutAndPaste:
        """Take the parts; nothing is learnt before there is a reference.

        Raises:
            MissingPart: the kit has no backbone or no denoiser.
        """
        return FittedCutAndPaste(kit.need(Backbone), self, kit.need(TextDiffusion, "diffusion"))


@dataclass(frozen=True)
class Cut:
    """A clip's inversion, and what may change in it.

    Args:
        inverted: the latents of all steps.
        record: the attention that was seen.
        maps: B, (F, h, w).
        m: (F, 1, h, w) of the latent.
    """

    inverted: Inverted
    record: Record
    maps: Tensor
    m: Tensor


@dataclass(frozen=True)
class FittedCutAndPaste(FittedEditor):
    """Edits clips.

    Args:
        backbone: the one that the denoiser may read texts with; its image encoder compares frames.
        diffusion: the denoiser.
    """

    backbone: Backbone
    method: CutAndPaste
    diffusion: TextDiffusion

    def edit(self, ask: EditAsk, run: Run) -> Edited:
        """Replace words of a clip; see ``FittedEditor``. Facts: the share of each clip that may change, the frames
        without anything to change, and the frame consistency before and after.
        """
        self.method.takes.check(ask, self.method.card.name)
        assert ask.clips is not None
        words = exchanged(self.diffusion, ask.source, ask.targets[0])
        if ask.reference is not None and not words.new and words.gone:
            raise UsageError(f"{ask.targets[0]!r} leaves no word for the subject: name it, such as 'a thing'.")
        with torch.no_grad():
            condition = self.target(ask, words, run)
            before, after = [], []
            facts: list[dict[str, float]] = []
            with run.track("edit clips", len(ask.clips)) as bar:
                for i in range(len(ask.clips)):
                    frames = torch.stack([square_of(frame, self.diffusion.size) for frame in ask.clips[i]])
                    with tempfile.TemporaryDirectory(prefix="diptych-") as folder:
                        cut = self.cut(frames.to(run.device), ask.source, words, ask.threshold, Path(folder))
                        z = self.paste(cut, condition, words, ask.strength)
                    before.append(self.diffusion.from_latent(cut.inverted.latents[-1]).cpu())
                    after.append(self.diffusion.from_latent(z).cpu())
                    shares = [round(float(m.mean()), 4) for m in cut.m]
                    facts.append({"area": round(sum(shares) / len(shares), 4), "frames_without": shares.count(0.0)})
                    facts[-1] |= self.consistency(before[-1], after[-1], run)
                    bar.advance()
        return Edited(tuple(before), tuple(after), facts=tuple(facts))

    def consistency(self, before: Tensor, after: Tensor, run: Run) -> dict[str, float]:
        """Return how alike neighbouring frames look to the backbone, before and after; {} of one frame."""
        ends = {"consistency_before": before, "consistency": after}
        values = {name: frame_consistency(seen(self.backbone.image, t, run)) for name, t in ends.items()}
        return {name: round(value, 4) for name, value in values.items() if value is not None}

    def target(self, ask: EditAsk, words: Exchange, run: Run) -> Condition:
        """Return the condition of the target, with the tokens of the reference's subject where there is one."""
        m, text = self.method, self.diffusion.encode_text(list(ask.targets[:1]))
        if ask.reference is None or not words.new:
            return text
        picture = square_of(ask.reference, self.diffusion.size).to(run.device)
        g = run.generator("cut-and-paste/subject")
        v = subject_tokens(
            self.diffusion, text, words.new, picture, g, steps=m.subject_steps, rate=m.subject_rate,
            batch=m.subject_batch,
        )  # fmt: skip
        return with_tokens(text, words.new, v)

    def denoiser(self, frames: int) -> TextDiffusion:
        """Return the denoiser of a clip of so many frames."""
        return BetweenFrames(self.diffusion, frames) if self.method.between else self.diffusion

    def cut(
        self,
        frames: Tensor,
        source: str,
        words: Exchange,
        threshold: float | None = None,
        folder: Path | None = None,
    ) -> Cut:
        """Invert a clip, and find the object that is replaced.

        Args:
            frames: (F, 3, size, size) in [0, 1].
            source: what they show.
            words: what is exchanged; where nothing is, nothing may change.
            threshold: in the place of the method's.
            folder: of the attention that is recorded, which is empty; None: it stays in memory.
        """
        m, record = self.method, Record(self.method.cells**2, {} if folder is None else OnDisk(folder))
        condition = repeated(self.diffusion.encode_text([source]), len(frames))
        diffusion = self.denoiser(len(frames))
        inverted = invert(diffusion, condition, diffusion.to_latent(frames), steps=m.steps, hooks=record.at)
        side = self.diffusion.latent[1]
        if not words.old:
            return Cut(
                inverted, record, frames.new_zeros(len(frames), 1, 1), frames.new_zeros(len(frames), 1, side, side)
            )
        maps = fused(word_map(record.cross(), words.old, record.side), m.fusion).to(frames.device)
        share = m.threshold if threshold is None else threshold
        return Cut(inverted, record, maps, cut(maps, share, m.floor, side, m.wider))

    def paste(self, cut: Cut, text: Condition, words: Exchange, strength: float = 1.0) -> Tensor:
        """Return the (F, C, h, w) latents of the edited clip.

        Args:
            cut: of ``cut``.
            text: condition of the target, of one text.
            words: what is exchanged.
            strength: factor on the change inside m.
        """
        m, latents = self.method, cut.inverted.latents

        def hooks(i: int) -> AttentionHook | None:
            if i >= m.kept_steps * m.steps:
                return None

            def hook(site: Site, probabilities: Tensor) -> Tensor | None:
                known = cut.record.maps.get((i, site))
                if known is None:
                    return None
                if site.kind == "cross":
                    return replaced_columns(probabilities, known, words.columns)
                return outside(probabilities, known, cut.m)

            return hook

        def blend(i: int, z: Tensor) -> Tensor:
            if i + 1 < m.blend_from * m.steps and i + 1 < m.steps:
                return z
            before = latents[i + 1]
            return torch.where(cut.m > 0, before + strength * (z - before), before)

        condition, diffusion = repeated(text, len(cut.m)), self.denoiser(len(cut.m))
        return sample(
            diffusion, condition, cut.inverted.top, steps=m.steps, guidance=m.guidance, hooks=hooks, blend=blend
        )
