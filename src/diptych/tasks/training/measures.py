"""What a training is measured by, before, during and after it, and when it counts as collapsed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from diptych.core import Backbone, ClassNames, Collapsed, Diverged, Run, Space, Table, Texts
from diptych.data.labelled import LabelledData
from diptych.data.words.classnames import tidy
from diptych.features.embed import embed
from diptych.features.frozen import Headed, on_trunks
from diptych.features.heads import text_head
from diptych.features.pipeline import NotFinite
from diptych.features.vectors import Vectors
from diptych.metrics.retrieval import class_precision, group_ranks, recall_at
from diptych.metrics.spread import modality_gap, spread
from diptych.tasks.training.data import measured_split

COLLAPSE = 0.1
"""Share of the spread, and of what lies above chance, that must be left."""
ROUNDING = 1e-5
"""Spread of equal rows, which only rounding keeps from 0, at most."""
SURE = 2.0
"""Standard errors above chance from which on a measure can tell a collapse."""
SAMPLE = 512
"""Items on which the spread is measured."""
SEARCHED = 4096
"""Photos that search each other, at most."""
RANKED = 16_384
"""Rows with captions that search each other, at most: pairs are as many as their square."""
WATCHED = 1024
"""Rows of a data set that are measured during a training, at most."""

Measures = Mapping[str, Mapping[str, float]]
"""Data set -> metric -> value; "spread" and "gap" stand under the data trained on."""


@dataclass(frozen=True)
class Measuring:
    """The held-out rows of the data trained on, and of other data, with what measures them.

    Args:
        data: trained on; its split test, or else val, or else train is measured.
        classes: its classes with their prompts; None: captions are retrieved.
        elsewhere: labelled data of other tasks.
        templates: prompts of their classes.
        scratch: whether the training begins with random weights, whose spread and accuracy are no reference.
    """

    data: LabelledData
    classes: ClassNames | None
    elsewhere: Sequence[LabelledData]
    templates: Sequence[str]
    run: Run
    scratch: bool = False

    def __call__(self, backbone: Backbone) -> dict[str, dict[str, float]]:
        """Return data set -> metrics; of captioned rows at most ``RANKED``, spread evenly, are measured.

        They are acc1 where there are labels, recall where there are captions, and the data's own mAP of photos that
        search photos of their class, spread and gap; of images alone there is the spread of the images.
        """
        part = self.data.split(measured_split(self.data))
        out = {self.data.name: _metrics(backbone, part, self.classes, self.run, geometry=True)}
        for other in self.elsewhere:
            table = other.split(measured_split(other))
            out[other.name] = _metrics(backbone, table, self._names(other), self.run, geometry=False)
        return out

    def watching(self, space: Backbone) -> Measuring:
        """Return the same on few rows, and without a store, for measures of weights that will change.

        Args:
            space: what is trained; trunks of heads see the rows once, now.
        """
        few = [_few(other, space, self.run) for other in (self.data, *self.elsewhere)]
        for names in (self.classes, *map(self._names, self.elsewhere)):
            if isinstance(space, Headed) and names is not None:
                space.memory.learn([prompt for prompts in names.prompts() for prompt in prompts], self.run)
        return replace(self, data=few[0], elsewhere=few[1:], run=replace(self.run, cache=None))

    def refuse_collapse(self, before: Measures, after: Measures, when: str = "") -> None:
        """Raise where the embeddings have collapsed, or what was known before is at chance; ``when`` is " at step 100",
        for the message.

        Measures that were not ``SURE`` standard errors above chance before tell nothing, nor does the spread of one row
        or of equal ones. From scratch only embeddings that are all equal are refused.

        Raises:
            Collapsed: less than a tenth of the spread of images or texts is left, or of what accuracy or recall at 1
                lay above chance by.
        """
        data = self.data.name
        if self.scratch:
            for kind in (k for k in ("image_spread", "text_spread") if k in before[data]):
                if after[data][kind] <= ROUNDING < before[data][kind]:
                    raise Collapsed(
                        f"The {kind.split('_')[0]} embeddings collapsed{when}: all are equal. Train with a lower "
                        f"learning rate or larger batches."
                    )
            return
        for kind in (k for k in ("image_spread", "text_spread") if k in before[data]):
            if before[data][kind] > ROUNDING and after[data][kind] < COLLAPSE * before[data][kind]:
                raise Collapsed(
                    f"The {kind.split('_')[0]} embeddings collapsed{when}: their spread fell from "
                    f"{before[data][kind]:.3f} to {after[data][kind]:.3f}. Train with a lower learning rate, fewer "
                    f"steps or larger batches."
                )
        for name, metric, chance, rows in self._chances():
            was, now = before[name].get(metric, 0.0), after[name].get(metric, 0.0)
            error = float(np.sqrt(max(was * (1 - was), chance * (1 - chance)) / rows))
            if was > chance + SURE * error and now - chance < COLLAPSE * (was - chance):
                raise Collapsed(
                    f"What the backbone knew of {name} is gone{when}: {metric} fell from {was:.3f} to {now:.3f}, and "
                    f"chance is {chance:.3f}. Train with a lower learning rate or fewer steps, or with a method that "
                    f"keeps what was known, such as wise-ft."
                )

    def _chances(self) -> list[tuple[str, str, float, int]]:
        """Return (data set, metric, its value by chance, rows)."""
        every = [(self.data, self.classes), *((other, self._names(other)) for other in self.elsewhere)]
        chances = []
        for data, classes in every:
            table = _ranked(data.split(measured_split(data)))
            rows = max(1, len(table))
            if "captions" in table.columns:
                metrics = ("image_retrieval_recall@1", "text_retrieval_recall@1")
                chances += [(data.name, metric, 1 / rows, rows) for metric in metrics]
            elif classes is not None:
                chances.append((data.name, "acc1", 1 / len(classes), rows))
        return chances

    def _names(self, data: LabelledData) -> ClassNames:
        return ClassNames(tuple(tidy(c) for c in data.classes), tuple(self.templates))


def watcher(
    measuring: Measuring, space: Backbone, before: Measures, say: Callable[[str], None]
) -> Callable[[Space, int], Mapping[str, float]]:
    """Return the function that measures the weights of a step for the log, and says where they have collapsed.

    The training goes on, since a training from random weights contracts before it spreads.
    """
    few = measuring.watching(space)
    rows = [len(other.split(measured_split(other))) for other in (measuring.data, *measuring.elsewhere)]
    at_first = before if max(rows) <= WATCHED else few(space)
    lines: list[str] = []

    def watch(backbone: Space, step: int) -> Mapping[str, float]:
        if not isinstance(backbone, Backbone):
            return {}
        now = few(backbone)
        try:
            few.refuse_collapse(at_first, now, f" at step {step}")
        except Collapsed as error:
            if not lines:
                say(f"{error}")
            lines.append(str(error))
        return {f"{name}/{metric}": value for name, metrics in now.items() for metric, value in metrics.items()}

    return watch


def _few(data: LabelledData, space: Backbone, run: Run) -> LabelledData:
    table: Table[Any] = data.split(measured_split(data))
    rows = np.linspace(0, len(table) - 1, min(len(table), WATCHED)).astype(int).tolist()
    few = table if len(rows) == len(table) else table.take(rows)
    return replace(data, splits={"test": on_trunks(space, few, run) if isinstance(space, Headed) else few})


def _ranked(table: Table[Any]) -> Table[Any]:
    """Return at most ``RANKED`` rows where captions are retrieved, spread evenly over the table."""
    if "captions" not in table.columns or len(table) <= RANKED:
        return table
    return table.take(np.linspace(0, len(table) - 1, RANKED).astype(int).tolist())


def _finite(embedded: Callable[[], torch.Tensor], modality: str) -> torch.Tensor:
    """Return what is embedded by the weights of the training.

    Raises:
        Diverged: a vector is not finite. Losses are checked before each step, so the last step is seen here.
    """
    try:
        return embedded()
    except NotFinite as error:
        raise Diverged(
            f"The {modality} embeddings are not finite: train with a lower learning rate, or clip; if nothing was "
            f"trained yet, start from another backbone."
        ) from error


def _metrics(
    backbone: Backbone, table: Table[Any], classes: ClassNames | None, run: Run, *, geometry: bool
) -> dict[str, float]:
    if isinstance(backbone, Headed) and not isinstance(table.items, Vectors):
        table = on_trunks(backbone, table, run)  # so the towers see a photo once, before and after
    table = _ranked(table)
    x = normalize(_finite(lambda: embed(backbone.image, table.items, run), "image"), dim=-1)
    out: dict[str, float] = {}
    texts: torch.Tensor | None = None
    if "captions" in table.columns:
        captions = [tuple(c) for c in table.columns["captions"].values]
        flat = Texts(tuple(t for group in captions for t in group))
        texts = normalize(_finite(lambda: embed(backbone.text, flat, run), "text"), dim=-1)
        photos = np.arange(len(captions))
        owner = np.repeat(photos, [len(c) for c in captions])
        of_texts = group_ranks(texts.numpy(), x.numpy(), owner, photos)
        of_photos = group_ranks(x.numpy(), texts.numpy(), photos, owner)
        for k in (1, 5):
            out[f"image_retrieval_recall@{k}"] = recall_at(of_texts, k)
            out[f"text_retrieval_recall@{k}"] = recall_at(of_photos, k)
    elif classes is not None:
        texts = _finite(lambda: text_head(backbone, classes.prompts(), run), "text")
        out["acc1"] = float(((x @ texts.T).argmax(1).numpy() == table.labels()).mean())
    if geometry and "label" in table.columns:
        rows = np.linspace(0, len(x) - 1, min(len(x), SEARCHED)).astype(int)
        precisions = class_precision(x.numpy()[rows], table.labels()[rows])
        out |= {} if np.isnan(precisions).all() else {"image_to_image_map": float(np.nanmean(precisions))}
    if geometry:
        a = x[:SAMPLE].numpy()
        out["image_spread"] = spread(a)
        if texts is not None:
            b = texts[:SAMPLE].numpy()
            out |= {"text_spread": spread(b), "gap": modality_gap(a, b)}
    return out
