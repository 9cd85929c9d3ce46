"""Extenders on samples with one text each, such as clips: how many held-out ones are named rightly, beside a space that
is not trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from diptych import catalog
from diptych.core import (
    Backbone,
    ClassNames,
    Column,
    DataError,
    Evidence,
    Extender,
    FittedClassifier,
    Kit,
    MissingEvidence,
    Run,
    Samples,
    Space,
    Table,
    Texts,
    UnreadableItem,
    UsageError,
)
from diptych.data.joined import Joined
from diptych.data.labelled import LabelledData
from diptych.data.load import refuse_one_class
from diptych.data.modalities import CLIPS, Modality, modality
from diptych.evaluation.arms import CHANCE, MEANS, Arm, Floats, Loaded, Measured, Statistic, over_seeds
from diptych.evaluation.few_shot.inputs import readable_hash
from diptych.features.artefacts import About
from diptych.features.clips import ClipEncoder, ClipSpace, PooledFrames, image_head
from diptych.features.derived_space import ConditionedSpace, LabelledSpace
from diptych.features.embed import embed
from diptych.features.modality_space import ModalitySpace
from diptych.tasks.defaults import DEFAULTS
from diptych.tasks.extend import with_classes
from diptych.tasks.extenders import readable, with_texts
from diptych.tasks.fitted_space import for_classes, read


@dataclass(frozen=True)
class ClipTest:
    """Clips, each of which is to be given one of the same texts.

    Args:
        items: N clips.
        texts: K different texts.
        answers: (N,) number of the right text of each clip.
    """

    items: Samples[Any]
    texts: tuple[str, ...]
    answers: NDArray[np.int64]

    @classmethod
    def of(cls, table: Table[Any]) -> ClipTest:
        """Ask for the texts of a table's column "captions", in the order in which they first occur."""
        captions = list(table.columns["captions"].values)
        texts = tuple(dict.fromkeys(captions))
        return cls(table.items, texts, np.array([texts.index(text) for text in captions], dtype=np.int64))


@dataclass(frozen=True)
class ClipData:
    """Clips to learn from, and clips to test on.

    Args:
        train: clips, or samples of another modality, with a column "captions", one text each.
        tests: part of a measuring -> clips; those of a part that choose among different texts stand apart. "" is the
            metric.
        unlabelled: what systems that need no labels learn from beside the train clips.
    """

    train: Table[Any]
    tests: Mapping[str, Sequence[ClipTest]]
    facts: Mapping[str, Any] = field(default_factory=dict)
    unlabelled: Samples[Any] | None = None


