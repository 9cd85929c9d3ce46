"""The bench of regions: what a prompter names in boxes of unseen pictures, on frozen towers that ran once.

On composed scenes of two or three objects, boxes and phrases are true, and a region is named right where its own phrase
is the nearest of those of all colours and shapes. Regions of one picture depend on each other, so pictures are
resampled. On ``coco_mini`` boxes are people's, phrases are class names, and
``lite`` takes the place of the backbone, since the small ViT knows no photos. Whole pictures, crops and pseudo-labels
are measured there, and no prompter is trained: 110 photos are too few, and one of Lite0's width is too slow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torchvision.ops import box_iou, roi_align

from diptych.backbones.mask_models.merged_cells import MergedCells
from diptych.backbones.sources.load import load
from diptych.core import Backbone, Column, Evidence, Kit, NotAvailable, Run, Table, UsageError
from diptych.data.formats.captioned import read_captioned
from diptych.data.formats.region_table import with_regions
from diptych.data.formats.regions import Boxes, framed
from diptych.data.named_sets import present
from diptych.data.rows import in_order, read_columns, text_of
from diptych.data.scenes.compose import SceneRecipe
from diptych.data.scenes.tables import scene_data
from diptych.data.words.sentences import article
from diptych.evaluation.arms import CHANCE, RATIOS, Arm, Floats, Measured, over_seeds
from diptych.evaluation.boards.tune import Training
from diptych.features.region_labels import RegionLabels, agreement
from diptych.features.whole_and_cells import whole_and_cells
from diptych.methods.pretrain.cloc import CLOC, PART
from diptych.metrics.ratio import counted
from diptych.nn.dense.prompter import Prompter
from diptych.train.recipe import train_space
from diptych.train.regions import VISIBLE
from diptych.train.schedule import Fit, Schedule
from proofs.benches.training.stored_towers import StoredTowers, stored
from proofs.trial import PlainBench, hash_of_words

IOU = "grounding_iou"
"""Part: IoU of a region's box with the one that the prompter draws for its phrase."""
PICTURE, CROP = "vector of the whole picture", "vector of the crop"
PLACELESS = "all names of the picture, without their places"
"""Arms without training. ``PLACELESS`` knows the phrases of a picture's regions, and draws one of them for each: what
names regions better has read where they are.
"""
SCENES = SceneRecipe(objects=(2, 3))
SIZES = {"train": 800, "test": 200}
FIT = Fit(lr=1e-3, batch=32, steps=150, decay=0.1, schedule=Schedule(warmup=15), clip=1.0, log_every=50)
LABELLED = 20
"""Photos whose pseudo-labels are compared with people's boxes."""


class Untold(Prompter):
    """A prompter that is told the whole picture, whatever the box."""

    def boxes(self, cells: Tensor, boxes: Tensor, owner: Tensor) -> Tensor:
        """Return the embeddings of the whole pictures."""
        return super().boxes(cells, torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(len(boxes), 4), owner)


class Aligned(Prompter):
    """RoI-align of the tokens, and the same projection."""

    def boxes(self, cells: Tensor, boxes: Tensor, owner: Tensor) -> Tensor:
        """Return the projected means of the tokens in boxes."""
        grid = torch.tensor([cells.shape[3], cells.shape[2]] * 2)
        rows = torch.cat([owner[:, None].to(boxes), boxes * grid], dim=1)
        pooled: Tensor = self.project(roi_align(cells, rows, 3, aligned=True).mean((2, 3)))
        return pooled


class UntoldCLOC(CLOC):
    """The twin that never sees where."""

    def prompter(self, width: int, dim: int) -> Prompter:
        """Return its prompter."""
        return Untold(width, dim, self.pool)


class AlignedCLOC(CLOC):
    """The twin without a prompter."""

    def prompter(self, width: int, dim: int) -> Prompter:
        """Return its RoI-align."""
        return Aligned(width, dim, self.pool)


@dataclass(frozen=True)
class Elsewhere:
    """The same trained system, asked about another region of the picture: what is lost is what the place was worth."""

    how: Training


def next_in_picture(owner: Tensor) -> Tensor:
    """Return (n,) the number of another region of the same picture for each region; its own where it is alone.

    Args:
        owner: (n,) number of the picture of each region; those of a picture stand together.
    """
    order = torch.arange(len(owner))
    for i in set(owner.tolist()):
        rows = (owner == i).nonzero()[:, 0]
        order[rows] = rows.roll(-1)
    return order


def permuted_boxes(table: Table[Any], run: Run) -> Table[Any]:
    """Return the table with the boxes of each picture permuted against its phrases."""
    rng = np.random.default_rng(run.integer("boxes"))
    values = []
    for row in table.columns["boxes"].values:
        order = rng.permutation(len(row.corners))
        values.append(Boxes(row.corners[order], row.labels[order], row.crowd[order]))
    return Table(table.items, {**table.columns, "boxes": Column("boxes", tuple(values))})


