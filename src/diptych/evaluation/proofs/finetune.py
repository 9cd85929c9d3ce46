"""Proofs of fine-tuning: a backbone learns one set of classes; what does it know of it, and of others, afterwards?

"NAME" trains the heads over frozen towers, and asks for the photos of other sets. "towers:NAME" trains every weight,
and asks for composed
scenes: what ``tiny`` knows, and a backbone of which only heads move does not lose.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import normalize

from diptych.core.backbone import Backbone, Inputs
from diptych.core.data import ClassNames, Column, Evidence, Table
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.core.train import Recipe, everything
from diptych.data.classnames import tidy
from diptych.data.load import open_data
from diptych.data.named_sets import present
from diptych.data.scenes.captions import article
from diptych.data.scenes.compose import Scene, SceneRecipe, Scenes
from diptych.data.scenes.sprites import SpriteBank
from diptych.evaluation.proofs.own import OwnTrial, hash_of
from diptych.evaluation.proofs.pairs import Arm
from diptych.evaluation.proofs.pretrain import Comparison, PairTrial, Side
from diptych.features.frozen import Headed, head_names, on_trunks
from diptych.methods.finetune.full import Full
from diptych.methods.finetune.geodesic_mixup import GeodesicMixup
from diptych.methods.finetune.lora import LoRA
from diptych.methods.finetune.vr_lwf import VRLwF
from diptych.methods.finetune.wise_ft import WiSEFT
from diptych.metrics.interval import bootstrap_mean, one_sided_lower
from diptych.tasks.training_data import measured_split
from diptych.train.recipe import train_space
from diptych.train.schedule import Fit, Schedule

Floats = NDArray[np.float64]

FIT = Fit(lr=3e-4, batch=64, steps=200, decay=0.0, schedule=Schedule(warmup=20), log_every=50)
"""Settings of all heads, fixed before any result was seen; those that ``diptych finetune --parts heads`` takes."""
TOWERS = "towers:"
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


@dataclass(frozen=True)
class Tuning:
    """One way to fine-tune; None as a method is the backbone before.

    Args:
        method: a recipe.
        spoil: changes the rows or the kit.
    """

    method: Recipe | None
    spoil: Spoil | None = None


@dataclass(frozen=True)
class TaskTrial:
    """The proof of one recipe.

    Args:
        own: how it is trained.
        over: name and training that it must be above.
        where: "task" (its own unseen photos) or "others" (photos of other classes).
        and_over: a name and training that it must be above on the task too; None: it need not.
        controls: name -> a training that must not be above ``over``.
        beside: name -> a training that is reported.
    """

    own: Tuning
    over: tuple[str, Tuning]
    where: str
    controls: Mapping[str, Tuning]
    beside: Mapping[str, Tuning] = field(default_factory=dict)
    and_over: tuple[str, Tuning] | None = None
    metric: str = "acc1"

    def verdict(self, slug: str, name: str, backbone: Backbone, run: Run, seeds: Sequence[int]) -> dict[str, Any]:
        """Return hash, items, claim, controls and twins of one task; see ``OwnTrial``."""
        bench, seed = TaskBench(name, backbone, run, seeds), run.integer("bootstrap")
        own, over = bench.hits(self.own), bench.hits(self.over[1])
        claims = []
        for (title, base), where in ((self.over, self.where), *([(self.and_over, "task")] if self.and_over else [])):
            other = bench.hits(base)
            gain = one_sided_lower(own[where], other[where], seed)
            claim: dict[str, Any] = {"over": title, "variant": None, "shots": 0, "where": where, "gain": gain.value}
            claim |= {"gain_lower95": gain.low, "shown": gain.low > 0}
            claims.append({**claim, "method": _measured(own, where, seed), "baseline": _measured(other, where, seed)})
        about: dict[str, Any] = {"over": self.over[0], "variant": None, "shots": 0, "where": self.where}
        controls = []
        for kind, tuning in self.controls.items():
            spoiled = bench.hits(tuning)
            low = one_sided_lower(spoiled[self.where], over[self.where], seed)
            facts: dict[str, Any] = {
                **about,
                "name": kind,
                "gain": low.value,
                "gain_lower95": low.low,
                "failed": low.low <= 0,
            }
            controls.append({**facts, "control": _measured(spoiled, self.where, seed)})
        beside = []
        for kind, tuning in self.beside.items():
            twin = bench.hits(tuning)
            low = one_sided_lower(own[self.where], twin[self.where], seed)
            facts = {"name": kind, "shots": 0, "gain": low.value, "gain_lower95": low.low}
            beside.append({**facts, "twin": _measured(twin, self.where, seed)})
        sizes = {where: hits.shape[1] for where, hits in own.items()}
        facts = {
            "data_hash": bench.hash,
            "split": "test",
            "items": sizes[self.where],
            "sizes": sizes,
            "others": list(bench.others),
        }
        trains = ["all but the scale"] if bench.whole else sorted(bench.heads)
        return {**facts, "trains": trains, "claims": claims, "controls": controls, "beside": beside}


class TaskBench:
    """A task and other classes, as trunk vectors or as pictures, and what each training hit.

    Args:
        name: of the task: class folders, or "towers:" and these.
        backbone: which learns.
        run: device, cache and progress.
        seeds: of draws and orders.
    """

    def __init__(self, name: str, backbone: Backbone, run: Run, seeds: Sequence[int]) -> None:
        self.run, self.seeds, self.known = run, seeds, dict[int, tuple[Tuning, dict[str, Floats]]]()
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

    def _rows(self, table: Table[Any]) -> Table[Any]:
        return on_trunks(self.space, table, self.run) if isinstance(self.space, Headed) else table

    def _asked(self, table: Table[Any], names: ClassNames) -> Asked:
        if isinstance(self.space, Headed):
            self.space.memory.learn([p for row in names.prompts() for p in row], self.run)
        items, parts = self._rows(table).items, np.array_split(np.arange(len(table)), len(table) // 128 + 1)
        return [self.space.image.inputs([_picture(items[i]) for i in rows]) for rows in parts], table.labels(), names

    def hits(self, tuning: Tuning) -> dict[str, Floats]:
        """Return "task" and "others" -> (seeds, items) hits."""
        if id(tuning) not in self.known:
            rows = [
                self._hits(self._trained(tuning, replace(self.run, seed=s, workers=0, out=None))) for s in self.seeds
            ]
            self.known[id(tuning)] = tuning, {where: np.stack([r[where] for r in rows]) for where in self.asked}
        return self.known[id(tuning)][1]

    def _trained(self, tuning: Tuning, run: Run) -> Backbone:
        if tuning.method is None:
            return self.space
        rows, parts = tuning.spoil(self, tuning.method, self.train, run) if tuning.spoil else (self.train, {})
        kit = Kit({"main": self.space, **parts})
        fit, learns = (WHOLE, everything) if self.whole else (FIT, self.heads.__contains__)
        made = train_space(tuning.method, kit, Evidence(train=rows), fit, run, classes=self.classes, learns=learns)
        assert isinstance(made.space, Backbone)
        return made.space

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


def _measured(hits: Mapping[str, Floats], where: str, seed: int) -> dict[str, Any]:
    found = bootstrap_mean(hits[where], seed)
    return {
        "acc1": found.value,
        "ci95": [found.low, found.high],
        **{f"acc1_{w}": float(h.mean()) for w, h in hits.items()},
    }


BEFORE, FULL, WISE, VR = Tuning(None), Tuning(Full(smoothing=0.2)), Tuning(WiSEFT(smoothing=0.2)), Tuning(VRLwF())
TUNE = replace(FIT, batch=128, lr=1e-4)
PLAIN = Arm(GeodesicMixup(m2=0.0), TUNE, own_heads=True)
M2 = replace(PLAIN, method=GeodesicMixup())
M3 = replace(PLAIN, method=GeodesicMixup(**GeodesicMixup.card.variants["m3"]))
AT_TEXT = replace(PLAIN, method=GeodesicMixup(share=0.0))

TRIALS: Mapping[str, OwnTrial] = MappingProxyType(
    {
        "full": TaskTrial(
            FULL, ("zero-shot", BEFORE), "task", {"permuted labels": replace(FULL, spoil=shuffled_labels)}
        ),
        "lora": TaskTrial(
            Tuning(LoRA(smoothing=0.2)),
            ("zero-shot", BEFORE),
            "task",
            {"permuted labels": Tuning(LoRA(smoothing=0.2), shuffled_labels)},
            {"full": FULL},
        ),
        "wise-ft": TaskTrial(
            WISE,
            ("full", FULL),
            "others",
            {"alpha = 1": Tuning(WiSEFT(alpha=1.0, smoothing=0.2))},
            {"zero-shot": BEFORE},
            and_over=("zero-shot", BEFORE),
        ),
        "vr-lwf": TaskTrial(
            VR,
            ("full", FULL),
            "others",
            {
                "one sentence, no text term": Tuning(VRLwF(size=1, over_texts=False)),
                "random teacher": Tuning(VRLwF(), random_teacher),
            },
            {"lwf": Tuning(VRLwF(vocabulary="classes")), "wise-ft": WISE, "zero-shot": BEFORE},
        ),
        "geodesic-mixup": PairTrial(
            (Comparison("the same without mixtures", Side(M2), Side(PLAIN)),),
            (Comparison("the same without mixtures", Side(AT_TEXT), Side(PLAIN)),),
            {"m3": Comparison("the same without mixtures", Side(M3), Side(PLAIN))},
        ),
    }
)
