"""What an objective or a recipe promises: a trained space of the same shape, and a trainee that workers can take."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

from diptych.backbones.changes.apply import changed
from diptych.backbones.language_space import LanguageSpace
from diptych.backbones.language_text import LanguageText
from diptych.backbones.sources.load import load
from diptych.backbones.sources.save import load_parts, save
from diptych.core import (
    ClassNames,
    Column,
    Evidence,
    Kit,
    MissingEvidence,
    Objective,
    Recipe,
    Row,
    Run,
    Table,
    Texts,
    Trained,
)
from diptych.data.formats.regions import boxes
from diptych.features.embed import embed
from diptych.nn.text.small_lm import SmallLM
from diptych.testing.backbones import small_clip
from diptych.testing.compare import same
from diptych.testing.exam import Exam, Fitting
from diptych.testing.harm import Harm, weight_harms
from diptych.testing.parts import Echo, random_diffusion
from diptych.testing.promise import faults, require
from diptych.train import recipe
from diptych.train.captioning import WordIds
from diptych.train.log import History, Position
from diptych.train.recipe import DECODER, WORDS, train_space
from diptych.train.schedule import Fit, Schedule

COLOURS = {
    "red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "white": (240, 240, 240),
    "black": (10, 10, 10),
}  # fmt: skip
ROWS, STEPS = 20, 2
FIT = Fit(lr=2e-3, batch=10, steps=STEPS, schedule=Schedule(warmup=5), clip=1.0)
LANGUAGE = "language_model"
"""Name of the kit's part with a language model whose states become vectors of texts."""


class Squares:
    """Noisy coloured squares of 32 x 32 pixels, the same for the same index.

    Args:
        rows: their number.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int) -> Image.Image:
        noise = np.random.default_rng(index).normal(0, 25, (32, 32, 3))
        return Image.fromarray((np.array(list(COLOURS.values()))[index % 5] + noise).clip(0, 255).astype(np.uint8))

    def key(self, index: int) -> str:
        """Return the index as a key."""
        return f"{index:064x}"

    def name(self, index: int) -> str:
        """Return the index."""
        return str(index)


def squares(rows: int = 40, shift: int = 0) -> Table[Image.Image]:
    """Return squares with two captions each, which name their colour, or that ``shift`` places further on."""
    names = list(COLOURS)
    words = [names[(i + shift * (i // 5)) % 5] for i in range(rows)]
    return Table(Squares(rows), {"captions": Column("captions", [(f"a {word} square", word) for word in words])})


def _word_ids(words: WordIds, texts: Any) -> list[list[int]]:
    return [[i for i in row if i] for row in words.ids(texts).tolist()]


def language_parts() -> dict[str, Any]:
    """Return small language models with random weights: a reader, a decoder, and the decoder's vocabulary."""
    words = WordIds.of([c for texts in squares(ROWS).columns["captions"].values for c in texts])
    with Run().seeded("decoder"):
        decoder = SmallLM(len(words), width=8, depth=1, heads=2, memory=12)
    with Run().seeded("language model"):
        reader = SmallLM(len(words), width=8, depth=1, heads=2)
    reads = LanguageText(reader, reader, partial(_word_ids, words), 0, "words")
    return {LANGUAGE: reads, DECODER: decoder, WORDS: words}


