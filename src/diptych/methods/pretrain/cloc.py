"""CLOC teaches an image tower that its tokens, told a place, become the embedding of what is there.

    L       = L_clip + lambda w (L_cloc + g L_box)
    L_cloc  = 1/2 ( CE(s z Y^T) + CE(s y Z^T) )
    L_box   = 1/(4 n) sum ||l - b||^2
    w       = images of the batch / those of them that have regions

z: (n, D) unit embeddings of the n regions of a batch, z = prompter(box, tokens of its image); Z: those of all processes
y: (n, D) unit embeddings of their phrases; Y: those of all processes
CE: mean cross-entropy of the rows, whose right column is their own phrase, or region; phrases whose cosine with the
    row's own is above a threshold are no negatives, nor are their regions
l: (n, 4) boxes, x0 y0 x1 y1 in [0, 1];  b: the prompter's boxes, when it is told the phrase in the place of the box
s: the learnt scale of the pairs;  lambda, g: weights

The prompter (``nn.dense.prompter``) is one transformer layer. It is written beside the model, as its part "prompter",
and serves after the training: a box becomes an embedding to classify or to search by, a phrase becomes a box.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, normalize

from diptych.core import (
    Backbone,
    ClassNames,
    Clock,
    Evidence,
    Kit,
    Learns,
    MaskProposer,
    MissingPart,
    Recipe,
    Run,
    Space,
    Table,
    Trainee,
    Writer,
)
from diptych.core.ranges import at_least, between, check, one_of
from diptych.core.train import Stage, everything
from diptych.data.evidence import training_rows
from diptych.features.region_labels import RegionLabels
from diptych.features.whole_and_cells import whole_and_cells
from diptych.nn.contrastive import contrastive
from diptych.nn.dense.prompter import Pool, Prompter
from diptych.nn.dense.region_losses import region_contrast
from diptych.train.distributed import gather_ragged
from diptych.train.regions import RegionTrainee, has_regions

PART = "prompter"
"""Name of the part of a trained model."""


class _Localised(RegionTrainee):
    """Trains pairs and regions, and the prompter."""

    def __init__(self, recipe: CLOC, space: Space, run: Run, learns: Learns) -> None:
        super().__init__(space, run, most=recipe.regions, learns=learns)
        self.recipe = recipe
        side = space.encoders["image"].size
        blank = space.encoders["image"].inputs([torch.zeros(3, side or 1, side or 1)])
        with torch.no_grad():
            whole, cells = whole_and_cells(space, blank)
        with run.seeded("prompter"):
            self.prompter = recipe.prompter(cells.shape[1], whole.shape[1])
        self._module[PART] = self.prompter

    def parts(self) -> Mapping[str, nn.Module]:
        """Return the prompter."""
        return {PART: self.prompter}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return "contrastive", and the weighted terms "regions" and "boxes"."""
        r, world = self.recipe, self.run.world
        e, cells, phrases = self.embed_regions(batch)
        boxes, owner = batch["boxes"], batch["owner"]
        z = self.prompter.boxes(cells, boxes, owner)
        shown = self.prompter.grounded(cells, normalize(phrases, dim=-1), owner)
        together = gather_ragged(world)
        counts = e.gather(torch.tensor([[len(cells), len(owner.unique()), len(owner)]], device=cells.device)).sum(0)
        weight = r.weight * counts[0] / counts[1].clamp(min=1)
        matched = region_contrast(z, phrases, self.scale("image", "text")[0], r.same, together, world.rank, world.size)
        share = len(owner) * world.size / counts[2].clamp(min=1)
        away = mse_loss(shown, boxes.to(shown)) if len(owner) else shown.sum() * 0.0
        return {
            "contrastive": contrastive(e, ("image", "text")),
            "regions": weight * matched,
            "boxes": weight * r.grounding * share * away,
        }


@dataclass(frozen=True)
class CLOC(Recipe):
    """Train pairs, and regions against their phrases through a prompter that is kept.

    Use it where parts of images are to be classified, searched or found by words. Regions are the columns "boxes" and
    "phrases" of the rows. Where they are missing, the kit's "proposer" finds places and the noun phrases of the
    captions name them (see ``features.region_labels``), or the captions that the kit's "writer" writes of each place.

    Args:
        weight: lambda, >= 0; 1.0 (the paper's). 0 leaves CLIP's loss alone.
        regions: of an image in a step, at most, >= 1; 4 (the paper's).
        same: cosine of two phrases above which they are no negatives of each other, in [-1, 1]; 0.9 (the paper's).
        grounding: g, >= 0; 1.0 (the paper's).
        pool: what the prompter pools: "prompt" (ours: the paper averages, and does not say what), or "all" tokens.

    Raises:
        UsageError: a number is out of its range.

    Source: Chen et al. 2024, sections 3 and 4.

    Example:
        >>> prompter = CLOC().prompter(width=8, dim=4)
        >>> box = torch.tensor([[0.0, 0.0, 0.5, 0.5]])
        >>> tuple(prompter.boxes(torch.zeros(1, 8, 2, 2), box, torch.tensor([0])).shape)
        (1, 4)
    """

    weight: float = 1.0
    regions: int = 4
    same: float = 0.9
    grounding: float = 1.0
    pool: Pool = "prompt"

    def __post_init__(self) -> None:
        check(self, at_least(0), "weight", "grounding")
        check(self, at_least(1), "regions")
        check(self, between(-1, 1), "same")
        check(self, one_of("prompt", "all"), "pool")

    def prompter(self, width: int, dim: int) -> Prompter:
        """Return an untrained prompter for tokens of a width, and a joint space of ``dim``."""
        return Prompter(width, dim, self.pool)

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee | Stage]:
        """Label regions where there are none, then yield the one trainee.

        Raises:
            MissingEvidence: there are no training rows.
            MissingPart: the rows have no regions, and there is no proposer.
            MissingHook: the backbone has neither an image tower nor dense maps.
        """
        space = kit.need(Backbone)
        train = with_regions(training_rows(evidence, "cloc"), kit, run)
        val = None if evidence.val is None else with_regions(evidence.val, kit, run)
        yield Stage(_Localised(self, space, run, learns), data=train, val=val)


def with_regions(table: Table[Any], kit: Kit, run: Run) -> Table[Any]:
    """Return rows that have regions as they are, and others with those that the kit's proposer finds.

    Raises:
        MissingPart: the rows have no regions, and there is no proposer.
    """
    if has_regions(table):
        return table
    if "proposer" not in kit.parts:
        raise MissingPart(
            "cloc reads regions, and the rows have none: give boxes with phrases as {regions}, or the kit a 'proposer' "
            "that finds some, such as merged-cells."
        )
    writer = kit.need(Writer, "writer") if "writer" in kit.parts else None
    proposer = kit.need(MaskProposer, "proposer")
    return RegionLabels().of(table, kit.need(Backbone), proposer, replace(run, out=None), writer)