@dataclass
class FrozenBench(PlainBench):
    """Regions of unseen pictures, by what is trained on frozen towers that ran before.

    Values are (R, P, 2): regions of each of P pictures, and how many of them are named right.

    Args:
        train, held: stored pictures with "captions", "boxes" and "phrases".
        names: phrases of all classes.
        fit: settings of the trainings.
    """

    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    train: Table[Any]
    held: Table[Any]
    names: tuple[str, ...]
    fit: Fit
    facts: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    statistic = RATIOS
    owner: Tensor = field(init=False)
    words: Tensor = field(init=False)
    trainings: list[tuple[Training, int, Any]] = field(default_factory=list, init=False)

    def measure(self, arm: Arm) -> Measured:
        """Train on the seen pictures, or take an arm without training, and name the regions of the others."""
        how, elsewhere = (arm.system.how, True) if isinstance(arm.system, Elsewhere) else (arm.system, False)
        if isinstance(how, Training):
            return over_seeds(lambda run: self._reached(how, run, elsewhere), self.run, self.seeds, draws=True)
        values = self._counted(self._untrained(how))
        return over_seeds(lambda run: (values, {}), self.run, self.seeds, draws=False)

    def _once(self, how: Training, run: Run) -> Any:
        """Return what a training makes with the seed of a run, made once."""
        for other, seed, known in self.trainings:
            if (other, seed) == (how, run.seed):
                return known
        quiet = replace(run, out=None, workers=0)
        rows = Evidence(train=how.rows(self.train, quiet) if how.rows else self.train)
        self.trainings.append((how, run.seed, self._trained(how, rows, how.fit or self.fit, quiet)))
        return self.trainings[-1][2]

    def _counted(self, values: Floats) -> Floats:
        """Return (P, 2) numbers of regions, and sums of a value of each region."""
        return counted(values, self.owner.numpy(), len(self.held))

    def _right(self, z: Tensor, phrases: Sequence[str]) -> Floats:
        """Return (n,) 1.0 where the phrase nearest to an embedding is the region's own."""
        numbers = torch.tensor([self.names.index(p) for p in phrases])
        return (normalize(z, dim=-1) @ self.words.T).argmax(1).eq(numbers).double().numpy()

    def _untrained(self, system: Any) -> Floats:
        """Return (n,) how often each region is named right by an arm without training."""
        raise UsageError(f"Regions are not named by {system!r}: give a training, or one of the baselines.")

    def _trained(self, how: Training, rows: Evidence[Any], fit: Fit, run: Run) -> Any:
        raise NotImplementedError

    def _reached(
        self, how: Training, run: Run, elsewhere: bool
    ) -> tuple[Floats, Mapping[str, float], Mapping[str, Floats]]:
        """Return what a training reaches, or what it says of another region of the picture."""
        raise NotImplementedError


