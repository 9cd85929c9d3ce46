"""Mask proposals of three trees of merged cells, ranked by a small network that was trained on composed pictures.

    x      = (colours, maps of strides 4, 8, 16 of the encoder)       of each cell, D numbers
    z, y   = A x, B (colours, strides 4 and 8)                        of each cell; A and B are learnt
    tree   = Ward's merges of neighbours, by colours, by z, and by y
    u_q    = sigmoid( MLP( facts of region q ) )                      of every region of the trees
    kept   = regions by descending u, less those that overlap a kept one

A, B: directions in which different things differ the most, whitened by how cells of one thing differ (linear
discriminant analysis)
u_q: expected share of the IoU thresholds 0.5 to 0.95 that region q passes with some true thing
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.backbones.mask_models.merge_tree import MergeTree
from diptych.backbones.mask_models.merged_cells import cell_vectors
from diptych.backbones.mask_models.region_facts import SHAPE, region_facts
from diptych.backbones.spec import state_hash
from diptych.core import NotAvailable, Proposals, Space
from diptych.core.ranges import at_least, between, check
from diptych.data.images import upright_rgb
from diptych.data.pixels import normalise

WEIGHTS = Path(__file__).parents[2] / "assets" / "proposer" / "ranked_cells.safetensors"
LEAST, MOST = 0.003, 0.95
"""Least and largest share of the picture of a region."""
FIRST = 600
"""Regions, best first, among which those that overlap are left out."""
COLOURS, SPACES, MERGE = 4, 3, 6
DEEP, FINE = 32, 12
"""Directions of z and of y."""
_STRIDES = (4, 8, 16)


class RegionScorer(nn.Module):
    """The learnt part: two spaces of cells, and the network that scores regions.

    Args:
        cells: D, numbers of a cell.
        fine: how many of them, the first ones, are colours and features of strides 4 and 8.
        facts: F, numbers of a region.

    Attributes:
        a, b: (D, 32) and (fine, 12) directions.
        mean, deviation: (D,) of cells.
        facts_mean, facts_deviation: (F,) of regions.

    Example:
        >>> RegionScorer(180, 68)(torch.zeros(5, 394)).shape
        torch.Size([5])
    """

    def __init__(self, cells: int = 180, fine: int = 68, facts: int | None = None, width: int = 96) -> None:
        super().__init__()
        facts = 2 * cells + SHAPE + 4 * SPACES + MERGE if facts is None else facts
        for name, size in (
            ("a", (cells, DEEP)), ("b", (fine, FINE)), ("mean", (cells,)), ("deviation", (cells,)),
            ("facts_mean", (facts,)), ("facts_deviation", (facts,)),
        ):  # fmt: skip
            self.register_buffer(name, torch.ones(size))
        self.net = nn.Sequential(
            nn.Linear(facts, width), nn.GELU(), nn.Dropout(0.1), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1)
        )

    def spaces(self, x: Tensor) -> list[Tensor]:
        """Return the three spaces of (h, w, D) cells in which trees grow: colours, y and z."""
        a, b = self.get_buffer("a"), self.get_buffer("b")
        return [x[..., :COLOURS], x[..., : len(b)] @ b, x @ a]

    def standard(self, x: Tensor) -> Tensor:
        """Return cells of mean 0 and deviation 1 over the training's pictures."""
        return (x - self.get_buffer("mean")) / self.get_buffer("deviation")

    def forward(self, facts: Tensor) -> Tensor:
        """Return the (Q,) logits of u."""
        x = (facts - self.get_buffer("facts_mean")) / self.get_buffer("facts_deviation")
        return self.net(x.clamp(-5, 5))[:, 0]


@dataclass(frozen=True)
class Candidates:
    """All regions of the trees of a picture.

    Args:
        masks: (Q, h, w) float in {0, 1}.
        merges: (Q, 6) facts of their merges, and which tree they are of.
        cells: (h, w, D), standardised.
        spaces: of the trees.
    """

    masks: Tensor
    merges: Tensor
    cells: Tensor
    spaces: list[Tensor]

    def facts(self, rows: Tensor | slice = slice(None)) -> Tensor:
        """Return the (n, F) facts of regions, by default of all."""
        return torch.cat([region_facts(self.masks[rows], self.cells, self.spaces), self.merges[rows]], 1)


@dataclass(frozen=True)
class RankedCells:
    """Regions that a picture's cells merge to, those that most likely are one thing first.

    Args:
        encoder: whose maps are read, with strides 4, 8 and 16; the weights belong to ``lite``.
        scorer: set to eval mode, see ``load_scorer``.
        side: cells along the longer side, >= 8.
        pixels: longer side at which the encoder sees the picture, >= 32.
        count: regions at most, >= 1.
        overlap: largest IoU of two regions that both stay, in [0, 1].

    Raises:
        UsageError: a number outside its range.
    """

    encoder: Space
    scorer: RegionScorer
    side: int = 64
    pixels: int = 320
    count: int = 100
    overlap: float = 0.7

    def __post_init__(self) -> None:
        check(self, at_least(1), "count")
        check(self, at_least(8), "side")
        check(self, at_least(32), "pixels")
        check(self, between(0, 1), "overlap")

    @cached_property
    def _known(self) -> str:
        return state_hash(self.scorer)

    @property
    def fingerprint(self) -> str:
        """Hash of the weights, the settings and the encoder."""
        facts = json.dumps([self.side, self.pixels, self.count, self.overlap])
        known = f"ranked-cells/1/{facts}/{self._known}/{self.encoder.fingerprint}"
        return hashlib.sha256(known.encode()).hexdigest()[:16]

    def propose(self, image: Any, words: Sequence[str] = (), /) -> Proposals:
        """Return the regions, best first; their scores are u."""
        picture = upright_rgb(image)
        proposals = candidates(picture, self.encoder, self.scorer, self.side, self.pixels)
        with torch.no_grad():
            u = self.scorer(proposals.facts()).sigmoid()
        order = u.argsort(descending=True, stable=True)[:FIRST]
        chosen = order[apart(proposals.masks[order], self.overlap, self.count)]
        return Proposals(proposals.masks[chosen], u[chosen], (picture.height, picture.width))