@dataclass(frozen=True)
class ExtendBench:
    """How extenders are measured.

    Args:
        data: clips, all readable.
        frames: T looked at in each clip, by rows of the catalog.
        failed: clips that cannot be read, and are not among the data.
        samples: name of the modality.
        classes: with one prompt each, in the order of the labels; None: what was fitted before is not measured.
    """

    data: ClipData
    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    frames: int
    failed: tuple[UnreadableItem, ...] = ()
    metric: str = "acc1"
    statistic: Statistic = MEANS
    always: tuple[Arm, ...] = (Arm(DEFAULTS["untrained clips"]),)
    samples: str = CLIPS.name
    classes: ClassNames | None = None
    pooled: dict[tuple[int, int], Tensor] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def open(
        cls,
        data: LabelledData,
        classes: ClassNames,
        backbone: Backbone,
        run: Run,
        seeds: tuple[int, ...],
        frames: int,
        kind: Modality = CLIPS,
    ) -> ExtendBench:
        """Leave out samples that cannot be read; test, or else val, is measured.

        Raises:
            DataError: there is no test and no val, all clips are of one class, or none of a split can be read.
        """
        refuse_one_class(data, data.name)
        split = next((name for name in ("test", "val") if name in data.splits), "")
        if not split:
            raise DataError(f"{data.name} has no test and no val {kind.name}: give folders test/CLASS.")
        (train, broken), (test, more) = (readable(data.split(s), kind) for s in ("train", split))
        facts = {"dataset": data.name, "data_hash": readable_hash(data), "split": split, "frames": frames}
        facts |= {"items": len(test), kind.name: len(train)}
        texts, rest = tuple(prompts[0] for prompts in classes.prompts()), data.splits.get("unlabelled")
        unlabelled = None if rest is None else readable(rest, kind)[0].items
        tests = {"": (ClipTest(test.items, texts, test.labels()),)}
        base = Arm(DEFAULTS.get(f"untrained {kind.name}", CHANCE))
        return cls(
            ClipData(with_texts(train, classes), tests, facts, unlabelled), backbone, run, seeds, frames, broken + more,
            always=(base,), samples=kind.name, classes=classes,
        )  # fmt: skip

    @property
    def facts(self) -> Mapping[str, Any]:
        """Name, hash and sizes."""
        return self.data.facts

    def measure(self, arm: Arm) -> Measured:
        """Fit on the train clips, or on ``arm.shots`` of them a text, and name the others.

        What spoils an arm changes the clips that are learnt from, or those that are tested on where nothing is learnt.
        """
        if arm.loaded is not None:
            return self._loaded(arm.loaded)
        method = None if arm.system == CHANCE else self._method(arm)
        if method is not None and method.samples != self.samples:
            raise MissingEvidence(f"{method.card.name} takes {method.samples}, and these are {self.samples}.")
        trains = method is not None and method.card.trains != "nothing"

        def once(run: Run) -> tuple[Floats, Mapping[str, float], Mapping[str, Floats]]:
            tests, space = self.data.tests, None
            if method is not None:
                train = shots(self.data.train, arm.shots, run) if arm.shots else self.data.train
                if arm.spoil and trains:
                    train = arm.spoil(train, run)
                elif arm.spoil:
                    tests = {part: [arm.spoil(test, run) for test in members] for part, members in tests.items()}
                space = self._fitted(method, train, run)
            heads = isinstance(space, ClipSpace) and getattr(method, "tunes", "") == "heads"
            hits = {
                part: np.concatenate([self._hits(space, a, run, heads) for a in members])
                for part, members in tests.items()
            }
            return hits[""], {}, {part: values for part, values in hits.items() if part}

        draws = bool(arm.spoil) or (method is not None and method.card.seeded)
        return over_seeds(once, self.run, self.seeds, draws=draws)

    def read(self, folder: Path, about: About) -> FittedClassifier:
        """Return the space of a folder, with the classes of the data.

        Raises:
            UsageError: it was fitted round another backbone, takes other samples or frames, or knows other classes.
        """
        assert self.classes is not None, "benches of proofs hold samples without labels"
        fitted = read(folder, self.backbone)
        if fitted.frames not in (0, self.frames):
            raise UsageError(
                f"{folder} looks at {fitted.frames} frames per clip, and the board at {self.frames}: give {{frames}} "
                f"{fitted.frames}."
            )
        name = str(self.facts.get("dataset", "the data"))
        return for_classes(fitted, folder, modality(self.samples), self.classes, name)

    def _loaded(self, loaded: Loaded) -> Measured:
        """Measure a space that was fitted before; nothing is drawn."""
        (test,) = self.data.tests[""]

        def once(run: Run) -> tuple[Floats, Mapping[str, float]]:
            named = loaded.fitted.scores(test.items, run).predicted().numpy()
            return np.asarray(named == test.answers, dtype=np.float64), {}

        return over_seeds(once, self.run, self.seeds, draws=False)

    def _fitted(self, method: Extender, train: Table[Any], run: Run) -> Space:
        """Fit a system; one whose space has no texts learns classes from labels, in the order of the texts."""
        unlabelled: Samples[Any] | None = None
        if "unlabelled" in method.card.needs.evidence:
            rest = self.data.unlabelled
            unlabelled = Joined((train.items,) if rest is None else (train.items, rest))
        space = method.fit(Kit({"main": self.backbone}), Evidence(train=train, unlabelled=unlabelled), run)
        if "text" in space.encoders:
            return space
        texts = self.data.tests[""][0].texts
        labels = np.array([texts.index(text) for text in train.columns["captions"].values], dtype=np.int64)
        return with_classes(method, space, Table(train.items, {"label": Column("label", labels)}), len(texts), run)

    def _method(self, arm: Arm) -> Extender:
        """Return the system; rows of the catalog look at as many frames per clip as all others."""
        row: Any = arm.system
        if isinstance(row, str):
            row = catalog.row(catalog.find(row, Extender), arm.variant)
            row = replace(row, frames=self.frames) if "frames" in {f.name for f in fields(row)} else row
        assert isinstance(row, Extender)
        return row

    def _hits(self, space: Any, test: ClipTest, run: Run, heads: bool) -> Floats:
        """Return (N,) 1.0 where the nearest text, the first of equals, is the clip's own; without a space, chance."""
        if space is None:
            return np.full(len(test.items), 1 / len(test.texts))
        if isinstance(space, ConditionedSpace):
            nearest = space.cosines(test.items, test.texts, run).argmax(1).numpy()
            return np.asarray(nearest == test.answers, dtype=np.float64)
        if isinstance(space, LabelledSpace):
            encoder = space.encoders[space.labelled]
            chosen = space.class_logits(embed(encoder, test.items, run)).argmax(1).numpy()
            return np.asarray(chosen == test.answers, dtype=np.float64)
        space = ModalitySpace(space, modality(self.samples)) if not isinstance(space, Backbone) else space
        v = self._reprojected(space, test.items, run) if heads else embed(space.image, test.items, run)
        w = normalize(embed(space.text, Texts(test.texts), run), dim=-1)
        return np.asarray((normalize(v, dim=-1) @ w.T).argmax(1).numpy() == test.answers, dtype=np.float64)

    def _reprojected(self, space: Any, items: Samples[Any], run: Run) -> Tensor:
        """Return (N, D) embeddings by trained heads, which leave what stands before the pooling as it was: the towers
        see each clip once for all trainings.
        """
        key = id(items), space.frames
        if key not in self.pooled:
            pool, _ = image_head(self.backbone)
            side = self.backbone.image.size or 0
            with torch.no_grad():
                width = pool(torch.zeros(1, 3, side, side)).shape[1]
            cut = PooledFrames(pool, ClipEncoder(self.backbone.image, space.frames), width)
            self.pooled[key] = torch.unflatten(embed(cut, items, run), 1, (space.frames, -1))
        with torch.no_grad():
            return image_head(space.base)[1](self.pooled[key]).float().mean(1).cpu()


def shots(table: Table[Any], count: int, run: Run) -> Table[Any]:
    """Return ``count`` clips per text, drawn by the run."""
    texts = np.array(table.columns["captions"].values)
    rng = np.random.default_rng(run.integer("shots"))
    drawn = [rng.permutation(np.flatnonzero(texts == text))[:count] for text in dict.fromkeys(texts.tolist())]
    return table.take(np.concatenate(drawn).tolist())
