"""Full fine-tuning trains all parameters of both towers on a task.

    labels:    L = CE( s x t_k )
    captions:  L = CLIP's loss

x: (N, D) unit image embeddings
t_k: (D,) unit mean of the unit prompts of class k, by the text tower in training
s: the space's scale, which is not trained
CE: mean cross-entropy over the N images
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from diptych.core import Backbone, ClassNames, Evidence, Kit, Learns, Recipe, Run, Trainee
from diptych.core.train import everything
from diptych.nn.contrastive import contrastive
from diptych.train.tuning import TuningTrainee


@dataclass(frozen=True)
class Full(Recipe):
    """Train both towers on labelled classes (cross-entropy over prompts) or on captions (CLIP's loss).

    Use it as the baseline of fine-tuning. Where other tasks must not suffer, use WiSEFT or VRLwF.

    Args:
        smoothing: of the labels, in [0, 1); 0.0 (ours).

    Source: Radford et al. 2021, section 3.1; the text tower learns too, as in Goyal et al. 2023 (FLYP).

    Example:
        >>> import torch
        >>> from torch.nn.functional import cross_entropy, normalize
        >>> g = torch.Generator().manual_seed(0)
        >>> x = normalize(torch.randn(4, 8, generator=g), dim=-1)
        >>> prompts = normalize(torch.randn(3, 5, 8, generator=g), dim=-1)  # 3 classes with 5 prompts each
        >>> t = normalize(prompts.mean(1), dim=-1)
        >>> cross_entropy(100 * x @ t.T, torch.tensor([0, 1, 2, 0]), label_smoothing=Full().smoothing).shape
        torch.Size([])
    """

    smoothing: float = 0.0

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee]:
        """Yield the one trainee; see ``Recipe.stages``."""
        space = kit.need(Backbone)
        yield TuningTrainee(
            space, run, classes, partial(contrastive, pair=("image", "text")), learns=learns, smoothing=self.smoothing
        )