def candidates(
    picture: Image.Image, encoder: Space, scorer: RegionScorer, side: int = 64, pixels: int = 320
) -> Candidates:
    """Return the regions of the three trees of a picture; the encoder, with maps of strides 4, 8 and 16, sees its
    longer side at ``pixels``, and ``side`` cells lie along it.
    """
    x = cell_features(picture, encoder, side, pixels)
    spaces = scorer.spaces(x)
    trees = [MergeTree.of(space.double().numpy()) for space in spaces]
    regions = [_regions(tree, x.shape[0], x.shape[1]) for tree in trees]
    masks = torch.cat([m for m, _ in regions])
    tree_of = torch.eye(len(trees)).repeat_interleave(torch.tensor([len(m) for m, _ in regions]), 0)
    merges = torch.cat([torch.cat([t for _, t in regions]), tree_of], 1)
    return Candidates(masks, merges, scorer.standard(x), spaces)


def cell_features(picture: Image.Image, encoder: Space, side: int, pixels: int) -> Tensor:
    """Return x, (h, w, D) float32: the colours of the cells, and the encoder's maps resized to them."""
    colours = torch.from_numpy(cell_vectors(picture, side)).float()
    dense, coarsest = encoder.dense(), encoder.dense().strides[-1]
    ratio = pixels / max(picture.size)
    width, height = (max(coarsest, round(length * ratio / coarsest) * coarsest) for length in picture.size)
    seen = torch.from_numpy(np.array(picture.resize((width, height), Image.Resampling.BILINEAR)))
    x = normalise(seen.permute(2, 0, 1)[None].float() / 255, encoder.spec.pixels)
    with torch.no_grad():
        maps = dense.maps(x.to(next(encoder.module().parameters()).device))
    chosen = [m.float().cpu() for stride, m in zip(dense.strides, maps, strict=True) if stride in _STRIDES]
    grid = (colours.shape[0], colours.shape[1])
    planes = [F.interpolate(m, grid, mode="bilinear", align_corners=False)[0].permute(1, 2, 0) for m in chosen]
    return torch.cat([colours, *planes], dim=-1)


def load_scorer(path: Path = WEIGHTS) -> RegionScorer:
    """Return the learnt part that ships, or another that ``recipes.mask_proposer`` wrote, in eval mode.

    Raises:
        NotAvailable: there is no such file.
    """
    from safetensors.torch import load_file

    if not path.is_file():
        raise NotAvailable(f"There are no weights of the mask proposer at {path}: install diptych again.")
    state = {name: t.float() for name, t in load_file(path).items()}
    with torch.random.fork_rng(devices=[]):
        scorer = RegionScorer(len(state["a"]), len(state["b"]), len(state["facts_mean"]), len(state["net.0.bias"]))
    scorer.load_state_dict(state)
    return scorer.eval().requires_grad_(False)


def apart(masks: Tensor, overlap: float, count: int) -> Tensor:
    """Return the positions of masks that stay, in their order: each whose IoU with none that stays is above overlap.

    Example:
        >>> masks = torch.tensor([[[1.0, 1.0, 0.0]], [[1.0, 1.0, 0.0]], [[0.0, 0.0, 1.0]]])
        >>> apart(masks, 0.7, 100)
        tensor([0, 2])
    """
    flat = masks.flatten(1)
    both, size = flat @ flat.T, flat.sum(1)
    near = both > overlap * (size[:, None] + size[None] - both)
    free, chosen = torch.ones(len(flat), dtype=torch.bool), list[int]()
    for i in range(len(flat)):
        if free[i] and len(chosen) < count:
            chosen.append(i)
            free &= ~near[i]
    return torch.tensor(chosen, dtype=torch.long)


def _regions(tree: MergeTree, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return the (Q, h, w) regions of a tree, and (Q, 3) facts of their merges.

    The facts are the size by that of the merge above, and the heights of the two by the root's.
    """
    cells = tree.leaves
    masks = np.zeros((len(tree.sizes), cells), dtype=bool)
    masks[np.arange(cells), np.arange(cells)] = True
    for n, (a, b) in enumerate(tree.children, start=cells):
        masks[n] = masks[a] | masks[b]
    nodes = np.array(tree.between(max(1, round(LEAST * cells)), max(1, round(MOST * cells))), dtype=np.int64)
    parents = tree.parents()[nodes]
    assert tree.heights is not None
    heights = np.concatenate([np.zeros(cells), tree.heights]) / max(1e-12, float(tree.heights[-1]))
    facts = np.stack([tree.sizes[nodes] / tree.sizes[parents], heights[nodes], heights[parents]], 1)
    shaped = torch.from_numpy(masks[nodes].reshape(-1, height, width)).float()
    return shaped, torch.from_numpy(facts).float()
