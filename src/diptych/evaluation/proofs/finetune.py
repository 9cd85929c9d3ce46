"""Proofs of fine-tuning: a backbone learns one set of classes; what does it know of it, and of others, afterwards?

"NAME" trains the heads over frozen towers, and asks for the photos of other sets. "towers:NAME" trains every weight,
and asks for composed
scenes: what ``tiny`` knows, and a backbone of which only heads move does not lose.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import normalize

from diptych.core.backbone import Backbone, Inputs
from diptych.core.data import ClassNames, Column, Evidence, Table
from diptych.core.errors import UnreadableItem
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.core.train import Recipe, everything
from diptych.data.classnames import tidy
from diptych.data.load import open_data
from diptych.data.named_sets import present
from diptych.data.scenes.captions import article
from diptych.data.scenes.compose import Scene, SceneRecipe, Scenes
from diptych.data.scenes.sprites import SpriteBank
from diptych.evaluation.arms import MEANS, Arm, Measured, Statistic
from diptych.evaluation.proofs.pairs import PairBench, Training
from diptych.evaluation.proofs.trial import Claim, Trial, hash_of
from diptych.features.frozen import Headed, head_names, on_trunks
from diptych.methods.finetune.full import Full
from diptych.methods.finetune.geodesic_mixup import GeodesicMixup
from diptych.methods.finetune.lora import LoRA
from diptych.methods.finetune.vr_lwf import VRLwF
from diptych.methods.finetune.wise_ft import WiSEFT
from diptych.tasks.training_data import measured_split
from diptych.train.recipe import train_space
from diptych.train.schedule import Fit, Schedule

Floats = NDArray[np.float64]

FIT = Fit(lr=3e-4, batch=64, steps=200, decay=0.0, schedule=Schedule(warmup=20), log_every=50)
"""Settings of all heads, fixed before any result was seen; those that ``diptych finetune --parts heads`` takes."""
TOWERS, BEFORE = "towers:", "before"
WHOLE = replace(FIT, lr=1e-4, steps=60)
"""Settings of whole towers, fixed before any result was seen: 8 passes over 500 photos."""
OTHERS = ("caltech40", "cifar10_small")
"""Photos of other classes, on which forgetting is measured where heads learn."""
SCENES, SCENE_SEED = 500, 1_000_003
"""Composed scenes, on which it is measured where towers learn; the seed is apart from every training seed."""
TEMPLATE = "a photo of a {}."

Asked = tuple[list[Inputs], NDArray[np.int64], ClassNames]
"""Batches of pictures as the image encoder reads them, their labels and names."""
Spoil = Callable[["TaskBench", Recipe, Table[Any], Run], tuple[Table[Any], Mapping[str, Any]]]


def shuffled_labels(
    bench: TaskBench, method: Recipe, rows: Table[Any], run: Run
) -> tuple[Table[Any], Mapping[str, Any]]:
    """Permute the labels of the training rows."""
    labels = np.random.default_rng(run.integer("labels")).permutation(rows.labels())
    return Table(rows.items, {"label": Column("label", labels)}), {}


def random_teacher(
    bench: TaskBench, method: Recipe, rows: Table[Any], run: Run
) -> tuple[Table[Any], Mapping[str, Any]]:
    """Give the recipe a teacher whose heads are drawn at random."""
    import copy

    module = copy.deepcopy(bench.space.module())
    g = run.generator("teacher")
    with torch.no_grad():
        for name, p in module.named_parameters():
            if name in bench.heads:
                p.copy_(torch.randn(p.shape, generator=g) * p.std(unbiased=False) + p.mean())
    return rows, {"teacher": bench.space.rebuild(module, bench.space.spec)}


class TaskBench:
    """A task and other classes, as trunk vectors or as pictures, and what each training hits.

    The system of an arm is a recipe, or ``BEFORE``: the backbone as it was. Parts are "task" (its own unseen photos)
    and "others" (photos of other classes).

    Args:
        name: of the task: class folders, or "towers:" and these.
        backbone: which learns.
        run: device, cache and progress.
        seeds: of draws and orders.
        where: the part that is the metric.
    """

    metric = "acc1"
    statistic: Statistic = MEANS
    always: tuple[Arm, ...] = ()
    failed: tuple[UnreadableItem, ...] = ()

    def __init__(self, name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...], *, where: str = "task") -> None:
        self.backbone, self.run, self.seeds, self.where = backbone, run, seeds, where
        self.whole = name.startswith(TOWERS)
        task = open_data(present(name.removeprefix(TOWERS)))
        self.heads = head_names(backbone)
        self.others = ("composed scenes",) if self.whole else OTHERS
        self.space = backbone if self.whole else Headed(backbone)
        self.classes = ClassNames(tuple(tidy(c) for c in task.classes), (TEMPLATE,))
        self.train = self._rows(task.split("train"))
        self.asked = {"task": [self._asked(task.split(measured_split(task)), self.classes)], "others": list[Asked]()}
        digest = hashlib.sha256(task.hash.encode())
        if self.whole:
            scenes, names = _scenes()
            digest.update(hash_of(scenes.items).encode())
            self.asked["others"].append(self._asked(scenes, names))
        for other in () if self.whole else OTHERS:
            data = open_data(present(other))
            digest.update(data.hash.encode())
            self.asked["others"].append(
                self._asked(
                    data.split(measured_split(data)), ClassNames(tuple(tidy(c) for c in data.classes), (TEMPLATE,))
                )
            )
        self.hash = digest.hexdigest()

    @property
    def facts(self) -> Mapping[str, Any]:
        """Hash, sizes, what is measured, and what is trained."""
        sizes = {where: sum(len(labels) for _, labels, _ in sets) for where, sets in self.asked.items()}
        about = {"data_hash": self.hash, "split": "test", "items": sizes[self.where], "where": self.where}
        trains = ["all but the scale"] if self.whole else sorted(self.heads)
        return {**about, "sizes": sizes, "others": list(self.others), "trains": trains}

    def _rows(self, table: Table[Any]) -> Table[Any]:
        return on_trunks(self.space, table, self.run) if isinstance(self.space, Headed) else table

    def _asked(self, table: Table[Any], names: ClassNames) -> Asked:
        if isinstance(self.space, Headed):
            self.space.memory.learn([p for row in names.prompts() for p in row], self.run)
        items, parts = self._rows(table).items, np.array_split(np.arange(len(table)), len(table) // 128 + 1)
        return [self.space.image.inputs([_picture(items[i]) for i in rows]) for rows in parts], table.labels(), names

    def measure(self, arm: Arm) -> Measured:
        """Train once a seed, and name the photos of the task and of the others."""
        rows = [self._hits(self._trained(arm, replace(self.run, seed=s, workers=0, out=None))) for s in self.seeds]
        hits = {where: np.stack([row[where] for row in rows]) for where in self.asked}
        others = {f"acc1_{where}": float(values.mean()) for where, values in hits.items()}
        parts = {where: Measured(values, others, self.seeds) for where, values in hits.items()}
        return replace(parts[self.where], parts=parts)

    def _trained(self, arm: Arm, run: Run) -> Backbone:
        if arm.system == BEFORE:
            return self.space
        rows, parts = arm.spoil(self, arm.system, self.train, run) if arm.spoil else (self.train, {})
        kit = Kit({"main": self.space, **parts})
        fit, learns = (WHOLE, everything) if self.whole else (FIT, self.heads.__contains__)
        result = train_space(arm.system, kit, Evidence(train=rows), fit, run, classes=self.classes, learns=learns)
        assert isinstance(result.space, Backbone)
        return result.space

    @torch.inference_mode()
    def _hits(self, space: Backbone) -> dict[str, Floats]:
        out = {}
        for where, sets in self.asked.items():
            parts = []
            for batches, labels, names in sets:
                x = normalize(torch.cat([space.image.encode(batch) for batch in batches]), dim=-1)
                w = normalize(space.text.encode(space.text.inputs([p for own in names.prompts() for p in own])), dim=-1)
                parts.append((x @ w.T).argmax(1).numpy() == labels)
            out[where] = np.concatenate(parts).astype(np.float64)
        return out


def _picture(item: Any) -> Any:
    return Image.fromarray(item.image) if isinstance(item, Scene) else item


def _scenes() -> tuple[Table[Any], ClassNames]:
    """Return one coloured shape a picture, and the names of all pairs of colour and shape."""
    bank = SpriteBank()
    drawn, pairs = Scenes(SceneRecipe(bank), SCENES, SCENE_SEED), bank.combinations()
    objects = [drawn[i].objects[0] for i in range(SCENES)]
    labels = np.array([pairs.index((o.colour or "", o.noun)) for o in objects])
    names = ClassNames(tuple(article(f"{colour} {shape}") for colour, shape in pairs), ("a photo of {}.",))
    return Table(drawn, {"label": Column("label", labels)}), names


FULL, WISE = Arm(Full(smoothing=0.2)), Arm(WiSEFT(smoothing=0.2))
LORA, VR = Arm(LoRA(smoothing=0.2)), Arm(VRLwF())
OVER_BEFORE, OVER_FULL = Claim("zero-shot", base=Arm(BEFORE)), Claim("full", base=FULL)
TUNE = replace(FIT, batch=128, lr=1e-4)
PLAIN = Training(GeodesicMixup(m2=0.0), TUNE, own_heads=True)
M2, M3, AT_TEXT = (
    Arm(replace(PLAIN, method=GeodesicMixup(**settings)))
    for settings in ({}, GeodesicMixup.card.variants["m3"], {"share": 0.0})
)
OVER_PLAIN = Claim("the same without mixtures", base=Arm(PLAIN), part="recall_at_1")
_ON_OTHERS = partial(TaskBench, where="others")

TRIALS: Mapping[str, Trial] = MappingProxyType(
    {
        "full": Trial(
            (OVER_BEFORE,),
            own=FULL,
            controls=(replace(OVER_BEFORE, own=replace(FULL, spoil=shuffled_labels), name="permuted labels"),),
        ),
        "lora": Trial(
            (OVER_BEFORE,),
            own=LORA,
            controls=(replace(OVER_BEFORE, own=replace(LORA, spoil=shuffled_labels), name="permuted labels"),),
            beside={"full": FULL},
        ),
        "wise-ft": Trial(
            (OVER_FULL, replace(OVER_BEFORE, part="task")),
            own=WISE,
            controls=(replace(OVER_FULL, own=Arm(WiSEFT(alpha=1.0, smoothing=0.2)), name="alpha = 1"),),
            beside={"zero-shot": Arm(BEFORE)},
            bench=_ON_OTHERS,
        ),
        "vr-lwf": Trial(
            (OVER_FULL,),
            own=VR,
            controls=(
                replace(OVER_FULL, own=Arm(VRLwF(size=1, over_texts=False)), name="one sentence, no text term"),
                replace(OVER_FULL, own=replace(VR, spoil=random_teacher), name="random teacher"),
            ),
            beside={"lwf": Arm(VRLwF(vocabulary="classes")), "wise-ft": WISE, "zero-shot": Arm(BEFORE)},
            bench=_ON_OTHERS,
        ),
        "geodesic-mixup": Trial(
            (OVER_PLAIN,),
            own=M2,
            controls=(replace(OVER_PLAIN, own=AT_TEXT),),
            beside={"m3": replace(OVER_PLAIN, own=M3)},
            bench=PairBench,
        ),
    }
)
open_bench = TaskBench
