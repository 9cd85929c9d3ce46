"""Images as the vectors that a captioner reads: their tokens, or one embedding each."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import Backbone, Run, Samples
from diptych.features.embed import embed
from diptych.nn.dense.image_regions import tokens_and_attention

Tokens = Literal["patches", "pooled"]
"""What stands for an image; see ``image_tokens``."""


def image_tokens(backbone: Backbone, images: Samples[Any], run: Run, kind: Tokens) -> list[Tensor]:
    """Return the unit vectors of each image, (T, D) on the CPU; images of equal keys share them.

    - "patches": the embeddings of all tokens of the last block, CLS first, or of the cells of the dense map after the
      image embedding. They are computed at every call and kept in memory: 4 T D bytes per image.
    - "pooled": the image embedding alone, T = 1, from the store where it has it.

    Raises:
        MissingHook: patches of a backbone that has neither an image tower with CLS nor dense maps.
        UnreadableItem: an image cannot be read.
    """
    if kind == "pooled":
        return list(normalize(embed(backbone.image, images, run), dim=-1)[:, None])
    keys = [images.key(i) for i in range(len(images))]
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    known: dict[str, Tensor] = {}
    chosen, size = list(first), run.batch or 32
    with torch.no_grad():
        for start in range(0, len(chosen), size):
            batch = chosen[start : start + size]
            x = backbone.image.inputs([images[first[key]] for key in batch])
            tokens = tokens_and_attention(backbone, (x if isinstance(x, Tensor) else x["pixels"]).to(run.device))[1]
            known |= dict(zip(batch, tokens.float().cpu(), strict=True))
    return [known[key] for key in keys]
