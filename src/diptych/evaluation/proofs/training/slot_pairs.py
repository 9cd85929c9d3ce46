"""The bench of region slots: what the slots of a decoder draw and name in unseen scenes, on frozen towers.

The slots of a scene are matched with its true boxes, as in the training, and a region is named right where its own
phrase is the nearest to its slot among those of all colours and shapes. Regions of one scene depend on each other, so
scenes are resampled.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn.functional import normalize
from torchvision.ops import box_iou

from diptych.core.backbone import Backbone
from diptych.core.data import Evidence, Table
from diptych.core.errors import NotAvailable
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.core.spec import Spec
from diptych.data.scenes.compose import SceneRecipe, Scenes
from diptych.data.scenes.tables import scene_data, scene_table
from diptych.data.words.sentences import article
from diptych.evaluation.arms import RATIOS, Arm, Floats, Measured, Statistic, over_seeds
from diptych.evaluation.boards.tune import Training
from diptych.evaluation.proofs.training.region_pairs import PLACELESS, Elsewhere
from diptych.features.stored_towers import StoredTowers, stored
from diptych.methods.pretrain.grain import GRAIN, matched
from diptych.metrics.ratio import counted
from diptych.nn.dense.region_slots import Slots, read_slots
from diptych.train.recipe import train_space
from diptych.train.schedule import Fit, Schedule

SAME_BOXES = "the same boxes for all scenes"
"""The arm that draws the centres of the seen boxes."""
IOU, ONE = "box_iou", "one_object"
"""Parts: IoU of matched slots with their boxes, and scenes of one object that the image slot names right."""
SCENES, SINGLE = SceneRecipe(objects=(2, 3)), SceneRecipe()
SIZES = {"train": 800, "test": 200}
FIT = Fit(lr=2e-3, batch=32, steps=300, decay=0.1, schedule=Schedule(warmup=30), clip=1.0, log_every=50)
FROZEN = ("visual.attn_pool.norm.",)
NEW = ("visual.attn_pool.", "visual.ln_post.", "visual.proj", "logit_scale")
SMALL = GRAIN.card.variants["small"]


class Decoder(nn.Module):
    """The trained part of a model with slots, under the names that it has there.

    Args:
        module: the model.
    """

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(module.logit_scale.detach().clone())
        self.visual = nn.Module()
        for name in ("attn_pool", "ln_post", "proj"):
            setattr(self.visual, name, copy.deepcopy(getattr(module.visual, name)))


class StoredSlots(StoredTowers):
    """Frozen towers that ran before, and a decoder of slots to train.

    Args:
        whole: the model with slots.
        module: its decoder; None: a copy.
        texts: as for ``StoredTowers``.
    """

    def __init__(
        self, whole: Backbone, module: nn.Module | None = None, texts: dict[str, Tensor] | None = None
    ) -> None:
        super().__init__(whole, module or Decoder(whole.module()), texts)

    def rebuild(self, module: nn.Module, spec: Spec) -> StoredSlots:
        """Return a space of the same towers with another decoder."""
        return StoredSlots(self.whole, module, self.texts)


class ImageAlone(GRAIN):
    """The twin whose slots learn from captions alone. Its image slot stands for each region: it names one a scene."""


def learns(name: str) -> bool:
    """Return whether a parameter belongs to the decoder: the towers are frozen."""
    return name.startswith(NEW) and not name.startswith(FROZEN)


@dataclass
class SlotBench:
    """Regions of unseen scenes, and unseen scenes of one object.

    Values are (R, P, 2): regions of each of P scenes, and how many of them are named right. The parts are "box_iou",
    which holds their IoUs instead, and "one_object", (R, M, 2) of M scenes of one region.

    Args:
        backbone: whose towers are frozen.
        run: device and seeds.
        seeds: of decoders and orders.
        train: scenes with "captions", "boxes" and "phrases".
        held: other such scenes.
        single: scenes of one object.
        names: phrases of all classes.
        fit: settings of the trainings.
        facts: of the data.
    """

    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    train: Table[Any]
    held: Table[Any]
    single: Table[Any]
    names: tuple[str, ...]
    fit: Fit = FIT
    facts: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "slot_accuracy"
    statistic: Statistic = RATIOS
    always: tuple[Arm, ...] = ()
    failed: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        self.texts: dict[str, Tensor] = {}
        self.words = normalize(StoredTowers(self.backbone, texts=self.texts).read(self.names), dim=-1)
        self.owner = torch.tensor([i for i, p in enumerate(self.held.columns["phrases"].values) for _ in p])
        self.read: list[tuple[Training, int, Slots, Tensor]] = []

    def measure(self, arm: Arm) -> Measured:
        """Train on the seen scenes, and read the slots of the others; or take an arm without training."""
        system = arm.system
        if system == SAME_BOXES:
            return over_seeds(self._same, self.run, self.seeds, draws=True)
        if system == PLACELESS:
            said = [np.array(p) for p in self.held.columns["phrases"].values]
            hits = np.concatenate([(p[:, None] == p).mean(1) for p in said])
            return over_seeds(lambda run: (self._counted(hits), {}), self.run, self.seeds, draws=False)
        if isinstance(system, Elsewhere):
            return over_seeds(
                lambda run: self._reached(system.how, run, elsewhere=True), self.run, self.seeds, draws=True
            )
        return over_seeds(lambda run: self._reached(system, run), self.run, self.seeds, draws=True)

    def _trained(self, how: Training, run: Run) -> tuple[Slots, Tensor]:
        """Return the slots of the unseen scenes and the image slots of those of one object; a seed is trained once."""
        for other, seed, slots, one in self.read:
            if (other, seed) == (how, run.seed):
                return slots, one
        quiet = replace(run, out=None, workers=0)
        rows = how.rows(self.train, quiet) if how.rows else self.train
        assert isinstance(how.method, GRAIN), "this bench is of slots"
        space = StoredSlots(how.method.slotted(self.backbone, quiet), texts=self.texts)
        kit, fit = Kit({"main": space}), how.fit or self.fit
        made = train_space(how.method, kit, Evidence(train=rows), fit, quiet, learns=learns)
        slots, one = self._slots(made.space, self.held), self._slots(made.space, self.single).image
        self.read.append((how, run.seed, slots, one))
        return slots, one

    def _reached(
        self, how: Training, run: Run, *, elsewhere: bool = False
    ) -> tuple[Floats, Mapping[str, float], Mapping[str, Floats]]:
        slots, one = self._trained(how, run)
        hits, ious = [], []
        for i in range(len(self.held)):
            boxes = torch.from_numpy(self.held.columns["boxes"].values[i].corners).float()
            boxes = boxes / torch.tensor(self.held.items[i].size * 2)
            slot = matched(slots.boxes[i], boxes)
            ious.append(box_iou(slots.boxes[i, slot], boxes).diagonal())
            asked = slot.roll(-1) if elsewhere else slot
            told = (
                slots.image[i].expand(len(boxes), -1) if isinstance(how.method, ImageAlone) else slots.regions[i, asked]
            )
            hits.append(self._right(told, self.held.columns["phrases"].values[i]))
        named = self._right(one, [p[0] for p in self.single.columns["phrases"].values])
        values = {IOU: torch.cat(ious).double().numpy(), ONE: named.double().numpy()}
        means = {name: float(part.mean()) for name, part in values.items()}
        parts = {IOU: self._counted(values[IOU]), ONE: counted(values[ONE], np.arange(len(named)), len(named))}
        return self._counted(torch.cat(hits).double().numpy()), means, parts

    def _counted(self, values: Floats) -> Floats:
        return counted(values, self.owner.numpy(), len(self.held))

    def _same(self, run: Run) -> tuple[Floats, Mapping[str, float], Mapping[str, Floats]]:
        """Draw the centres of the seen boxes, as many as there are slots, for every scene; names are chance."""
        size = SCENES.size
        seen = np.concatenate([v.corners for v in self.train.columns["boxes"].values]) / size
        found = KMeans(GRAIN().regions, n_init=1, random_state=run.integer("same boxes") % 2**31).fit(seen)
        centres = torch.from_numpy(found.cluster_centers_).float()
        ious = []
        for own in self.held.columns["boxes"].values:
            boxes = torch.from_numpy(own.corners).float() / size
            ious.append(box_iou(centres[matched(centres, boxes)], boxes).diagonal())
        iou = torch.cat(ious).double().numpy()
        chance = np.full(len(iou), 1 / len(self.names))
        return self._counted(chance), {IOU: float(iou.mean())}, {IOU: self._counted(iou)}

    @torch.no_grad()
    def _slots(self, space: Any, table: Table[Any]) -> Slots:
        starts = range(0, len(table), 64)
        parts = [
            read_slots(space, space.image.inputs([table.items[i] for i in range(s, min(s + 64, len(table)))]))
            for s in starts
        ]
        return Slots(*(torch.cat([getattr(p, name) for p in parts]) for name in ("image", "regions", "boxes")))

    def _right(self, z: Tensor, phrases: Any) -> Tensor:
        right = torch.tensor([self.names.index(p) for p in phrases])
        return (normalize(z, dim=-1) @ self.words.T).argmax(1).eq(right)


def open_slots(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> SlotBench:
    """Open composed scenes.

    Raises:
        NotAvailable: another name than "scenes".
    """
    if name != "scenes":
        raise NotAvailable(f"{name} is not here: this proof paints its data, which are called scenes.")
    data, bank = scene_data(SCENES, SIZES), SCENES.bank
    single = scene_table(Scenes(SINGLE, SIZES["test"], seed=1))
    names = tuple(article(f"{colour} {shape}") for colour in bank.colours for shape in bank.shapes)
    train, held, one = (stored(backbone, table, run) for table in (data.split("train"), data.split("test"), single))
    bench = SlotBench(backbone, run, seeds, train, held, one, names)
    regions = sum(len(p) for p in bench.held.columns["phrases"].values)
    sizes = {"items": regions, "train": len(bench.train), "pictures": len(bench.held), "one_object": len(single)}
    what = {"classes": len(names), "trains": "the decoder of slots on frozen towers, on composed scenes"}
    bench.facts = {"data_hash": data.hash, "split": "test", **sizes, **what}
    return bench
