"""CLIPPINGS links records by the mean of their picture's and their text's embedding, trained on labelled matches.

    z   = normalise( a normalise(f(x)) + (1 - a) normalise(g(t)) )
    l_i = - 1/|P(i)| sum over p in P(i) of ln( exp(z_i . z_p / tau) / sum over k != i of exp(z_i . z_k / tau) )

x, t: picture and text of a record; without one of them, z is the embedding of the other
f, g: image and text tower, both to D
z: (N, D) unit embeddings of the N records of a batch
a: weight of the picture, in [0, 1]
P(i): the other records of i's entity in the batch
tau: temperature

The loss is the mean of l_i. A record is linked to the nearest other record, if their cosine reaches a threshold that is
chosen on val.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diptych.core import (
    Backbone,
    Clock,
    Column,
    DataError,
    Evidence,
    FittedRetriever,
    Kit,
    ParamGroup,
    Retriever,
    Row,
    Run,
    Samples,
    Table,
    Trainee,
)
from diptych.core.ranges import above, at_least, between, check, one_of, wrong
from diptych.features.networks import twin_of
from diptych.features.pipeline import joined
from diptych.features.records import EmbeddedRecords, modality_embeddings, pooled
from diptych.features.strict_weights import check_names, load_tensors
from diptych.metrics.retrieval import chosen_threshold
from diptych.nn.contrastive import supervised_contrastive
from diptych.train.distributed import gather
from diptych.train.entities import SomeOfEach, nearest_entities
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit

Learns = Literal["towers", "maps", "nothing"]
"""What is trained: both towers (the paper's), a low-rank map after each frozen tower (ours), or nothing."""


class LowRank(nn.Module):
    """A residual map of low rank, x + U V x; it is the identity before training.

    Args:
        dim: D.
        rank: R, of U (D, R) and V (R, D).
    """

    def __init__(self, dim: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, rank, bias=False)
        self.up = nn.Linear(rank, dim, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        out: Tensor = x + self.up(self.down(x))
        return out


class RecordTrainee(Trainee):
    """Trains embeddings of records by the supervised contrastive loss; subclasses embed pictures and texts.

    Args:
        method: gives the weight a, tau, and the records of an entity in a batch.
        run: gives the processes whose rows are gathered.
    """

    def __init__(self, method: CLIPPINGS, run: Run) -> None:
        self.method, self.run = method, run
        self.near: NDArray[np.int64] | None = None

    @abstractmethod
    def both(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the embeddings of pictures and of texts, (B, D) each."""

    def groups(self) -> list[ParamGroup]:
        """Return two groups: matrices with weight decay, all others without."""
        named = list(self.module().named_parameters())
        parts = [tuple(n for n, p in named if (p.ndim >= 2) is wide) for wide in (True, False)]
        return [ParamGroup(names, decay=float(wide)) for names, wide in zip(parts, (True, False), strict=True) if names]

    def sampler(self, table: Table[Any], run: Run) -> SomeOfEach:
        """Return batches in which every record has a positive."""
        return SomeOfEach(entities_of(table), self.method.each, run.seed, self.near)

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the mean of l_i as "supervised"."""
        z, labels = pooled(*self.both(batch), self.method.weight), batch["entity"]
        every = gather(self.run.world)
        first = self.run.world.rank * len(z)
        return {
            "supervised": supervised_contrastive(z, labels, self.method.temperature, every(z), every(labels), first)
        }


class MapTrainee(RecordTrainee):
    """Trains a low-rank map for each modality, "image" and "text", on stored embeddings."""

    def __init__(self, method: CLIPPINGS, maps: nn.ModuleDict, run: Run) -> None:
        super().__init__(method, run)
        self.maps = maps

    def module(self) -> nn.Module:
        """Return the maps."""
        return self.maps

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return both embeddings and the entity."""
        return {"image": row.item[0], "text": row.item[1], "entity": int(row.columns["entity"])}

    def both(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the mapped embeddings of pictures and of texts, (B, D) each."""
        return self.maps["image"](batch["image"]), self.maps["text"](batch["text"])


class TowerTrainee(RecordTrainee):
    """Trains a copy of both towers on pictures and texts."""

    def __init__(self, method: CLIPPINGS, backbone: Backbone, run: Run) -> None:
        super().__init__(method, run)
        self.space = twin_of(backbone)

    def module(self) -> nn.Module:
        """Return the space's module."""
        return self.space.module()

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return the picture as pixels, the text, and the entity."""
        image = None if row.item.image is None else self.space.image.inputs([row.item.image])
        return {"image": image, "text": row.item.text, "entity": int(row.columns["entity"])}

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the inputs of the pictures and texts of a batch, and the rows of the records that have them."""
        images, texts = ([i for i, v in enumerate(views) if v[m] is not None] for m in ("image", "text"))
        return {
            "image": joined([views[i]["image"] for i in images]) if images else None,
            "text": self.space.text.inputs([views[i]["text"] for i in texts]) if texts else None,
            "rows": {"image": torch.tensor(images), "text": torch.tensor(texts)},
            "entity": torch.tensor([v["entity"] for v in views]),
        }

    def both(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the embeddings of pictures and of texts, (B, D) each; zero for a record without one."""
        parts = []
        for modality in ("image", "text"):
            part = torch.zeros(len(batch["entity"]), self.space.encoders[modality].dim, device=batch["entity"].device)
            if batch[modality] is not None:
                vectors = self.space.encoders[modality].encode(batch[modality])
                part = part.index_put((batch["rows"][modality],), vectors.float())
            parts.append(part)
        return parts[0], parts[1]


def entities_of(table: Table[Any]) -> NDArray[np.int64]:
    """Return the (N,) entities of a table of records, as numbers.

    Raises:
        DataError: the table has no column "entity".
    """
    column = table.columns.get("entity")
    if column is None:
        raise DataError("Records for training have no column 'entity': add one that names what each record is about.")
    return np.unique(np.asarray(column.values), return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True)
class CLIPPINGS(Retriever):
    """Link records by the mean embedding of picture and text, trained on labelled matches if there are any.

    Use it where records have both a picture and a noisy text, such as scanned packages or lines of a book.

    Args:
        learns: "towers" (the paper's, default), "maps" (ours: a low-rank map after each frozen tower, for small data
            and machines) or "nothing".
        weight: a, in [0, 1]; 0.5 (the paper's). 1.0 uses pictures alone, 0.0 texts alone.
        temperature: tau, > 0; 0.1 (the authors').
        rate: learning rate, > 0; None (default, ours) is 5e-6 for towers and 1e-3 for maps. The authors' 5e-7 and 5e-9
            need thousands of epochs.
        epochs: passes over the entities, >= 1; 30 (ours).
        batch: records a step, at least 2 ``each``; 126 (the authors' 126 or 153).
        each: records of an entity in a batch, >= 2; 3 (the authors').
        hard: hard negatives: so many nearest other entities stand in the batch of each one, >= 0; 0 (default): entities
            are drawn at random. The authors' mined form has 2.
        rank: of the maps, >= 1; 64 (ours).

    Raises:
        UsageError: a number is out of its range, or ``learns`` is unknown.

    Source: Arora et al. 2023, sections 3 and 4.

    Example:
        Two entities with two records each, whose embeddings are near:

        >>> g = torch.Generator().manual_seed(0)
        >>> entity = torch.tensor([0, 0, 1, 1])
        >>> image = torch.eye(4)[entity] + 0.1 * torch.randn(4, 4, generator=g)
        >>> text = torch.eye(4)[entity] + 0.1 * torch.randn(4, 4, generator=g)
        >>> z = pooled(image, text, weight=0.5)
        >>> other = z @ z.T - 2 * torch.eye(4)  # without the record itself
        >>> other.argmax(1).tolist()
        [1, 0, 3, 2]
        >>> bool(supervised_contrastive(z, entity, 0.1, z, entity) < 0.01)
        True
    """

    learns: Learns = "towers"
    weight: float = 0.5
    temperature: float = 0.1
    rate: float | None = None
    epochs: int = 30
    batch: int = 126
    each: int = 3
    hard: int = 0
    rank: int = 64

    def __post_init__(self) -> None:
        check(self, one_of(*get_args(Learns)), "learns")
        check(self, between(0, 1), "weight")
        check(self, above(0), "temperature", "rate")
        check(self, at_least(1), "epochs", "rank")
        check(self, at_least(2), "each")
        check(self, at_least(0), "hard")
        if self.batch < 2 * self.each:
            raise wrong(self, "batch", f"at least 2 x {self.each} records, for two entities")

    def check_extras(self, *, learns: bool = True) -> None:
        """Refuse to begin without the packages that a training needs, where there is a training."""
        if learns and self.learns != "nothing":
            super().check_extras()

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedCLIPPINGS:
        """Train on ``evidence.train`` and choose the threshold on ``evidence.val``, where they are given.

        Raises:
            MissingHook: towers are trained, and the backbone cannot be rebuilt.
            DataError: a table has no entities, or train has fewer than two entities with two records.
        """
        backbone, maps, towers = kit.need(Backbone), dict[str, Tensor](), dict[str, Tensor]()
        if evidence.train is not None and self.learns != "nothing":
            entities = entities_of(evidence.train)
            usable = int((np.bincount(entities) > 1).sum())
            if usable < 2:
                raise DataError(
                    f"Training needs at least two entities with two records each, got {usable}: give more labelled "
                    f"matches."
                )
            size = min(self.batch // self.each, usable) * self.each
            rate = self.rate or (5e-6 if self.learns == "towers" else 1e-3)
            settings = Fit(rate, size, self.epochs, decay=1e-3)
            labels = {"entity": Column("entity", entities)}
            stored = near = None
            if self.learns == "maps" or self.hard:
                stored = EmbeddedRecords(*modality_embeddings(backbone, evidence.train.items, run))
            if stored is not None and self.hard:
                near = nearest_entities(pooled(stored.image, stored.text, self.weight).numpy(), entities, self.hard)
            if stored is None or self.learns == "towers":
                trainee = TowerTrainee(self, backbone, run)
                trainee.near = near
                train_parameters(trainee, Table(evidence.train.items, labels), settings, run, ())
                towers = {n: t.detach().cpu().clone() for n, t in trainee.module().state_dict().items()}
            else:
                with run.seeded("clippings"):
                    blank = nn.ModuleDict({m: LowRank(backbone.encoders[m].dim, self.rank) for m in ("image", "text")})
                mapped = MapTrainee(self, blank, run)
                mapped.near = near
                maps = train_parameters(mapped, Table(stored, labels), settings, run)
        fitted = FittedCLIPPINGS(backbone, self.weight, maps, None, towers)
        if evidence.val is None:
            return fitted
        scores = fitted.against(evidence.val.items, run)(evidence.val.items).numpy()
        side = evidence.val.columns.get("group")
        sides = None if side is None else np.asarray(side.values)
        return replace(fitted, threshold=chosen_threshold(scores, entities_of(evidence.val), sides))


@dataclass(frozen=True)
class FittedCLIPPINGS(FittedRetriever):
    """Embeds records, and compares them by their cosine.

    Args:
        backbone: of pictures and texts, as it was.
        weight: a.
        maps: parameters of the low-rank maps; empty where there are none.
        threshold: least cosine of two records that match; None: there was no val to choose it on.
        towers: weights of the trained copy of the backbone; empty where towers were not trained.
    """

    backbone: Backbone
    weight: float
    maps: Mapping[str, Tensor]
    threshold: float | None
    towers: Mapping[str, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check_names(self.maps, (), [f"{m}.{map}.weight" for m in ("image", "text") for map in ("down", "up")])

    @cached_property
    def space(self) -> Backbone:
        """What embeds pictures and texts: the trained copy where towers were trained, and else the backbone."""
        if not self.towers:
            return self.backbone
        twin = twin_of(self.backbone)
        load_tensors(twin.module(), self.towers)
        trained = twin.rebuild(twin.module().eval(), twin.spec)
        assert isinstance(trained, Backbone)  # rebuild keeps the kind
        return trained

    def encode(self, records: Samples[Any], run: Run) -> Tensor:
        """Return z, the (N, D) unit embeddings of records; stored embeddings of pictures and texts are reused."""
        both = modality_embeddings(self.space, records, run)
        image, text = (self._mapped(m, x) for m, x in zip(("image", "text"), both, strict=True))
        return pooled(image, text, self.weight)

    def _mapped(self, modality: str, x: Tensor) -> Tensor:
        if not self.maps:
            return x
        return x + x @ self.maps[f"{modality}.down.weight"].T @ self.maps[f"{modality}.up.weight"].T

    def against(self, gallery: Samples[Any], run: Run) -> Callable[[Samples[Any]], Tensor]:
        """Return a function from n records to their (n, M) cosines to the M records of the gallery."""
        columns = self.encode(gallery, run)
        return lambda queries: self.encode(queries, run) @ columns.T
