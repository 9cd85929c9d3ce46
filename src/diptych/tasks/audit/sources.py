"""Train linear heads on sources of labelled pictures and on their mixtures, at several sizes, for an audit of sources.

A source is a group of one table, such as a domain. Heads are logistic regressions on the frozen features of a backbone,
with one penalty for all, so that they differ in their training pictures alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import (
    AuditData,
    Auditor,
    Backbone,
    Classifier,
    ClassNames,
    DataError,
    Finding,
    Kit,
    ModelRecord,
    Probe,
    Run,
    Subject,
    Table,
    UnreadableItem,
    UsageError,
)
from diptych.features.embed import embed, embed_readable
from diptych.nn.logistic import logistic_path
from diptych.tasks.classify import with_store
from diptych.tasks.defaults import default

Ints = NDArray[np.int64]

C = 10.0
"""Inverse of the penalty of every head."""
LEAST = 8
"""Pictures of each class that a source must have: half of them train heads of two sizes, and half are tested."""
DRAWS = 4
"""Heads of each source and size, each of its own pictures."""


def ladder(most: int) -> tuple[int, ...]:
    """Return the training pictures of a class at each size: 2, 4, 8 .. up to ``most``.

    Example:
        >>> ladder(20)
        (2, 4, 8, 16)
    """
    return tuple(2**i for i in range(1, most.bit_length()) if 2**i <= most)


def drawn(labels: Ints, pools: Sequence[Ints], size: int, rng: np.random.Generator) -> Ints:
    """Draw training rows, ``size`` of each class, in equal shares from each pool.

    Args:
        labels: (N,) classes of all rows; each pool must have enough rows of each class.
        pools: positions that may be drawn, one array a source, in distinct rows.
        size: rows of each class, a multiple of the number of pools.
        rng: draws.
    """
    each = size // len(pools)
    rows = [rng.permutation(pool[labels[pool] == k])[:each] for pool in pools for k in range(int(labels.max()) + 1)]
    return np.concatenate(rows)


def head(z: Tensor, y: Ints, classes: int) -> tuple[Tensor, Tensor]:
    """Fit a linear head; return its weight (K, D) and bias (K,).

    Args:
        z: (N, D) unit embeddings.
        y: (N,) class positions.
        classes: K.
    """
    ((weight, bias),) = logistic_path(z, torch.from_numpy(y), classes, (C,), steps=100)
    return weight.float(), bias.float()


@dataclass(frozen=True)
class Sources:
    """A table whose groups are sources, in halves for training and testing.

    Args:
        table: N readable items with labels.
        classes: K names.
        train: source -> positions of its training items.
        test: source -> positions of its test items.
    """

    table: Table[Any]
    classes: ClassNames
    train: Mapping[str, Ints]
    test: Mapping[str, Ints]

    @classmethod
    def of(cls, table: Table[Any], classes: ClassNames, names: Sequence[str], run: Run) -> Sources:
        """Split the items of each source and class into halves.

        Args:
            table: N items with the columns "label" and "group".
            classes: K names.
            names: sources, at least two; () are all groups, in their order.
            run: seed of the halves.

        Raises:
            UsageError: fewer than two sources, or an unknown one.
            DataError: a class of a source has too few items.
        """
        labels, groups = table.labels(), np.array([str(g) for g in table.columns["group"].values])
        known = list(dict.fromkeys(groups.tolist()))
        if unknown := [n for n in names if n not in known]:
            raise UsageError(f"There is no group {unknown[0]!r}: choose from {', '.join(known)}.")
        chosen = list(dict.fromkeys(names)) or known
        if len(chosen) < 2:
            raise UsageError(f"A comparison of sources needs two, got {len(chosen)}: name two groups.")
        rng, train, test = np.random.default_rng(run.integer("halves of sources")), {}, {}
        for name in chosen:
            halves: tuple[list[Ints], list[Ints]] = ([], [])
            for k, word in enumerate(classes.names):
                rows = rng.permutation(np.flatnonzero((groups == name) & (labels == k)))
                if len(rows) < LEAST:
                    raise DataError(f"{word} has {len(rows)} pictures in {name}, and needs {LEAST}: give more.")
                halves[0].append(rows[: len(rows) // 2])
                halves[1].append(rows[len(rows) // 2 :])
            train[name], test[name] = (np.sort(np.concatenate(half)) for half in halves)
        return cls(table, classes, train, test)

    def probes(self) -> AuditData:
        """Return the test items: those of the first source in distribution, those of the others as shifts."""
        first = next(iter(self.test))
        return AuditData(
            {
                name: Probe(self.table.take(rows.tolist()), "id" if name == first else "shift", self.classes)
                for name, rows in self.test.items()
            }
        )

    def subjects(self, backbone: Backbone, run: Run) -> dict[str, Subject]:
        """Train heads on each source, and on the mixture of the first with each other, at each size."""
        return dict(self._heads(backbone, run))

    def _heads(self, backbone: Backbone, run: Run) -> Iterator[tuple[str, Subject]]:
        system: Any = default("head", Classifier)
        z, labels = normalize(embed(backbone.image, self.table.items, run), dim=-1), self.table.labels()
        first, *others = self.train
        mixed = {f"{first}+{other}": (first, other) for other in others}
        for source, parts in {**{name: (name,) for name in self.train}, **mixed}.items():
            pools = [self.train[part] for part in parts]
            most = min(int(np.bincount(labels[rows]).min()) for rows in self.train.values())
            for size in ladder(most):
                for draw in range(DRAWS):
                    rng = np.random.default_rng(run.integer(f"{source} {size} {draw}"))
                    rows = drawn(labels, pools, size, rng)
                    fitted = head(z[rows], labels[rows], len(self.classes))
                    record = ModelRecord("supervised", source, len(rows), backbone.spec.name)
                    probe = system.with_weights(self.classes, backbone, *fitted, C)
                    yield f"{source}, {size} a class, {draw + 1}", Subject(Kit({"classifier": probe}), record)


def audit_sources(
    table: Table[Any],
    classes: ClassNames,
    backbone: Backbone,
    run: Run | None = None,
    *,
    sources: Sequence[str] = (),
    method: Auditor | None = None,
) -> tuple[list[Finding], tuple[UnreadableItem, ...]]:
    """Train heads on sources and mixtures, and audit them.

    Args:
        table: N items with the columns "label" and "group"; groups are sources.
        classes: K names.
        backbone: its image encoder is frozen.
        run: device, cache and seed; None: a plain CPU run.
        sources: names of groups, the reference first; () are all.
        method: any auditor of models with records; None is Quality not quantity.

    Returns:
        The findings, and the items that were left out because a file cannot be read.

    Raises:
        UsageError: fewer than two sources, or an unknown one.
        DataError: a class of a source has too few items.
    """
    with with_store(run or Run()) as stored:
        readable, failed = embed_readable(backbone.image, table.items, stored).rows(table)
        of_source = Sources.of(readable, classes, sources, stored)
        auditor = method or default("audit sources", Auditor)
        return auditor.audit(of_source.subjects(backbone, stored), of_source.probes(), stored), failed
