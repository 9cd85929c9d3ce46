"""The bench of retrieval tuning: photos search photos of classes that were not trained, and captions search photos.

New linear heads over frozen towers are first aligned on captioned photos, so that there is a fit of texts to lose. Then
they learn the classes at even positions of labelled sets. Photos of the other classes search each other, each set for
itself, and held-out captions search held-out photos, all by the same vectors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from diptych.core import Backbone, ClassNames, Column, Evidence, Kit, Run, Table
from diptych.data.joined import Joined
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data
from diptych.data.named_sets import present
from diptych.data.words.classnames import tidy
from diptych.evaluation.arms import Arm, Floats, Measured, over_seeds
from diptych.evaluation.boards.tune import BEFORE, Training
from diptych.features.frozen import Headed, HeadSpace, on_trunks
from diptych.features.heads import text_head
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.metrics.retrieval import class_precision, first_ranks
from diptych.train.recipe import train_space
from diptych.train.schedule import Fit, Schedule
from proofs.benches.training.pairs import FRESH, NewHeads, with_captions
from proofs.trial import PlainBench, hash_of_words

CAPTIONED = "flickr8k_small"
"""Captioned photos: those of train align the heads, and realign them; those of val are searched."""
SEARCHED = ("coco_mini",)
"""Further captioned photos, all of which are searched among those of val: 140 are too few for a gain of 2 points."""
FIT = Fit(lr=3e-4, batch=64, steps=200, decay=0.0, schedule=Schedule(warmup=20), log_every=50)
"""Settings of each stage, fixed before any result was seen; those of the other proofs of fine-tuning on heads."""
MORE = ("clothing_small", "ucmerced21")
"""Labelled photos that are joined to those of the data set, to be trained and searched as they are."""
WRITTEN = 3
"""Pseudo-captions of a photo."""
MAP, BY_TEXT = "map", "text_to_image_recall_at_5"
"""Parts of a measuring."""
K = 5


@dataclass(frozen=True)
class LabelledSet:
    """A labelled set over the trunks, in the part that is trained and the part that is not.

    Args:
        table: all photos, whose label is the position among all classes of the set.
    """

    name: str
    table: Table[Any]
    classes: tuple[str, ...]

    def part(self, seen: bool) -> Table[Any]:
        """Return the photos of the classes at even positions, which are seen, or of the others."""
        return self.table.take(np.flatnonzero((self.table.labels() % 2 == 0) == seen).tolist())


@dataclass
class SearchBench(PlainBench):
    """Heads that learn labelled photos, and what is found by photo and by caption.

    The parts of a measuring are "map", (R, N) average precisions of the photos of classes that were not trained, and
    "text_to_image_recall_at_5", (R, P) of P captioned photos, each the mean of its captions.

    Args:
        space: its trunks.
        sets: labelled photos.
        pairs: captioned photos that align.
        queries: captioned photos that are searched.
    """

    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    space: Headed
    sets: tuple[LabelledSet, ...]
    pairs: Table[Any]
    queries: Table[Any]
    facts: Mapping[str, Any]
    metric: str = "value"
    always = (BEFORE,)
    _aligned: dict[int, HeadSpace] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen = [(i, s.part(True)) for i, s in enumerate(self.sets)]
        width = max(len(s.classes) for s in self.sets)
        labels = np.concatenate([i * width + table.labels() for i, table in seen])
        items: Any = Joined(tuple(table.items for _, table in seen))
        written = pseudo_captions(self.space, items, self.pairs)
        self.train: Table[Any] = with_captions(Table(items, {"label": Column("label", labels)}), written)
        self.unseen = [(s.name, s.part(False), s.classes) for s in self.sets]

    def measure(self, arm: Arm) -> Measured:
        """Tune the aligned heads of each seed, and search; "before" is what they find untuned.

        A ``spoil`` of the arm changes the captioned photos of the second stage.
        """

        def once(run: Run) -> tuple[Floats, Mapping[str, float], Mapping[str, Floats]]:
            start = self._start(run)
            result = self._hits(start if arm.system == BEFORE.system else self._tuned(arm, start, run), start)
            means = {name: float(v.mean()) for name, v in result.items()}
            return result[MAP], means, {name: result[name] for name in (MAP, BY_TEXT)}

        whole = over_seeds(once, self.run, self.seeds, draws=True)
        parts = {name: Measured(part.values, whole.others, whole.seeds) for name, part in whole.parts.items()}
        return Measured(whole.values, whole.others, whole.seeds, parts)

    def _start(self, run: Run) -> HeadSpace:
        if run.seed not in self._aligned:
            heads = NewHeads()(self.space, run)
            kit, rows = Kit({"main": heads}), Evidence(train=self.pairs)
            aligned = train_space(CLIPLoss(), kit, rows, FRESH, _quiet(run)).space
            assert isinstance(aligned, HeadSpace)  # a training keeps the kind
            self._aligned[run.seed] = aligned
        return self._aligned[run.seed]

    def _tuned(self, arm: Arm, start: HeadSpace, run: Run) -> HeadSpace:
        how, quiet = arm.system, _quiet(run)
        assert isinstance(how, Training)  # of a trial
        rows = how.rows(self.train, quiet) if how.rows else self.train
        pairs = arm.spoil(self.pairs, quiet) if arm.spoil else self.pairs
        evidence = Evidence(train=rows, auxiliary=pairs)
        tuned = train_space(how.method, Kit({"main": start}), evidence, how.fit or FIT, quiet).space
        assert isinstance(tuned, HeadSpace)  # a training keeps the kind
        return tuned

    def _hits(self, space: HeadSpace, start: HeadSpace) -> dict[str, Floats]:
        """Return the parts, zero-shot hits on the classes that were not trained, and how far vectors turned."""
        precision, hits = [], []
        for _, table, classes in self.unseen:
            x, names = _images(space, table), tuple(tidy(c) for c in classes)
            precision.append(class_precision(x.numpy(), table.labels()))
            head = text_head(space, ClassNames(names).prompts(), Run())
            hits.append((x @ head.T).argmax(1).numpy() == table.labels())
        captions = [tuple(texts) for texts in self.queries.columns["captions"].values]
        texts, owner = (
            [t for texts in captions for t in texts],
            np.repeat(range(len(captions)), list(map(len, captions))),
        )
        x, y = _images(space, self.queries), _texts(space, texts)
        ranks = first_ranks((y @ x.T).double().numpy(), owner[:, None] == np.arange(len(captions))[None])
        turned = [1 - (a * b).sum(1).numpy() for a, b in ((x, _images(start, self.queries)), (y, _texts(start, texts)))]
        return {
            MAP: np.concatenate(precision),
            BY_TEXT: np.bincount(owner, ranks <= K) / np.bincount(owner),  # captions of a photo are not independent
            "acc1": np.concatenate(hits).astype(np.float64),
            "image_drift": turned[0].astype(np.float64),
            "text_drift": turned[1].astype(np.float64),
        }


def open_search(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> SearchBench:
    """Open a labelled set, to which ``MORE`` are joined, and the captioned photos beside them; all splits are used."""
    data = [open_data(present(part)) for part in dict.fromkeys((name, *MORE))]
    whole = open_data(present(CAPTIONED, "captions.csv"), need="captions", text="caption_*")
    space = Headed(backbone)
    sets = tuple(LabelledSet(d.name, on_trunks(space, _joined(d), run), d.classes) for d in data)
    more = [open_data(present(other, "captions.csv"), need="captions", text="caption_*").whole() for other in SEARCHED]
    pairs, *held_out = (on_trunks(space, t, run) for t in (whole.split("train"), whole.split("val"), *more))
    captions = tuple(group for t in held_out for group in t.columns["captions"].values)
    searched = Table(Joined(tuple(t.items for t in held_out)), {"captions": Column("captions", captions)})
    prompts = [p for d in data for group in ClassNames(tuple(tidy(c) for c in d.classes)).prompts() for p in group]
    space.memory.learn(prompts, run)
    texts = [t for table in (pairs, searched) for group in table.columns["captions"].values for t in group]
    every: Any = Joined(tuple(t.items for t in (*(s.table for s in sets), pairs, searched)))
    facts = {
        "data_hash": hash_of_words(every, texts),
        "items": sum(len(s.part(False)) for s in sets),
        "train": sum(len(s.part(True)) for s in sets),
        "sets": {s.name: len(s.classes) for s in sets},
        "captioned": CAPTIONED,
        "captioned_train": len(pairs),
        "searched_beside": list(SEARCHED),
        "searched": len(searched),
        "trains": "linear heads on frozen towers",
    }
    return SearchBench(backbone, run, seeds, space, sets, pairs, searched, facts)


def pseudo_captions(space: Headed, items: Any, pairs: Table[Any]) -> list[tuple[str, ...]]:
    """Return the captions of other photos that the backbone's own heads find nearest to each of N photos."""
    texts = list(dict.fromkeys(t for texts in pairs.columns["captions"].values for t in texts))
    nearest = (_images(space, Table(items)) @ _texts(space, texts).T).topk(min(WRITTEN, len(texts)), dim=1).indices
    return [tuple(texts[i] for i in row) for row in nearest.tolist()]


def permuted_labels(table: Table[Any], run: Run) -> Table[Any]:
    """Return the table with the label of each photo given to another; captions stay."""
    labels = np.random.default_rng(run.integer("labels")).permutation(table.labels())
    return Table(table.items, {**table.columns, "label": Column("label", labels)})


def _joined(data: LabelledData) -> Table[Any]:
    tables = list(data.splits.values())
    labels = np.concatenate([t.labels() for t in tables])
    return Table(Joined(tuple(t.items for t in tables)), {"label": Column("label", labels)})


def _quiet(run: Run) -> Run:
    return Run(seed=run.seed, device=run.device, workers=0)


@torch.no_grad()
def _images(space: HeadSpace, table: Table[Any]) -> torch.Tensor:
    return normalize(space.image.encode(torch.stack([table.items[i] for i in range(len(table))])), dim=-1)


@torch.no_grad()
def _texts(space: HeadSpace, texts: list[str]) -> torch.Tensor:
    return normalize(space.text.encode(space.text.inputs(texts)), dim=-1)
