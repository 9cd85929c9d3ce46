"""An image tower that looks twice: at the whole image, and at the part that its patches choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, interpolate

from diptych.core import Backbone, Inputs, Tower
from diptych.features.networks import reached
from diptych.features.visual import SameInputs
from diptych.nn.tuned_image import TunedImage

Pick = Literal["most", "least"]
"""Which patches span the box: the most similar ones, or the least."""


def first_look(tower: Tower, x: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Return the parts of the first look at (B, 3, S, S) normalised pixels.

    Returns:
        The (B, C) summaries, the (B, n, C) normed patch tokens, and the (h, w) grid of the patches.
    """
    s = tower.blocks(tower.start(x))
    assert s.grid is not None
    patches = tower.norm(s.h[:, s.prefix : s.prefix + s.grid[0] * s.grid[1]])
    return tower.pooled(s), patches, s.grid


def boxes(
    similarity: Tensor, grid: tuple[int, int], top: int, pick: Pick = "most", *, inclusive: bool = False
) -> Tensor:
    """Return the boxes that the chosen patches span, in patches.

    Args:
        similarity: (B, n) cosines of the patches with the summary.
        grid: (h, w), n = h * w, row by row.
        top: o, patches that are chosen, at most n.
        pick: the "most" similar ones, or the "least", which shows what the choice is worth.
        inclusive: whether the last row and column belong to the box. The paper's code leaves them out, unless the box
            would be empty.

    Returns:
        (B, 4) int64: first row, end row, first column, end column; ends are exclusive.
    """
    index = similarity.topk(min(top, similarity.shape[1]), dim=1, largest=pick == "most").indices
    edges = []
    for coordinate in (index // grid[1], index % grid[1]):
        low, high = coordinate.amin(dim=1), coordinate.amax(dim=1)
        edges += [low, high + 1 if inclusive else torch.maximum(high, low + 1)]
    return torch.stack(edges, dim=1)


def zoomed(x: Tensor, box: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return (B, 3, S, S): each image cut to its box and resized bilinearly, corners aligned.

    Args:
        x: (B, 3, S, S) pixels.
        box: (B, 4), as ``boxes`` returns it.
        grid: (h, w) of the patches.
    """
    height, width = x.shape[2] // grid[0], x.shape[3] // grid[1]
    cuts = []
    for image, (top, bottom, left, right) in zip(x, box.tolist(), strict=True):
        cut = image[None, :, top * height : bottom * height, left * width : right * width]
        cuts.append(interpolate(cut, x.shape[2:], mode="bilinear", align_corners=True))
    return torch.cat(cuts)


def two_looks(tower: Tower, x: Tensor, top: int, pick: Pick, inclusive: bool) -> Tensor:
    """Return the (B, 2, C) summaries g of (B, 3, S, S) normalised pixels and g' of the crops; see ``boxes``."""
    g, patches, grid = first_look(tower, x)
    with torch.no_grad():
        box = boxes(cosine_similarity(g[:, None], patches, dim=2), grid, top, pick, inclusive=inclusive)
        closer = zoomed(x, box, grid)
    return torch.stack([g, tower.pooled(tower.blocks(tower.start(closer)))], dim=1)


class GLSimNet(nn.Module):
    """Aggregator and head, and the tower that learns with them.

    Args:
        tuned: copy of the image tower; None: looks come as vectors.
        width: C.
        classes: K.
        top, pick, inclusive: see ``boxes``.
    """

    def __init__(
        self, tuned: TunedImage | None, width: int, classes: int, top: int, pick: Pick, inclusive: bool
    ) -> None:
        super().__init__()
        self.tuned, self.top, self.pick, self.inclusive = tuned, top, pick, inclusive
        heads = max(n for n in range(1, max(1, width // 64) + 1) if width % n == 0)
        self.block = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, K) logits of (B, 3, S, S) normalised pixels, or of (B, 2 C) looks where no tower is tuned."""
        if self.tuned is None:
            looks = torch.unflatten(x, 1, (2, -1))
        else:
            looks = two_looks(self.tuned.space.tower("image"), x, self.top, self.pick, self.inclusive)
        out: Tensor = self.head(self.norm(self.block(looks)[:, 0]))
        return out

    def tuned_weights(self) -> tuple[str, ...]:
        """Return the names of the tower's parameters that the looks depend on: not of the projection, for one."""
        assert self.tuned is not None, "no tower is tuned"
        tower, size = self.tuned.space.tower("image"), self.tuned.space.encoders["image"].size or 0
        x = torch.zeros(1, 3, size, size, device=self.head.weight.device)
        among = [n for n, _ in self.named_parameters() if n.startswith("tuned.twin.")]
        return reached(self, lambda: two_looks(tower, x, self.top, self.pick, self.inclusive), among=among)


@dataclass(frozen=True)
class TwoLooks(SameInputs):
    """Both looks of a tower that does not learn, (2 C,) side by side, as an encoder whose vectors can be stored."""

    backbone: Backbone
    top: int
    pick: Pick
    inclusive: bool

    @property
    def dim(self) -> int:
        """2 C."""
        return 2 * self.backbone.tower("image").width

    @property
    def fingerprint(self) -> str:
        """Of the backbone and the settings."""
        return f"{self.backbone.image.fingerprint}-looks-{self.top}-{self.pick}-{self.inclusive}"

    def encode(self, x: Inputs, /) -> Tensor:
        """Return the (B, 2 C) looks of (B, 3, S, S) normalised pixels."""
        assert isinstance(x, Tensor)
        x = x.to(next(self.backbone.module().parameters()).device)
        return two_looks(self.backbone.tower("image"), x, self.top, self.pick, self.inclusive).flatten(1).float()


@dataclass(frozen=True)
class GLSimLogits(SameInputs):
    """The network as an encoder whose vectors are logits, so that pictures are read and batched as for any other."""

    net: GLSimNet
    backbone: Backbone
    dim: int
    fingerprint: str

    def encode(self, x: Inputs, /) -> Tensor:
        """Return the (B, K) logits of (B, 3, S, S) normalised pixels."""
        assert isinstance(x, Tensor)
        out: Tensor = self.net(x)
        return out.float()
