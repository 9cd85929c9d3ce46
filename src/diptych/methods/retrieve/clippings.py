"""CLIPPINGS: a record is a picture and its text; the mean of both embeddings is trained so that records of one thing
meet.

    z = a f(x) / |f(x)| + (1 - a) g(t) / |g(t)|,  z / |z|      x picture, t text; without one of them, z is of the other
    l_i = -1/|P(i)| sum over p in P(i) of  log( exp(z_i . z_p / tau) / sum over k != i of exp(z_i . z_k / tau) )

P(i): the other records of i's entity in the batch. Records are linked to the nearest one, from a threshold on that was
chosen on val.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diptych.core.backbone import Backbone
from diptych.core.card import Card, Headline, Needs, ProofPlan, Reference
from diptych.core.data import Column, Evidence, Samples, Table
from diptych.core.errors import DataError
from diptych.core.kit import Kit
from diptych.core.method import FittedRetriever, Retriever
from diptych.core.ranges import above, at_least, between, check, one_of, wrong
from diptych.core.run import Run
from diptych.core.train import Clock, ParamGroup, Row, Trainee
from diptych.features.pipeline import joined
from diptych.features.records import EmbeddedRecords, modality_embeddings, pooled
from diptych.metrics.retrieval import chosen_threshold
from diptych.nn.contrastive import supervised_contrastive
from diptych.train.distributed import gather
from diptych.train.entities import SomeOfEach
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit

Learns = Literal["towers", "maps", "nothing"]
"""What is trained: both towers (the paper), a low-rank map after each frozen tower (ours), or nothing (the mean as it
is).
"""


class LowRank(nn.Module):
    """x + U V x, the identity at first.

    Args:
        dim: D.
        rank: of U and V.
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
    """Trains what embeds records so that those of one entity meet.

    Args:
        method: weight, temperature, and records of an entity in a batch.
        run: its world gathers.
    """

    def __init__(self, method: Clippings, run: Run) -> None:
        self.method, self.run = method, run

    @abstractmethod
    def both(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return (B, D) of pictures and of texts."""

    def groups(self) -> list[ParamGroup]:
        """Return matrices with weight decay, the rest without."""
        named = list(self.module().named_parameters())
        parts = [tuple(n for n, p in named if (p.ndim >= 2) is wide) for wide in (True, False)]
        return [ParamGroup(names, decay=float(wide)) for names, wide in zip(parts, (True, False), strict=True) if names]

    def sampler(self, table: Table[Any], run: Run) -> SomeOfEach:
        """Return batches that hold positives."""
        return SomeOfEach(entities_of(table), self.method.each, run.seed)

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return {"supervised": scalar}."""
        z, labels = pooled(*self.both(batch), self.method.weight), batch["entity"]
        every = gather(self.run.world)
        first = self.run.world.rank * len(z)
        return {
            "supervised": supervised_contrastive(z, labels, self.method.temperature, every(z), every(labels), first)
        }


class MapTrainee(RecordTrainee):
    """Trains one low-rank map a modality, "image" and "text", on stored embeddings."""

    def __init__(self, method: Clippings, maps: nn.ModuleDict, run: Run) -> None:
        super().__init__(method, run)
        self.maps = maps

    def module(self) -> nn.Module:
        """Return the maps."""
        return self.maps

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return both embeddings and the entity."""
        return {"image": row.item[0], "text": row.item[1], "entity": int(row.columns["entity"])}

    def both(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return (B, D) of pictures and of texts."""
        return self.maps["image"](batch["image"]), self.maps["text"](batch["text"])


class TowerTrainee(RecordTrainee):
    """Trains a copy of both towers on the records themselves."""

    def __init__(self, method: Clippings, backbone: Backbone, run: Run) -> None:
        super().__init__(method, run)
        space = backbone.rebuild(copy.deepcopy(backbone.module()), backbone.spec)
        assert isinstance(space, Backbone)  # rebuild keeps the kind
        self.space = space

    def module(self) -> nn.Module:
        """Return the space's module."""
        return self.space.module()

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return the picture as pixels, the text, and the entity."""
        image = None if row.item.image is None else self.space.image.inputs([row.item.image])
        return {"image": image, "text": row.item.text, "entity": int(row.columns["entity"])}

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the inputs of the pictures and texts that are there, and their rows."""
        images, texts = ([i for i, v in enumerate(views) if v[m] is not None] for m in ("image", "text"))
        return {
            "image": joined([views[i]["image"] for i in images]) if images else None,
            "text": self.space.text.inputs([views[i]["text"] for i in texts]) if texts else None,
            "rows": {"image": torch.tensor(images), "text": torch.tensor(texts)},
            "entity": torch.tensor([v["entity"] for v in views]),
        }

    def both(self, batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """Return (B, D) of pictures and of texts, zero where there is none."""
        parts = []
        for modality in ("image", "text"):
            made = torch.zeros(len(batch["entity"]), self.space.encoders[modality].dim, device=batch["entity"].device)
            if batch[modality] is not None:
                found = self.space.encoders[modality].encode(batch[modality])
                made = made.index_put((batch["rows"][modality],), found.float())
            parts.append(made)
        return parts[0], parts[1]


def entities_of(table: Table[Any]) -> NDArray[np.int64]:
    """Return the (N,) entities of a table of records.

    Raises:
        DataError: the table has no such column.
    """
    column = table.columns.get("entity")
    if column is None:
        raise DataError("Records that teach matches need a column 'entity': what each record is of.")
    return np.unique(np.asarray(column.values), return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True)
class Clippings(Retriever):
    """Link records by the mean of their picture's and their text's embedding, trained on labelled matches where there
    are some.

    Args:
        learns: "towers" (the paper), "maps" (a low-rank map after each frozen tower, for small data and machines), or
            "nothing".
        weight: a, of the picture; 1.0 leaves texts out, 0.0 pictures.
        temperature: tau.
        rate: learning rate; None: 5e-6 for towers (the authors' 5e-7 and 5e-9 take thousands of epochs), 1e-3 for maps
            (ours).
        epochs: passes over the entities, >= 1.
        batch: records a step, the authors' 126 or 153.
        each: m, records of an entity in a batch, >= 2.
        rank: of the maps.

    Raises:
        UsageError: a number out of its range.

    Source: Arora et al. 2023, sections 3 and 4.
    """

    learns: Learns = "towers"
    weight: float = 0.5
    temperature: float = 0.1
    rate: float | None = None
    epochs: int = 30
    batch: int = 126
    each: int = 3
    rank: int = 64

    card: ClassVar[Card] = Card(
        slug="clippings",
        name="CLIPPINGS",
        title="Linking Representations with Multimodal Contrastive Learning",
        url="https://arxiv.org/abs/2304.03464",
        year=2023,
        verb="retrieve",
        claim="Nearest neighbours of pooled image and text embeddings link records better than string matching or "
        "either modality alone.",
        needs=Needs(hooks=("image", "text", "rebuild"), extras=("train",), optional=("train", "val")),
        trains="both towers",
        headlines=(
            Headline(
                "Japanese firms, noisy OCR",
                "japanese-clip ViT-B/16",
                "accuracy",
                93.7,
                "Levenshtein 63.0, visual 92.4",
                "paper",
            ),
            Headline(
                "Japanese firms, clean OCR",
                "japanese-clip ViT-B/16",
                "accuracy",
                94.5,
                "Levenshtein 73.1, visual 92.4",
                "paper",
            ),
            Headline(
                "Japanese firms, noisy OCR, no labels",
                "japanese-clip ViT-B/16",
                "accuracy",
                84.5,
                "visual 76.9, text 74.0",
                "paper",
            ),
            Headline(
                "US newspaper photo captions",
                "CLIP ViT-B/32",
                "ARI x 100",
                61.5,
                "Jaccard 40.3, visual 59.7, text 38.9",
                "paper",
            ),
        ),
        reference=Reference("https://github.com/dell-research-harvard/clippings", "", "none found"),
        differs=(
            "Stage A, CLIP's own loss on the records' pairs without labels, is clip-loss; fit begins with the "
            "labelled stage C.",
            "The threshold is chosen on val alone; the authors' code tunes on train and val together, which hold the "
            "scored part.",
            "Entities are drawn without hard negatives, the authors' form without mining; theirs are mined once and "
            "laid in one order.",
            "Constant learning rate; the authors restart a cosine, stepped a batch.",
            "Pictures are cut as the backbone's recipe says, a CLIP's to their middle; the authors pad those of text "
            "to a white square.",
            "Records are linked to their nearest; the authors' clusters, whatever a distance threshold joins, are not "
            "made.",
            "The proof trains maps on frozen towers, in seconds, instead of both towers.",
        ),
        proof=ProofPlan(
            claim="Trained on labelled matches, pooled records find their partner among unseen entities more often "
            "than the untrained mean,"
            " than either modality, and than matched strings.",
            control="Trained on shuffled matches, they find it no more often than the untrained mean.",
            datasets=("grocery_packages", "archiscribe_lines"),
            minutes=10.0,
        ),
        variants={
            "": {},
            "maps": {"learns": "maps"},
            "mean": {"learns": "nothing"},
            "image": {"learns": "nothing", "weight": 1.0},
            "text": {"learns": "nothing", "weight": 0.0},
        },
    )

    def __post_init__(self) -> None:
        check(self, one_of(*get_args(Learns)), "learns")
        check(self, between(0, 1), "weight")
        check(self, above(0), "temperature", "rate")
        check(self, at_least(1), "epochs", "rank")
        check(self, at_least(2), "each")
        if self.batch < 2 * self.each:
            raise wrong(self, "batch", f"at least 2 x {self.each} records, for two entities")

    def check_extras(self, *, learns: bool = True) -> None:
        """Refuse to begin without what a training needs, where there is one."""
        if learns and self.learns != "nothing":
            super().check_extras()

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedClippings:
        """Train on train, if there is one, and choose the threshold on val, if there is one.

        Raises:
            MissingPart: the kit has no backbone.
            MissingHook: the backbone cannot be rebuilt, and towers are trained.
            MissingExtra: accelerate is not installed.
            DataError: a table has no entities, or no two entities of train have two records.
        """
        backbone, maps = kit.need(Backbone), dict[str, Tensor]()
        if evidence.train is not None and self.learns != "nothing":
            entities = entities_of(evidence.train)
            usable = int((np.bincount(entities) > 1).sum())
            if usable < 2:
                raise DataError("Training needs two entities with two records each: give more labelled matches.")
            size = min(self.batch // self.each, usable) * self.each
            rate = self.rate or (5e-6 if self.learns == "towers" else 1e-3)
            settings = Fit(rate, size, self.epochs, decay=1e-3)
            labels = {"entity": Column("entity", entities)}
            if self.learns == "towers":
                trainee = TowerTrainee(self, backbone, run)
                train_parameters(trainee, Table(evidence.train.items, labels), settings, run, ())
                trained = trainee.space.rebuild(trainee.space.module().eval(), trainee.space.spec)
                assert isinstance(trained, Backbone)
                backbone = trained
            else:
                with run.seeded("clippings"):
                    made = nn.ModuleDict({m: LowRank(backbone.encoders[m].dim, self.rank) for m in ("image", "text")})
                stored = EmbeddedRecords(*modality_embeddings(backbone, evidence.train.items, run))
                maps = train_parameters(MapTrainee(self, made, run), Table(stored, labels), settings, run)
        fitted = FittedClippings(backbone, self.weight, maps, None)
        if evidence.val is None:
            return fitted
        scores = fitted.against(evidence.val.items, run)(evidence.val.items).numpy()
        side = evidence.val.columns.get("group")
        found = chosen_threshold(scores, entities_of(evidence.val), None if side is None else np.asarray(side.values))
        return replace(fitted, threshold=found)


@dataclass(frozen=True)
class FittedClippings(FittedRetriever):
    """An encoder of records and a threshold.

    Args:
        backbone: embeds pictures and texts; a trained copy where towers were trained.
        weight: a.
        maps: parameters of the low-rank maps; empty where there are none.
        threshold: cosine from which on two records match; None: fit had no val to choose it on.
    """

    backbone: Backbone
    weight: float
    maps: Mapping[str, Tensor]
    threshold: float | None

    def encode(self, records: Samples[Any], run: Run) -> Tensor:
        """Return (N, D) unit embeddings of records; pictures and texts come from the store where they are known."""
        both = modality_embeddings(self.backbone, records, run)
        image, text = (self._mapped(m, x) for m, x in zip(("image", "text"), both, strict=True))
        return pooled(image, text, self.weight)

    def _mapped(self, modality: str, x: Tensor) -> Tensor:
        if not self.maps:
            return x
        return x + x @ self.maps[f"{modality}.down.weight"].T @ self.maps[f"{modality}.up.weight"].T

    def against(self, gallery: Samples[Any], run: Run) -> Callable[[Samples[Any]], Tensor]:
        """Embed M records, and return what gives the (n, M) cosines of others."""
        columns = self.encode(gallery, run)
        return lambda queries: self.encode(queries, run) @ columns.T