@dataclass
class RegionBench(FrozenBench):
    """Regions that a prompter is told.

    The part "grounding_iou" holds their IoUs; of arms without training it is absent.

    Args:
        pictures: the held-out pictures themselves.
    """

    fit: Fit = FIT
    space: StoredTowers = field(kw_only=True)
    pictures: Table[Any] = field(kw_only=True)
    metric: str = "region_accuracy"

    def __post_init__(self) -> None:
        seen = [self._visible(i) for i in range(len(self.held))]
        self.owner = torch.tensor([i for i, regions in enumerate(seen) for _ in regions])
        self.boxes = torch.tensor(np.array([box for regions in seen for box, _, _ in regions])).float()
        self.corners = [[corners for _, corners, _ in regions] for regions in seen]
        self.phrases = [phrase for regions in seen for _, _, phrase in regions]
        self.words = normalize(self.space.read(self.names), dim=-1)
        with torch.no_grad():
            x = self.space.image.inputs([self.held.items[i] for i in range(len(self.held))])
            self.whole, self.cells = whole_and_cells(self.space, x)

    def _visible(self, i: int) -> list[tuple[Any, Any, str]]:
        """Return the box, as shares of the tower's square, the corners in pixels, and the phrase of each region."""
        boxes_of, phrases = (self.held.columns[name].values[i] for name in ("boxes", "phrases"))
        boxes, share = framed(boxes_of.corners, self.held.items[i].size, self.space.spec.pixels)
        rows = [
            k for k in range(len(phrases)) if share[k] >= VISIBLE and not boxes_of.crowd[k] and phrases[k] in self.names
        ]
        return [(boxes[k], boxes_of.corners[k], phrases[k]) for k in rows]

    def _untrained(self, system: Any) -> Floats:
        if system == CHANCE:
            return np.full(len(self.phrases), 1 / len(self.names))
        if system == PLACELESS:
            numbers = torch.tensor([self.names.index(p) for p in self.phrases])
            same = self.owner[:, None] == self.owner
            return ((same & (numbers[:, None] == numbers)).sum(1) / same.sum(1)).double().numpy()
        if system in (PICTURE, CROP):
            return self._right(self.whole[self.owner] if system == PICTURE else self._crops(), self.phrases)
        return super()._untrained(system)

    def _trained(self, how: Training, rows: Evidence[Any], fit: Fit, run: Run) -> Prompter:
        head = train_space(how.method, Kit({"main": self.space}), rows, fit, run).parts[PART]
        assert isinstance(head, Prompter)
        return head.eval()

    def _reached(
        self, how: Training, run: Run, elsewhere: bool
    ) -> tuple[Floats, Mapping[str, float], Mapping[str, Floats]]:
        prompter: Prompter = self._once(how, run)
        boxes = self.boxes[next_in_picture(self.owner)] if elsewhere else self.boxes
        numbers = torch.tensor([self.names.index(p) for p in self.phrases])
        with torch.no_grad():
            z = prompter.boxes(self.cells, boxes, self.owner)
            shown = prompter.grounded(self.cells, self.words[numbers], self.owner)
        nearest = torch.cat([shown[:, :2].minimum(shown[:, 2:]), shown[:, :2].maximum(shown[:, 2:])], dim=1)
        iou = box_iou(nearest, self.boxes).diagonal().double().numpy()
        return self._counted(self._right(z, self.phrases)), {IOU: float(iou.mean())}, {IOU: self._counted(iou)}

    @torch.no_grad()
    def _crops(self) -> Tensor:
        image, crops = self.space.whole.image, []
        for i, every in enumerate(self.corners):
            picture = self.pictures.items[i].convert("RGB")
            crops += [picture.crop(tuple(np.round(corners).astype(int).tolist())) for corners in every]
        return torch.cat([image.encode(image.inputs(crops[k : k + 64])) for k in range(0, len(crops), 64)])


def open_regions(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> RegionBench:
    """Open pictures with regions: "scenes", or "coco_mini"."""
    if name.endswith("coco_mini"):
        return _open_photos(name, run, seeds)
    if name != "scenes":
        raise NotAvailable(f"{name} is not here: this proof paints scenes, or reads coco_mini.")
    data = scene_data(SCENES, SIZES)
    parts, names = (data.split("train"), data.split("test")), scene_names(SCENES)
    return _opened(backbone, run, seeds, parts, names, data.hash, "a prompter on frozen towers, on composed scenes")


def scene_names(recipe: SceneRecipe) -> tuple[str, ...]:
    """Return the names of all pairs of colour and shape."""
    return tuple(article(f"{colour} {shape}") for colour in recipe.bank.colours for shape in recipe.bank.shapes)


def _open_photos(name: str, run: Run, seeds: tuple[int, ...]) -> RegionBench:
    folder, backbone = present(name, "captions.csv"), load("lite")
    boxes = folder / "instances.csv"
    data = with_regions(read_captioned(folder / "captions.csv", text="caption_*"), boxes)
    table = next(iter(data.splits.values()))
    classes = in_order({text_of(v) for v in read_columns(boxes)["category"]})
    cut = len(table) * 3 // 4
    parts = table.take(range(cut)), table.take(range(cut, len(table)))
    few = table.take(range(LABELLED))
    labelled = RegionLabels().of(few, backbone, MergedCells(), run)
    agreed = agreement(labelled, list(few.columns["boxes"].values), classes)
    counted = sum(len(p) for p in labelled.columns["phrases"].values)
    quality: dict[str, float] = {"photos": LABELLED, "regions": counted, "that_name_a_class": len(agreed["right"])}
    quality |= {key: float(values.mean()) for key, values in agreed.items()}
    digest = hash_of_words(table.items, [p for texts in table.columns["phrases"].values for p in texts])
    names = tuple(article(c) for c in classes)
    bench = _opened(backbone, run, seeds, parts, names, digest, "a prompter on frozen towers")
    bench.facts = {**bench.facts, "on": "lite", "pseudo_labels": quality}
    return bench


def _opened(
    backbone: Backbone, run: Run, seeds: tuple[int, ...], parts: Sequence[Table[Any]], names: tuple[str, ...],
    digest: str, trains: str,
) -> RegionBench:  # fmt: skip
    train, held = (stored(backbone, part, run) for part in parts)
    bench = RegionBench(backbone, run, seeds, train, held, names, space=StoredTowers(backbone), pictures=parts[1])
    sizes = {"items": len(bench.phrases), "train": len(train), "pictures": len(held)}
    bench.facts = {"data_hash": digest, "split": "test", **sizes, "classes": len(names), "trains": trains}
    return bench
