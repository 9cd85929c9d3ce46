"""The bench of region slots: what the slots of a decoder draw and name in unseen scenes, on frozen towers.

The slots of a scene are matched with its true boxes, as in the training, and a region is named right where its own
phrase is the nearest to its slot among those of all colours and shapes. Regions of one scene depend on each other, so
scenes are resampled.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.nn.functional import normalize
from torchvision.ops import box_iou

from diptych.core import Backbone, Evidence, Kit, Run, Spec, Table
from diptych.data.scenes.compose import SceneRecipe, Scenes
from diptych.data.scenes.tables import scene_data, scene_table
from diptych.evaluation.arms import Arm, Floats, Measured, over_seeds
from diptych.evaluation.boards.tune import Training
from diptych.methods.pretrain.grain import GRAIN
from diptych.metrics.ratio import counted
from diptych.nn.dense.region_losses import matched
from diptych.nn.dense.region_slots import Slots, read_slots
from diptych.train.recipe import train_space
from diptych.train.schedule import Fit, Schedule
from proofs.benches.training.region_pairs import PLACELESS, FrozenBench, scene_names
from proofs.benches.training.scene_pairs import only_scenes
from proofs.benches.training.stored_towers import StoredTowers, stored

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
    """The trained part of a model with slots, under the names that it has there."""

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
    """The twin whose slots learn from captions alone. Its image slot stands for each region: it names one per scene."""


def learns(name: str) -> bool:
    """Return whether a parameter belongs to the decoder: the towers are frozen."""
    return name.startswith(NEW) and not name.startswith(FROZEN)


@dataclass
class SlotBench(FrozenBench):
    """Regions of unseen scenes, and unseen scenes of one object.

    The parts are "box_iou", which holds the IoUs of the regions, and "one_object", (R, M, 2) of M scenes of one region.

    Args:
        single: scenes of one object.
    """

    fit: Fit = FIT
    single: Table[Any] = field(kw_only=True)
    metric: str = "slot_accuracy"

    def __post_init__(self) -> None:
        self.texts: dict[str, Tensor] = {}
        self.words = normalize(StoredTowers(self.backbone, texts=self.texts).read(self.names), dim=-1)
        self.phrases = self.held.columns["phrases"].values
        self.owner = torch.tensor([i for i, p in enumerate(self.phrases) for _ in p])

    def measure(self, arm: Arm) -> Measured:
        """Measure as any bench of regions, or the same boxes for all scenes."""
        if arm.system == SAME_BOXES:
            return over_seeds(self._same, self.run, self.seeds, draws=True)
        return super().measure(arm)

    def _untrained(self, system: Any) -> Floats:
        if system != PLACELESS:
            return super()._untrained(system)
        return np.concatenate([(p[:, None] == p).mean(1) for p in map(np.array, self.phrases)])

    def _trained(self, how: Training, rows: Evidence[Any], fit: Fit, run: Run) -> tuple[Slots, Tensor]:
        """Return the slots of the unseen scenes, and the image slots of those of one object."""
        assert isinstance(how.method, GRAIN), "this bench is of slots"
        kit = Kit({"main": StoredSlots(how.method.slotted(self.backbone, run), texts=self.texts)})
        space = train_space(how.method, kit, rows, fit, run, learns=learns).space
        return self._slots(space, self.held), self._slots(space, self.single).image

    def _reached(
        self, how: Training, run: Run, elsewhere: bool
    ) -> tuple[Floats, Mapping[str, float], Mapping[str, Floats]]:
        slots, one = self._once(how, run)
        hits, ious = [], []
        for i in range(len(self.held)):
            boxes = torch.from_numpy(self.held.columns["boxes"].values[i].corners).float()
            boxes = boxes / torch.tensor(self.held.items[i].size * 2)
            slot = matched(slots.boxes[i], boxes)
            ious.append(box_iou(slots.boxes[i, slot], boxes).diagonal())
            queried = slot.roll(-1) if elsewhere else slot
            alone = isinstance(how.method, ImageAlone)
            prompt = slots.image[i].expand(len(boxes), -1) if alone else slots.regions[i, queried]
            hits.append(self._right(prompt, self.phrases[i]))
        named = self._right(one, [p[0] for p in self.single.columns["phrases"].values])
        iou = torch.cat(ious).double().numpy()
        parts = {IOU: self._counted(iou), ONE: counted(named, np.arange(len(named)), len(named))}
        return self._counted(np.concatenate(hits)), {IOU: float(iou.mean()), ONE: float(named.mean())}, parts

    def _same(self, run: Run) -> tuple[Floats, Mapping[str, float], Mapping[str, Floats]]:
        """Draw the centres of the seen boxes, as many as there are slots, for every scene; names are chance."""
        size = SCENES.size
        seen = np.concatenate([v.corners for v in self.train.columns["boxes"].values]) / size
        clusters = KMeans(GRAIN().regions, n_init=1, random_state=run.integer("same boxes") % 2**31).fit(seen)
        centres = torch.from_numpy(clusters.cluster_centers_).float()
        ious = []
        for row in self.held.columns["boxes"].values:
            boxes = torch.from_numpy(row.corners).float() / size
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


def open_slots(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> SlotBench:
    """Open composed scenes."""
    only_scenes(name)
    data, single = scene_data(SCENES, SIZES), scene_table(Scenes(SINGLE, SIZES["test"], seed=1))
    train, held, one = (stored(backbone, table, run) for table in (data.split("train"), data.split("test"), single))
    bench = SlotBench(backbone, run, seeds, train, held, scene_names(SCENES), single=one)
    sizes = {"items": len(bench.owner), "train": len(train), "pictures": len(held), "one_object": len(single)}
    what = {"classes": len(bench.names), "trains": "the decoder of slots on frozen towers, on composed scenes"}
    bench.facts = {"data_hash": data.hash, "split": "test", **sizes, **what}
    return bench
