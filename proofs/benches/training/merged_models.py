"""The bench of SAM-CLIP: a small SAM of our own is merged with ``tiny``, on scenes of six kinds of thing.

No weights of SAM are at hand, so a small one is trained first, for seconds, on other scenes: from a point or a box to
the mask of the object there; the result says how well it draws on the scenes that are measured. It is the teacher of
masks and the start of the student; ``tiny`` is the teacher of meaning. What is measured on unseen scenes is the share
of pixels of things that get the right name from the head of CLIP, and whether the head of SAM still draws in a box what
SAM drew there, right or wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diptych import catalog
from diptych.backbones.mask_models.sam import SamMasks
from diptych.backbones.sources.load import load
from diptych.core import Backbone, ClassNames, Evidence, Kit, NotAvailable, Prompts, Run, Segmenter, UnreadableItem
from diptych.data.scenes.compose import SceneRecipe, Scenes
from diptych.data.scenes.tables import Pictures
from diptych.evaluation.arms import CHANCE, MEANS, Arm, Floats, Measured, Statistic, over_seeds
from diptych.evaluation.small_sam import FIT, Objects, iou_in_boxes, small_sam
from diptych.evaluation.spoils import applied, as_subclass, draws_by_seed
from diptych.methods.segment.sam_clip import SAMCLIP, FittedSAMCLIP, sam_of
from diptych.nn.dense.label_maps import label_map
from proofs.trial import Claim, Trial

SIDE, PATCH, STREAM = 64, 8, 0
KINDS = (
    ("red", "circle"),
    ("blue", "square"),
    ("green", "star"),
    ("yellow", "heart"),
    ("purple", "triangle"),
    ("gray", "cross"),
)
"""The things of the scenes, by colour and shape; their names are the classes."""
NAMES = ClassNames(tuple(f"{colour} {shape}" for colour, shape in KINDS), ("a photo of a {}.",))
TOLD = SceneRecipe(objects=(1, 2), only=frozenset(KINDS))
ANY = SceneRecipe(objects=(1, 2))
SAM, LESSONS, SHOWN = 400, 150, 40
"""Scenes that the small SAM learns from, scenes that the student learns from, and scenes that are measured."""
SHORT: Mapping[str, Any] = {
    "side": SIDE, "taught_side": SIDE, "prompts": 4, "batch": 32, "shares": (3, 1), "hidden": 128,
    "probe_epochs": 6, "probe_rate": 3e-3, "epochs": 6, "rate": 3e-3,
}  # fmt: skip
"""Settings of SAM-CLIP on small scenes, chosen on another stream of scenes than the one that is measured."""
PROMPTED = "mask_correlation"
"""Part: correlation of the mask logits that the head of SAM draws in objects' boxes with SAM's own, (R, N) of N scenes.
"""


def sam_of_scenes(run: Run) -> SamMasks:
    """Return a SAM of 64 pixels, trained on scenes to draw the object at a point or in a box."""
    scenes = Scenes(ANY, SAM, STREAM + 1)
    return small_sam(Pictures(scenes), objects(scenes), SIDE, PATCH, run, FIT)


def objects(scenes: Scenes) -> list[Objects]:
    """Return the masks of the objects that can be seen in each scene."""
    return [masks[masks.any((1, 2))] for masks in (scenes[i].masks for i in range(len(scenes)))]


@dataclass
class MergeBench:
    """What a student of both keeps of either.

    The values are (R, N) shares of pixels of things in N scenes that get their right name.

    Args:
        backbone: ``tiny``.
        masks: the small SAM.
    """

    backbone: Backbone
    run: Run
    seeds: tuple[int, ...]
    masks: SamMasks
    stream: int = STREAM
    metric: str = "pixels_right"
    statistic: Statistic = MEANS
    failed: tuple[UnreadableItem, ...] = ()
    always: tuple[Arm, ...] = (Arm(CHANCE),)
    shown: Scenes = field(init=False)
    before: list[Floats] = field(init=False)

    def __post_init__(self) -> None:
        self.shown = Scenes(TOLD, SHOWN, self.stream, LESSONS)
        self.before = self._drawn(self.masks)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Of the scenes."""
        lessons = Scenes(TOLD, LESSONS, self.stream)
        return {
            "data_hash": lessons.key(0)[:16] + self.shown.key(0)[:48],
            "items": SHOWN,
            "train": LESSONS,
            "classes": len(NAMES),
            "sam": f"small, trained on {SAM} scenes for {FIT.steps} steps",
            "sam_iou_in_boxes": iou_in_boxes(self.masks, Pictures(self.shown), objects(self.shown)),
        }

    def measure(self, arm: Arm) -> Measured:
        """Merge, segment the scenes, and ask for the mask of each object by its box."""
        if arm.system == CHANCE:
            values = np.full(SHOWN, 1 / len(NAMES))
            return over_seeds(lambda run: (values, {}), self.run, self.seeds, draws=False)
        photos = Pictures(Scenes(TOLD, LESSONS, self.stream))
        kit, given = Kit({"main": self.backbone, "masks": self.masks}), Evidence[Any](unlabelled=photos)
        system = catalog.find(arm.system, Segmenter)
        method: Any = catalog.row(system, arm.variant)

        def once(run: Run) -> tuple[Floats, Mapping[str, float], Mapping[str, Floats]]:
            settings = SHORT if issubclass(system, SAMCLIP) else {}
            chosen, names, evidence = applied(arm.spoil, replace(method, **settings), NAMES, given, run)
            fitted = chosen.fit(kit, names, evidence, replace(run, out=None))
            right = self._right(fitted, run)
            if not isinstance(fitted, FittedSAMCLIP):
                return right, {}, {}
            alike = self._prompted(fitted.drawer())
            return right, {PROMPTED: float(alike.mean())}, {PROMPTED: alike}

        return over_seeds(once, self.run, self.seeds, draws=draws_by_seed(arm.spoil, system.card))

    def _right(self, fitted: Any, run: Run) -> Floats:
        values = []
        for i, regions in enumerate(fitted.regions(Pictures(self.shown), run)):
            scene, labels = self.shown[i], label_map(regions).numpy()
            truth = np.full(labels.shape, -1)
            for mask, thing in zip(scene.masks, scene.objects, strict=True):
                truth[mask] = KINDS.index((str(thing.colour), thing.noun))
            values.append(float((labels == truth)[truth >= 0].mean()))
        return np.array(values)

    def _prompted(self, masks: SamMasks) -> Floats:
        """Return the mean correlation, in each scene, of the mask logits that a SAM draws in the objects' boxes with
        those that the small SAM drew before.
        """
        return np.array([correlation(a, b) for a, b in zip(self._drawn(masks), self.before, strict=True)])

    def _drawn(self, masks: SamMasks) -> list[Floats]:
        drawn = []
        with torch.no_grad():
            for i in range(SHOWN):
                scene, picture = self.shown[i], Pictures(self.shown)[i]
                boxes = torch.from_numpy(scene.boxes[scene.masks.any((1, 2))])
                drawn.append(masks.ask(masks.see(picture), Prompts(boxes=boxes)).logits[:, 0].double().numpy())
        return drawn