class TrainingExam(Exam):
    """Twenty coloured squares with captions, labels and boxes, a small CLIP, and small language models."""

    role = Recipe
    hookless = False
    clip = True

    def small_parts(self, backbone: Any) -> Mapping[str, Any]:
        """Return a writer, language models, and where the card asks for them a denoiser and a teacher."""
        needed = self.card.needs.parts
        more: dict[str, Any] = (
            {"diffusion": random_diffusion(self.placed(small_clip()))} if "TextDiffusion" in needed else {}
        )
        more |= {"teacher": self.placed(small_clip(embed_dim=20))} if "Backbone" in needed else {}
        return {"writer": Echo(), **language_parts(), **more}

    @cached_property
    def evidence(self) -> Evidence[Any]:
        """Squares with captions, labels and the boxes of their halves."""
        table = squares(ROWS)
        halves = boxes([[0, 0, 16, 32], [16, 0, 32, 32]], "xyxy", [-1, -1])
        more = {
            "label": Column("label", np.arange(ROWS) % 5),
            "boxes": Column("boxes", (halves,) * ROWS),
            "phrases": Column("captions", (("left", "right"),) * ROWS),
        }
        return Evidence(train=Table(table.items, {**table.columns, **more}))

    @property
    def labelled(self) -> tuple[Evidence[Any], ClassNames]:
        """The squares with labels alone, and the names of the classes."""
        rows = self.evidence.train
        assert rows is not None
        return Evidence(train=Table(rows.items, {"label": rows.columns["label"]})), ClassNames(
            tuple(COLOURS), ("a {} square",)
        )

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> Trained:
        """Return the trained space: on captions, or on labels where the recipe asks for class names."""
        try:
            return train_space(self.make(), kit, evidence, FIT, run)
        except MissingEvidence:
            if evidence.train is None:
                raise
            rows, names = self.labelled
            return train_space(self.make(), kit, rows, FIT, run, classes=names)

    def answer(self, fitted: Trained, run: Run) -> str:
        """Return the fingerprint of the trained space."""
        return fitted.space.fingerprint

    @cached_property
    def backbone(self) -> Any:
        """The small CLIP with its configuration, with which it can be written."""
        return self.placed(small_clip(whole=True))

    def what_is_fitted_can_be_saved(self) -> None:
        """The folder of a trained space, as ``pretrain`` and ``finetune`` write it, gives the same vectors, and the
        same tensors of the parts that were trained beside it.
        """
        trained: Trained = self.first.fitted
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            self.write(trained, path)
            again = self.read(path)
            parts = load_parts(path)
        require(same(self._vectors(again), self._vectors(trained)), "its vectors differ after saving and loading")
        before = {name: dict(part.state_dict()) for name, part in trained.parts.items()}
        require(same(parts, before), "the parts beside the space differ after saving and loading")

    def _vectors(self, trained: Trained) -> dict[str, Any]:
        """Return the vectors of the squares and of their captions."""
        rows, space, run = self.evidence.train, trained.space, self.run()
        assert rows is not None
        texts = Texts(tuple(dict.fromkeys(text for texts in rows.columns["captions"].values for text in texts)))
        items = {"image": rows.items, "text": texts}
        return {name: embed(space.encoders[name], items[name], run) for name in space.encoders if name in items}

    def write(self, fitted: Trained, path: Path) -> None:
        """Write a trained space with its parts."""
        save(fitted.space, path, fitted.parts)

    def read(self, path: Path) -> Trained:
        """Return the space of a folder."""
        return Trained(load(f"local:{path}", offline=True))

    def harms(self, path: Path) -> dict[str, Harm]:
        """Return what can go wrong with the weights of a folder."""
        return weight_harms(path)

    def check_answer(self, fitting: Fitting) -> None:
        """Raise where the space has another shape or the same weights, or its log is not whole and finite."""
        trained: Trained = fitting.fitted
        inner = trained.space.base if isinstance(trained.space, LanguageSpace) else trained.space
        start: Any = self.backbone
        for change in inner.spec.changes:
            start = changed(start, change.kind, **change.settings)
        shapes, before = ({n: t.shape for n, t in s.module().state_dict().items()} for s in (inner, start))
        steps = [r["step"] for r in trained.log]
        faults(
            (shapes == before, "the trained module has other tensors than the one that came in with its changes"),
            (
                trained.space.fingerprint != self.backbone.fingerprint,
                "nothing was trained: the fingerprint is the same",
            ),
            (not trained.space.module().training, "the space is in training mode: call module().eval()"),
            (steps == list(range(1, STEPS + 1)) * (len(steps) // STEPS), f"the log has the steps {steps}"),
            (all(np.isfinite(v) for r in trained.log for v in r.values()), "the log holds numbers that are not finite"),
        )

    def a_trainee_can_be_sent_to_a_new_process(self) -> None:
        """Worker processes that are not forked get a copy of the trainee that makes the same batches."""
        with patch.object(recipe, "train", _passed):
            self.fit(self.kit(), self.evidence, self.run())

    def missing_rows_are_named(self) -> None:
        """A training without rows is refused by an error."""
        self.refuses(lambda: train_space(self.make(), self.kit(), Evidence(), FIT, self.run()), MissingEvidence, "rows")

    def promises(self) -> dict[str, Callable[[], None]]:
        """Return the promises, without the evidence of the card: any of its fields may hold the rows."""
        return {n: p for n, p in super().promises().items() if n != "missing_evidence_is_named"}

    def role_promises(self) -> list[Callable[[], None]]:
        """Return the promises of trainings."""
        return [self.a_trainee_can_be_sent_to_a_new_process, self.missing_rows_are_named]

    def row_promises(self) -> list[Callable[[], None]]:
        """Return what each further row is asked: its trainee is another one."""
        return [self.inputs_are_not_written, self.a_trainee_can_be_sent_to_a_new_process]


def _passed(trainee: Any, data: Any, fit: Any, run: Run, **how: Any) -> History:
    """Train a copy of the trainee that went through a pickle for one batch's views, and the trainee for none."""
    data = data.take(range(4))
    copy = pickle.loads(pickle.dumps(trainee))
    rows = [Row(data.items[i], i, "", {n: c.values[i] for n, c in data.columns.items()}) for i in range(4)]
    views = [copy.views(row, torch.Generator().manual_seed(row.index)) for row in rows]
    require(copy.collate(views).keys() == trainee.collate(views).keys(), "a copy of the trainee makes other batches")
    return History(Position(), ())


EXAMS: Mapping[type[Any], type[Exam]] = {Objective: TrainingExam, Recipe: TrainingExam}
"""Role -> its exam."""
