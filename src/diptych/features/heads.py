"""Class heads made of text, and the logits of a backbone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core.backbone import Backbone
from diptych.core.data import Texts
from diptych.core.errors import UsageError
from diptych.core.method import Scores
from diptych.core.run import Run
from diptych.features.embed import embed
from diptych.features.head_cache import read_head, write_head


def text_head(backbone: Backbone, prompts: Sequence[Sequence[str]], run: Run) -> Tensor:
    """Return one unit vector a class: w_k = normalise(mean over m of normalise(text(p_km))).

    Args:
        backbone: whose text encoder embeds the prompts; every distinct sentence is encoded once and cached by its hash,
            and every class by the hash of its prompts.
        prompts: K lists of prompts, each of any length from 1; a doubled prompt counts twice in its mean.
        run: batch size, device and cache folder.

    Returns:
        (K, D) float32 unit vectors, on the CPU.

    Raises:
        UsageError: there is no class, or a class has no prompt.

    Source: Radford et al., 2021, section 3.1.4 (ensembling over the embedding space, not over probabilities).
    """
    if not prompts or not all(prompts):
        raise UsageError(
            "Every class needs at least one prompt, and there must be a class: check the names and templates."
        )
    known = read_head(backbone.text, prompts, run)
    if known is not None:
        return torch.from_numpy(known)
    sentences = dict.fromkeys(sentence for row in prompts for sentence in row)
    place = {sentence: i for i, sentence in enumerate(sentences)}
    unit = normalize(embed(backbone.text, Texts(tuple(sentences)), run), dim=-1)
    head = normalize(torch.stack([unit[[place[sentence] for sentence in row]].mean(dim=0) for row in prompts]), dim=-1)
    write_head(backbone.text, prompts, head.numpy(), run)
    return head


def logits(backbone: Backbone, x: Tensor, head: Tensor) -> Tensor:
    """Return scale * x w^T + bias with the backbone's own scale and bias.

    Args:
        backbone: that owns the scale; sigmoid backbones have a bias, the others' is 0.
        x: (N, D) unit embeddings.
        head: (K, D) unit class vectors.

    Returns:
        (N, K) logits in the type of ``x`` and on its device.
    """
    scale, bias = (t.detach().to(x) for t in backbone.scale("image", "text"))
    return scale * (x @ head.to(x).T) + bias


def logits_of(scores: Scores, backbone: Backbone) -> Tensor:
    """Return (N, K) logits: cosines are scaled by the backbone, classes that are no candidates get -inf."""
    values = scores.values.float()
    if scores.kind == "cosine":
        scale, bias = backbone.scale()
        values = scale.detach() * values + bias.detach()
    return values if scores.candidates is None else values.masked_fill(~scores.candidates, float("-inf"))
