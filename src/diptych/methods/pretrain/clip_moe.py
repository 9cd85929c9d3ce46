"""CLIP-MoE turns a dense CLIP into a mixture of experts: copies of its MLPs are trained to see different features, and
become the experts of one model whose routers alone are trained at the end.

Stage s = 1 .. N - 1 trains expert s from the base model's weights, its MLPs alone:

    g_s     = K^2 g_(s-1) + K k_T + k_I,      g_0 = 0
    L       = CLIP's loss within batches that are drawn from one group each

Then the routers, with all experts in place and frozen:

    L       = CLIP's loss + beta (R_image + 1/2 R_text)
    R       = N sum over r and e of f_(r,e) P_e

g_s: group of a row before stage s, from the clusters of all stages so far
k_I, k_T: cluster of its image and of its caption among K, by k-means on unit embeddings of the model of stage s - 1
N: number of experts; expert 0 is the base model's MLP
f_(r,e): share of the tokens whose r-th choice is expert e, r = 1 .. k
P_e: mean probability of expert e over the tokens, all mixtures of a tower together
R: k where all experts are used alike, and up to N where one has all tokens

What separates the clusters no longer tells the pairs of a batch apart, so that each stage must learn other features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.backbones.changes.experts import Last, MixtureOfExperts, merged, mlp_names, mlps, routed
from diptych.core import (
    Backbone,
    ClassNames,
    Clock,
    DataError,
    Evidence,
    Kit,
    Learns,
    MissingHook,
    ParamGroup,
    Recipe,
    Run,
    Table,
    Texts,
    Trainee,
)
from diptych.core.ranges import above, at_least, between, check
from diptych.core.train import everything
from diptych.data.evidence import training_rows
from diptych.features.embed import embed
from diptych.features.frozen import HeadSpace
from diptych.nn.contrastive import contrastive, wide
from diptych.train.distributed import from_first
from diptych.train.group_batches import GroupBatches, Groups, clustered, regrouped
from diptych.train.pair import PairTrainee


def balance(logits: Tensor, top: int) -> Tensor:
    """Return R, which is least where all experts are used alike.

    Args:
        logits: (n, N) of the routers, over n tokens.
        top: k, experts a token.

    Source: the released code; Fedus et al. 2022 (Switch Transformer), equation 4, summed over the k choices.

    Example:
        >>> balance(torch.zeros(6, 3).index_fill(1, torch.tensor([0]), 50.0), 1).item()  # all tokens at one of three
        3.0
    """
    p = wide(logits).softmax(-1)
    chosen = p.topk(top, dim=-1).indices
    f = nn.functional.one_hot(chosen, p.shape[1]).to(p).mean(0)
    return p.shape[1] * (f * p.mean(0)).sum()


class _Expert(PairTrainee):
    """Trains the MLPs of a copy of the base model, on batches of one group each.

    Args:
        recipe: with the smoothing.
        space: the base model.
        groups: of the training rows; None: batches of any rows.
        names: of the parameters of the MLPs.
        run: as for ``PairTrainee``.
        learns: as for ``PairTrainee``.
    """

    def __init__(
        self, recipe: CLIPMoE, space: Backbone, groups: Groups | None, names: frozenset[str], run: Run, learns: Learns
    ) -> None:
        super().__init__(space, None, run, learns=lambda n: n in names and learns(n))
        self.recipe, self.of_rows = recipe, groups

    def sampler(self, table: Table[Any], run: Run) -> GroupBatches | None:
        """Return the sampler of groups."""
        return None if self.of_rows is None else GroupBatches(self.of_rows, run.seed)

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return CLIP's loss as "contrastive"."""
        return {"contrastive": contrastive(self.embed(batch), ("image", "text"), smoothing=self.recipe.smoothing)}


class RouterTrainee(PairTrainee):
    """Trains the routers of a mixture.

    Args:
        recipe: with beta, and factors on rate and decay.
        space: the mixture.
        run: as for ``PairTrainee``.
    """

    def __init__(self, recipe: CLIPMoE, space: Backbone, run: Run) -> None:
        super().__init__(space, None, run, learns=lambda n: n.endswith(".mlp.router.weight"))
        self.recipe = recipe
        inside: dict[str, Any] = dict(mlps(self.space.module(), space.spec, recipe.last))
        self.of_tower: dict[str, list[MixtureOfExperts]] = {
            m: [block.mlp for name, block in inside.items() if name.startswith(m)] for m in ("image", "text")
        }

    def groups(self) -> list[ParamGroup]:
        """Return the routers, with their own factors on rate and decay."""
        names = tuple(n for group in super().groups() for n in group.names)
        return [ParamGroup(names, self.recipe.router_rate, self.recipe.router_decay)]

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return CLIP's loss as "contrastive", and beta (R_image + 1/2 R_text) as "balance"."""
        recipe = self.recipe
        with routed(self.of_tower["image"]) as of_image, routed(self.of_tower["text"]) as of_text:
            e = self.embed(batch)
        weighed = ((of_image, 1.0), (of_text, 0.5))
        uneven = [weight * balance(torch.cat(logits), recipe.top) for logits, weight in weighed if logits]
        aligned = contrastive(e, ("image", "text"), smoothing=recipe.smoothing)
        return {"contrastive": aligned, "balance": recipe.balance * sum(uneven, torch.zeros_like(aligned))}