def correlation(one: Floats, other: Floats) -> float:
    """Return the mean over n maps of their Pearson correlation with others over pixels.

    Args:
        one: (n, H, W), none constant.
        other: (n, H, W), none constant.
    """
    a, b = ((x - x.mean((1, 2), keepdims=True)).reshape(len(x), -1) for x in (one, other))
    return float(((a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))).mean())


def open_merged(name: str, backbone: Backbone, run: Run, seeds: tuple[int, ...]) -> MergeBench:
    """Train the small SAM, and open the bench.

    Raises:
        NotAvailable: another name than "scenes".
    """
    if name != "scenes":
        raise NotAvailable(f"{name} is not here: this proof paints its data, which are called scenes.")
    return MergeBench(backbone if backbone.spec.name == "tiny" else load("tiny"), run, seeds, sam_of_scenes(Run()))


@dataclass(frozen=True)
class OtherVectors(SAMCLIP):
    """CLIP's vector for each photo is that of another: the student learns as many, and none belongs to its photo."""

    def taught(self, backbone: Backbone, photos: Any, run: Run) -> Tensor:
        """Return the vectors, dealt anew."""
        vectors = super().taught(backbone, photos, run)
        return vectors[torch.randperm(len(vectors), generator=run.generator("other vectors"))]


@dataclass(frozen=True)
class Halfway(SAMCLIP):
    """SAM's part of the student goes half of the way back to SAM, as WiSE-FT does: the cheapest way to keep both."""

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedSAMCLIP:
        """Train as ever, and take the mean of each weight with SAM's own."""
        fitted = super().fit(kit, classes, evidence, run)
        before = {f"sam.{name}": t.cpu() for name, t in sam_of(kit).model.state_dict().items()}
        return replace(fitted, learnt={n: torch.lerp(before.get(n, t), t, 0.5) for n, t in fitted.learnt.items()})


_HALFWAY = Arm("sam-clip", "no replay", spoil=as_subclass(Halfway))
SAMCLIP_TRIAL = Trial(
    (
        Claim(CHANCE),
        Claim("sam-clip", variant="probe", base=Arm("sam-clip", "probe")),
        Claim("sam-clip", variant="no replay", base=Arm("sam-clip", "no replay"), part=PROMPTED),
    ),
    as_subclass(OtherVectors),
    CHANCE,
    beside={
        "no replay": Claim("sam-clip", variant="no replay"),
        "halfway to SAM": Claim("halfway to SAM", base=_HALFWAY),
        "halfway to SAM, masks": Claim("halfway to SAM", base=_HALFWAY, part=PROMPTED),
        "maskclip on the teacher": Claim("maskclip"),
    },
    bench=open_merged,
)
"""The proof."""
