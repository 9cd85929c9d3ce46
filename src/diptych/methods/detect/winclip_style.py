"""WinCLIP-style detection compares an image and its windows with prompts for a normal and a damaged thing, untrained.

    n, a    = normalise( mean over states x templates of text(prompt) )
    p(w)    = softmax(scale f_w [n, a]^T + bias)_a
    map(u)  = H over scales of  H over windows w that hold cell u of  p(w)
    score   = p(image)

Sizes: D dimensions of the embeddings
n, a: (D,) unit embeddings of the normal and the anomalous state;  text(prompt): (D,) unit embedding
f_w: (D,) unit embedding of window w, a square of cells
scale, bias: of the backbone's logits; bias = 0 for softmax backbones
p(w): probability that window w shows the anomalous state
H: harmonic mean; the whole image is one of the scales
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from diptych.core import Anomaly, Backbone, Detector, Evidence, FittedDetector, Kit, Run, Samples
from diptych.core.ranges import at_least, check, one_of, wrong
from diptych.features.heads import logits, text_head
from diptych.features.networks import inference
from diptych.nn.dense.label_maps import squashed
from diptych.nn.dense.windows import harmonic_map, window_cells, windows_of

Words = Literal["ensemble", "pair"]
"""Which prompts are used: an ensemble of states and templates, or one prompt each."""
STATES = (
    ("{}", "flawless {}", "perfect {}", "intact {}", "{} without flaw", "{} without defect", "{} without damage"),
    ("damaged {}", "broken {}", "defective {}", "{} with flaw", "{} with defect", "{} with damage"),
)
"""Phrases for a normal and for an anomalous thing; ours, in the paper's scheme."""
TEMPLATES = (
    "a photo of a {}.",
    "a photo of the {}.",
    "a close-up photo of a {}.",
    "a cropped photo of a {}.",
    "a bright photo of a {}.",
    "a dark photo of a {}.",
    "a photo of a {} for visual inspection.",
)
"""Sentences for the phrases; ours, in the paper's scheme."""
PAIR = (("a photo of a normal {}.",), ("a photo of a damaged {}.",))
"""The one prompt of each state."""


def state_prompts(thing: str, words: Words = "ensemble") -> list[list[str]]:
    """Return the prompts of the normal and of the anomalous state of a thing.

    Args:
        thing: what the photos show.
        words: "ensemble" (states x templates), or "pair" (one prompt each).
    """
    if words == "pair":
        return [[p.replace("{}", thing) for p in prompts] for prompts in PAIR]
    return [[t.replace("{}", s.replace("{}", thing)) for s in states for t in TEMPLATES] for states in STATES]


@dataclass(frozen=True)
class WinCLIPStyle(Detector):
    """Compare windows of an image with texts of a normal and of a damaged thing.

    Args:
        thing: what the photos show, such as "hazelnut"; "object" fits all.
        words: "ensemble" (states x templates, the paper's scheme) or "pair" (one prompt each).
        scales: sides of the windows, in cells (default 2 and 3, the paper's); the whole image is always a scale too.
        side: of the square that the image is resized to, in pixels. None: the backbone's own.

    Raises:
        UsageError: thing is empty, words is unknown, or a number is below 1.

    Source: Jeong et al. 2023, sections 4.1 (state ensemble) and 4.2 (windows, harmonic aggregation).

    Example:
        >>> import torch
        >>> from diptych.methods.detect.winclip_style import harmonic_map, state_prompts, window_cells
        >>> state_prompts("hazelnut", words="pair")
        [['a photo of a normal hazelnut.'], ['a photo of a damaged hazelnut.']]
        >>> cells = window_cells(grid=(1, 3), side=2)  # two windows of two cells
        >>> cells
        tensor([[0, 1],
                [1, 2]])
        >>> harmonic_map(torch.tensor([0.2, 0.8]), cells, grid=(1, 3))
        tensor([[0.2000, 0.3200, 0.8000]])
    """

    thing: str = "object"
    words: Words = "ensemble"
    scales: tuple[int, ...] = (2, 3)
    side: int | None = None

    def __post_init__(self) -> None:
        check(self, at_least(1), "side", *(("scales",) if self.scales else ()))
        check(self, one_of("ensemble", "pair"), "words")
        if not self.thing.strip():
            raise wrong(self, "thing", "a word for what is photographed")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedWinCLIPStyle:
        """Embed the texts; no evidence is read.

        Raises:
            MissingHook: the backbone has no dense maps.
        """
        backbone = kit.need(Backbone)
        backbone.dense()
        head = text_head(backbone, state_prompts(self.thing, self.words), run)
        return FittedWinCLIPStyle(backbone, head, self.scales, self.side)


@dataclass(frozen=True)
class FittedWinCLIPStyle(FittedDetector):
    """A head of two states.

    Args:
        backbone: embeds images and windows.
        head: (2, D) unit embeddings: normal, anomalous.
        scales, side: see ``WinCLIPStyle``.
    """

    backbone: Backbone
    head: Tensor
    scales: tuple[int, ...]
    side: int | None

    def detect(self, images: Samples[Any], run: Run) -> Iterator[Anomaly]:
        """Yield the probability of the anomalous state of each image, in [0, 1], and of its cells."""
        for i in range(len(images)):
            image = images[i]
            x = squashed(image, self.backbone.spec.pixels, self.side).to(run.device)
            with inference(run):
                grid, whole, embed = windows_of(self.backbone, x)
                (score,) = self._anomalous(whole)
                inverse = torch.full(grid, 1 / max(float(score), 1e-12))
                for scale in self.scales:
                    cells = window_cells(grid, scale)
                    inverse += 1 / harmonic_map(self._anomalous(embed(cells)), cells, grid)
            yield Anomaly(float(score), (len(self.scales) + 1) / inverse, (image.height, image.width))

    def _anomalous(self, f: Tensor) -> Tensor:
        """Return the (W,) probabilities of the anomalous state of (W, D) embeddings."""
        unit = F.normalize(f.float(), dim=-1)
        return logits(self.backbone, unit, self.head).softmax(-1)[:, 1].cpu()