@dataclass(frozen=True)
class CLIPMoE(Recipe):
    """Make a mixture of experts of a dense CLIP whose towers can be cut in blocks.

    Use it where retrieval should rise at little more compute; zero-shot classification may fall. The training has N
    stages, each as long as the fit says.

    Args:
        experts: N, >= 2; 4 (the paper's).
        top: k, experts a token, in [1, N]; 2 (the paper's).
        clusters: K, of images and of captions in each stage, >= 1; 3 (the paper's). 1 draws batches from all rows.
        layers: last blocks of each tower that become mixtures, >= 1; None (default, the paper's): all.
        smoothing: of the labels, in [0, 1); 0.1 (the authors').
        balance: beta, >= 0; 0.01 (the authors').
        router_rate: factor on the learning rate for the routers, > 0; 0.1 (the authors').
        router_decay: factor on the weight decay for the routers, >= 0; 0.05 (the authors').

    Raises:
        UsageError: a number is out of its range.

    Source: Zhang et al. 2024, section 3.

    Example:
        >>> CLIPMoE(layers=2).last
        {'image': 2, 'text': 2}
    """

    experts: int = 4
    top: int = 2
    clusters: int = 3
    layers: int | None = None
    smoothing: float = 0.1
    balance: float = 0.01
    router_rate: float = 0.1
    router_decay: float = 0.05

    def __post_init__(self) -> None:
        check(self, at_least(2), "experts")
        check(self, between(1, self.experts), "top")
        check(self, at_least(1), "clusters", "layers")
        check(self, between(0, 1, "[)"), "smoothing")
        check(self, at_least(0), "balance", "router_decay")
        check(self, above(0), "router_rate")

    @property
    def last(self) -> Last:
        """Number of blocks of each tower that become mixtures."""
        return {"image": self.layers, "text": self.layers}

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee]:
        """Yield the N - 1 stages of experts, then that of the routers.

        Raises:
            MissingEvidence: there are no training rows.
            DataError: the rows have no captions; in a stage, no group fills a batch.
            MissingHook: the space is heads alone, or a tower cannot be cut in blocks with an MLP.
        """
        base = kit.need(Backbone)
        if isinstance(base, HeadSpace):
            raise MissingHook("CLIP-MoE trains the MLPs of towers, and this space has heads alone: give a backbone.")
        train = training_rows(evidence, "clip-moe")
        if "captions" not in train.columns:
            raise DataError("clip-moe clusters images and captions, and the rows have none: give a column 'caption'.")
        names, spaces = mlp_names(base, self.last), [base]
        groups: Groups = np.zeros(len(train), dtype=np.int64)
        for number in range(1, self.experts):
            # Once for all processes: they would each embed all rows, and might round to other clusters.
            groups = from_first(partial(self.groups, spaces[-1], train, groups, run, number), run.world)
            expert = _Expert(self, base, groups, names, run, learns)
            yield expert
            trained = expert.trained()
            assert isinstance(trained, Backbone)  # rebuild keeps the kind
            spaces.append(trained)
        yield RouterTrainee(self, merged(spaces, self.top, self.last, run.seed), run)

    def groups(self, space: Backbone, table: Table[Any], before: Groups, run: Run, number: int) -> Groups:
        """Return the groups of the rows for a stage, from those of the stage before and the model of that stage.

        Args:
            space: model of the stage before.
            table: M training rows.
            before: their groups in the stage before.
            run: device, and seed of the clusters.
            number: of the stage, from 1.
        """
        seed = run.integer(f"clusters/{number}")
        of_images, of_texts = (clustered(x, self.clusters, seed) for x in unit_pairs(space, table, run))
        return regrouped(before, of_images, of_texts, self.clusters)


def unit_pairs(space: Backbone, table: Table[Any], run: Run) -> tuple[Tensor, Tensor]:
    """Return (M, D) unit embeddings of the images and first captions of M rows; nothing is stored."""
    quiet = replace(run, cache=None)
    captions = table.columns["captions"].values
    first = Texts(tuple(caption if isinstance(caption, str) else caption[0] for caption in captions))
    return normalize(embed(space.image, table.items, quiet)), normalize(embed(space.text, first, quiet))
