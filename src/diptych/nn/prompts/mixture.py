"""MoCoOp's mixture of soft prompts: a router weighs them for each image, and a loss keeps them near templates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from diptych.core import Backbone, UsageError
from diptych.nn.prompts.soft import Slots, encode_prompts
from diptych.nn.tuned_image import TunedImage

BOOST = 10.0
"""Added to the two largest similarities, so that the target is about one half for each of these groups."""


def soft_prompt_starts(groups: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the words before the name in the first template of each group.

    Raises:
        UsageError: fewer than two groups, an empty one, or a first template that does not end with its name.
    """
    starts = []
    for group in groups:
        head, placeholder, tail = (group[0] if group else "").partition("{}")
        if not placeholder or not head.strip() or tail.strip(" .") or any(t.count("{}") != 1 for t in group):
            raise UsageError(
                f"A group must start with a template that ends with its name, such as 'a photo of a {{}}.', got "
                f"{group!r}: change it."
            )
        starts.append(head.strip())
    if len(starts) < 2:
        raise UsageError(f"groups must be at least two groups of templates, got {len(starts)}: give more.")
    return tuple(starts)


def gate(r: Tensor) -> Tensor:
    """Return pi, (B, G): softmax over the two largest of (B, G) router logits, 0 for the others."""
    top = r.topk(2, dim=1)
    return torch.zeros_like(r).scatter(1, top.indices, top.values.softmax(dim=1))


def gate_target(z: Tensor, hard: Tensor, y: Tensor) -> Tensor:
    """Return the (B, G) target of the router, without gradient.

    Args:
        z: (B, D) unit image embeddings.
        hard: (G, K, D) prototypes.
        y: (B,) class positions.
    """
    u = torch.einsum("bd,gbd->bg", z.detach(), hard[:, y])
    return u.scatter_add(1, u.topk(2, dim=1).indices, u.new_full((len(u), 2), BOOST)).softmax(dim=1)


def text_loss(soft: Tensor, hard: Tensor) -> Tensor:
    """Return the mean cross-entropy of picking the right prototype for each soft prompt, without temperature.

    Args:
        soft: (G, K, D) soft prompts.
        hard: (G, K, D) prototypes, among which those of the same group count.
    """
    similar = soft @ hard.transpose(1, 2)
    return cross_entropy(similar.flatten(0, 1), torch.arange(soft.shape[1], device=soft.device).repeat(len(soft)))


class Mixture(nn.Module):
    """The trained part: contexts, shift, router, and the norms of the image tower if they learn.

    Args:
        starts: G contexts, (M_g, C) each.
        dim: D.
        tuned: copy of the image tower whose norms learn. None: images come as embeddings.
    """

    def __init__(self, starts: Sequence[Tensor], dim: int, tuned: TunedImage | None) -> None:
        super().__init__()
        self.contexts = nn.ParameterList([nn.Parameter(start.clone()) for start in starts])
        self.shift = nn.Parameter(torch.zeros(dim))
        self.router = nn.Linear(dim, len(starts))
        self.tuned = tuned


def soft_vectors(backbone: Backbone, where: Sequence[Slots], contexts: Sequence[Tensor], shift: Tensor) -> Tensor:
    """Return t, (G, K, D) unit embeddings of the soft prompts.

    Args:
        backbone: with a text tower.
        where: G sets of K prompts.
        contexts: G contexts, (M_g, C) each.
        shift: (D,), w.
    """
    tower = backbone.tower("text")
    return torch.stack(
        [normalize(encode_prompts(tower, w, c) + shift, dim=-1) for w, c in zip(where, contexts, strict=True)]
    )


def mixed_logits(backbone: Backbone, z: Tensor, soft: Tensor, pi: Tensor) -> Tensor:
    """Return the (B, K) logits of a mixture.

    Args:
        backbone: gives scale and bias.
        z: (B, D) unit image embeddings.
        soft: (G, K, D) soft prompts.
        pi: (B, G) weights of the groups.
    """
    scale, bias = (t.detach().to(z) for t in backbone.scale("image", "text"))
    return scale * torch.einsum("bg,gkd,bd->bk", pi, soft, z) + bias
