"""Class heads from prompts, and the logits of a backbone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from diptych.backbones import lite_sharpness
from diptych.core import Backbone, Run, Scores, Texts, UsageError
from diptych.features.embed import embed
from diptych.features.head_cache import read_head, write_head


def text_head(backbone: Backbone, prompts: Sequence[Sequence[str]], run: Run) -> Tensor:
    """Return one unit vector a class: w_k = normalise(mean over m of normalise(text(p_km))).

    Args:
        backbone: its text encoder embeds the prompts. Every distinct sentence is encoded once and cached by its hash,
            and every class by the hash of its prompts.
        prompts: K lists of at least one prompt; a repeated prompt counts twice in the mean.
        run: batch size, device and cache folder.

    Returns:
        (K, D) float32 unit vectors, on the CPU.

    Raises:
        UsageError: there is no class, or a class has no prompt.

    Source: Radford et al., 2021, section 3.1.4 (ensembling over the embedding space, not over probabilities).
    """
    if not prompts or not all(prompts):
        raise UsageError(
            f"Every class needs at least one prompt, and there must be a class, got {len(prompts)} classes: check the "
            f"names and templates."
        )
    cached = read_head(backbone.text, prompts, run)
    if cached is not None:
        return torch.from_numpy(cached)
    sentences = dict.fromkeys(sentence for row in prompts for sentence in row)
    row_of = {sentence: i for i, sentence in enumerate(sentences)}
    unit = normalize(embed(backbone.text, Texts(tuple(sentences)), run), dim=-1)
    head = normalize(torch.stack([unit[[row_of[sentence] for sentence in row]].mean(dim=0) for row in prompts]), dim=-1)
    write_head(backbone.text, prompts, head.numpy(), run)
    return head


def logits(backbone: Backbone, x: Tensor, head: Tensor) -> Tensor:
    """Return scale * x w^T + bias, with the scale and bias of the backbone.

    Args:
        backbone: the backbone with the scale; its bias is 0 unless its score is sigmoid.
        x: (N, D) unit embeddings.
        head: (K, D) unit class vectors.

    Returns:
        (N, K) logits in the type of ``x`` and on its device, under autocast too: a cosine of 8 bits times 100 would be
        off by a tenth.
    """
    with torch.autocast(x.device.type, enabled=False):
        scale, bias = (t.detach().to(x) for t in backbone.scale("image", "text"))
        return scale * (x @ head.to(x).T) + bias


def sharpness(backbone: Backbone, x: Tensor, logits: Tensor) -> Tensor | None:
    """Return the (N,) factors of logits of class names in probabilities that a person is shown; None where none were
    fitted for this image encoder. See ``backbones.lite_sharpness``.

    Args:
        backbone: whose image encoder gave ``x``.
        x: (N, D) image embeddings.
        logits: (N, K), see ``logits``.
    """
    scale, bias = (float(t.detach()) for t in backbone.scale("image", "text"))
    nearest = (logits.detach().cpu().amax(dim=1).numpy() - bias) / scale
    scales = lite_sharpness.scales(x.detach().cpu().numpy(), nearest, backbone.image.fingerprint)
    return None if scales is None else torch.from_numpy(scales) / scale


def logits_of(scores: Scores, backbone: Backbone) -> Tensor:
    """Return the (N, K) logits of scores: cosines are scaled as by the backbone, non-candidates are -inf."""
    values = scores.values.float()
    if scores.kind == "cosine":
        scale, bias = (t.detach().to(values.device) for t in backbone.scale())
        values = scale * values + bias
    return values if scores.candidates is None else values.masked_fill(~scores.candidates, float("-inf"))
