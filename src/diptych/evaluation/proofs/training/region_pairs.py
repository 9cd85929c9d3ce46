"""The bench of regions: what a prompter names in boxes of unseen pictures, on frozen towers that ran once.

On composed scenes of two or three objects, boxes and phrases are true, and a region is named right where its own phrase
is the nearest of those of all colours and shapes. Regions of one picture depend on each other, so pictures are
resampled. On ``coco_mini`` boxes are people's, phrases are class names, and
``lite`` takes the place of the backbone, since the small ViT knows no photos. Whole pictures, crops and pseudo-labels
are measured there, and no prompter is trained: 110 photos are too few, and one of Lite0's width is too slow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torchvision.ops import box_iou, roi_align

from diptych.backbones.mask_models.merged_cells import MergedCells
from diptych.backbones.sources.load import load
from diptych.core.backbone import Backbone
from diptych.core.data import Column, Evidence, Table
from diptych.core.errors import NotAvailable, UsageError
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.data.formats.captioned import read_captioned
from diptych.data.formats.region_table import with_regions
from diptych.data.formats.regions import Boxes, framed
from diptych.data.named_sets import present
from diptych.data.rows import in_order, read_columns, text_of
from diptych.data.scenes.compose import SceneRecipe
from diptych.data.scenes.tables import scene_data
from diptych.data.words.sentences import article
from diptych.evaluation.arms import CHANCE, RATIOS, Arm, Floats, Measured, Statistic, over_seeds
from diptych.evaluation.boards.tune import Training
from diptych.evaluation.proofs.trial import hash_of_words
from diptych.features.region_labels import RegionLabels, agreement
from diptych.features.stored_towers import StoredTowers, stored
from diptych.features.whole_and_cells import whole_and_cells
from diptych.methods.pretrain.cloc import CLOC, PART
from diptych.metrics.ratio import counted
from diptych.nn.dense.prompter import Prompter
from diptych.train.recipe import train_space
from diptych.train.regions import VISIBLE
from diptych.train.schedule import Fit, Schedule

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
        found: Tensor = roi_align(cells, rows, 3, aligned=True)
        out: Tensor = self.project(found.mean((2, 3)))
        return out


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
    """The same trained system, asked about another region of the picture: what is lost is what the place was worth.

    Args:
        how: its training.
    """

    how: Training


def next_in_picture(owner: Tensor) -> Tensor:
    """Return (n,) the number of another region of the same picture for each region; its own where it is alone.

    Args:
        owner: (n,) number of the picture of each region; those of a picture stand together.
    """
    order = torch.arange(len(owner))
    for i in owner.unique().tolist():  # type: ignore[no-untyped-call]
        rows = (owner == i).nonzero()[:, 0]
        order[rows] = rows.roll(-1)
    return order


def permuted_boxes(table: Table[Any], run: Run) -> Table[Any]:
    """Return the table with the boxes of each picture permuted against its phrases."""
    rng = np.random.default_rng(run.integer("boxes"))
    values = []
    for own in table.columns["boxes"].values:
        order = rng.permutation(len(own.corners))
        values.append(Boxes(own.corners[order], own.labels[order], own.crowd[order]))
    return Table(table.items, {**table.columns, "boxes": Column("boxes", tuple(values))})


@dataclass
class RegionBench:
    """Regions of unseen pictures.

    Values are (R, P, 2): regions of each of P pictures, and how many of them are named right. The part "grounding_iou"
    holds their IoUs instead; of arms without training it is absent.

    Args:
        backbone: of the report.
        run: device and seeds.
        seeds: of prompters, orders and draws.
        space: the frozen towers.
        train, held: stored pictures with "captions", "boxes" and "phrases".
        pictures: the held-out pictures themselves.
        names: phrases of all classes.
        fit: settings of the trainings.
        facts: of the data.
    """

    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    space: StoredTowers
    train: Table[Any]
    held: Table[Any]
    pictures: Table[Any]
    names: tuple[str, ...]
    fit: Fit = FIT
    facts: Mapping[str, Any] = field(default_factory=dict)
    metric: str = "region_accuracy"
    statistic: Statistic = RATIOS
    always: tuple[Arm, ...] = ()
    failed: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        regions = [
            (i, box, said)
            for i in range(len(self.held))
            for box, said in zip(*self._of(i), strict=True)
            if said in self.names
        ]
        self.owner = torch.tensor([i for i, _, _ in regions])
        self.boxes = torch.tensor(np.array([box for _, box, _ in regions])).float()
        self.right = torch.tensor([self.names.index(said) for _, _, said in regions])
        self.words = normalize(self.space.read(self.names), dim=-1)
        self.trained: list[tuple[Training, int, Prompter]] = []
        with torch.no_grad():
            x = self.space.image.inputs([self.held.items[i] for i in range(len(self.held))])
            self.whole, self.cells = whole_and_cells(self.space, x)

    def _of(self, i: int) -> tuple[Any, list[str]]:
        own, said = (self.held.columns[name].values[i] for name in ("boxes", "phrases"))
        corners, share = framed(own.corners, self.held.items[i].size, self.space.spec.pixels)
        rows = [k for k in range(len(said)) if share[k] >= VISIBLE and not own.crowd[k]]
        return corners[rows], [said[k] for k in rows]

    def measure(self, arm: Arm) -> Measured:
        """Train on the seen pictures, or take an arm without training, and name the regions of the others."""
        system = arm.system
        if isinstance(system, Training):
            return over_seeds(lambda run: self._reached(system, run), self.run, self.seeds, draws=True)
        if isinstance(system, Elsewhere):
            return over_seeds(
                lambda run: self._reached(system.how, run, elsewhere=True), self.run, self.seeds, draws=True
            )
        if system == CHANCE:
            hits = np.full(len(self.right), 1 / len(self.names))
        elif system == PLACELESS:
            same = self.owner[:, None] == self.owner
            hits = ((same & (self.right[:, None] == self.right)).sum(1) / same.sum(1)).double().numpy()
        elif system == PICTURE:
            hits = self._hits(self.whole[self.owner])
        elif system == CROP:
            hits = self._hits(self._crops())
        else:
            raise UsageError(f"Regions are not named by {arm.system!r}: give a training, or one of the baselines.")
        values = counted(hits, self.owner.numpy(), len(self.held))
        return over_seeds(lambda run: (values, {}), self.run, self.seeds, draws=False)

    def prompter(self, how: Training, run: Run) -> Prompter:
        """Return the prompter of a seed, trained once."""
        for other, seed, known in self.trained:
            if (other, seed) == (how, run.seed):
                return known
        quiet = replace(run, out=None, workers=0)
        rows = how.rows(self.train, quiet) if how.rows else self.train
        fit = how.fit or self.fit
        made = train_space(how.method, Kit({"main": self.space}), Evidence(train=rows), fit, quiet).parts[PART]
        assert isinstance(made, Prompter)
        self.trained.append((how, run.seed, made.eval()))
        return made

    def _reached(
        self, how: Training, run: Run, *, elsewhere: bool = False
    ) -> tuple[Floats, Mapping[str, float], Mapping[str, Floats]]:
        prompter = self.prompter(how, run)
        boxes = self.boxes[next_in_picture(self.owner)] if elsewhere else self.boxes
        with torch.no_grad():
            z = prompter.boxes(self.cells, boxes, self.owner)
            shown = prompter.grounded(self.cells, self.words[self.right], self.owner)
        found = torch.cat([shown[:, :2].minimum(shown[:, 2:]), shown[:, :2].maximum(shown[:, 2:])], dim=1)
        iou = box_iou(found, self.boxes).diagonal().double().numpy()
        hits, ious = (counted(x, self.owner.numpy(), len(self.held)) for x in (self._hits(z), iou))
        return hits, {IOU: float(iou.mean())}, {IOU: ious}

    def _hits(self, z: Tensor) -> Floats:
        hits: Floats = (normalize(z, dim=-1) @ self.words.T).argmax(1).eq(self.right).double().numpy()
        return hits

    @torch.no_grad()
    def _crops(self) -> Tensor:
        image, crops = self.space.whole.image, []
        for i in range(len(self.held)):
            picture = self.pictures.items[i].convert("RGB")
            for corners, said, crowd in zip(
                self.held.columns["boxes"].values[i].corners,
                self.held.columns["phrases"].values[i],
                self.held.columns["boxes"].values[i].crowd,
                strict=True,
            ):
                share = framed(corners[None], picture.size, self.space.spec.pixels)[1][0]
                if said in self.names and share >= VISIBLE and not crowd:
                    crops.append(picture.crop(tuple(np.round(corners).astype(int).tolist())))
        return torch.cat([image.encode(image.inputs(crops[k : k + 64])) for k in range(0, len(crops), 64)])


def open_regions(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> RegionBench:
    """Open pictures with regions: "scenes", or "coco_mini".

    Raises:
        NotAvailable: another name, or the photos are not on this machine.
    """
    if name.endswith("coco_mini"):
        return _open_photos(name, run, seeds)
    if name != "scenes":
        raise NotAvailable(f"{name} is not here: this proof paints scenes, or reads coco_mini.")
    data = scene_data(SCENES, SIZES)
    space = StoredTowers(backbone)
    train, held = (stored(backbone, data.split(split), run) for split in ("train", "test"))
    bank = SCENES.bank
    names = tuple(article(f"{colour} {shape}") for colour in bank.colours for shape in bank.shapes)
    bench = RegionBench(backbone, run, seeds, space, train, held, data.split("test"), names)
    bench.facts = _facts(bench, data.hash, "a prompter on frozen towers, on composed scenes")
    return bench


def _open_photos(name: str, run: Run, seeds: tuple[int, ...]) -> RegionBench:
    folder, backbone = present(name, "captions.csv"), load("lite")
    boxes = folder / "instances.csv"
    data = with_regions(read_captioned(folder / "captions.csv", text="caption_*"), boxes)
    table = next(iter(data.splits.values()))
    classes = in_order({text_of(v) for v in read_columns(boxes)["category"]})
    cut = len(table) * 3 // 4
    parts = table.take(range(cut)), table.take(range(cut, len(table)))
    train, held = (stored(backbone, part, run) for part in parts)
    names = tuple(article(c) for c in classes)
    bench = RegionBench(backbone, run, seeds, StoredTowers(backbone), train, held, parts[1], names)
    few = table.take(range(LABELLED))
    labelled = RegionLabels().of(few, backbone, MergedCells(), run)
    found = agreement(labelled, list(few.columns["boxes"].values), classes)
    counted = sum(len(p) for p in labelled.columns["phrases"].values)
    quality: dict[str, float] = {"photos": LABELLED, "regions": counted, "that_name_a_class": len(found["right"])}
    quality |= {key: float(values.mean()) for key, values in found.items()}
    digest = hash_of_words(table.items, [p for own in table.columns["phrases"].values for p in own])
    bench.facts = {**_facts(bench, digest, "a prompter on frozen towers"), "on": "lite", "pseudo_labels": quality}
    return bench


def _facts(bench: RegionBench, digest: str, what: str) -> dict[str, Any]:
    sizes = {"items": len(bench.right), "train": len(bench.train), "pictures": len(bench.held)}
    return {"data_hash": digest, "split": "test", **sizes, "classes": len(bench.names), "trains": what}
