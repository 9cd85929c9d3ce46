"""The bench of SAM-CLIP: a small SAM of our own is merged with ``tiny``, on scenes of six kinds of thing.

No weights of SAM are at hand, so a small one is trained first, for seconds, on other scenes: from a point or a box to
the mask of the object there. It learns that badly, with an IoU of 0.2 in boxes of unseen scenes. It is the teacher of
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
import transformers
from torch import Tensor
from torch.nn import functional as F

from diptych import catalog
from diptych.backbones.mask_models.sam import SamMasks
from diptych.backbones.sources.load import load
from diptych.core.backbone import Backbone
from diptych.core.data import ClassNames, Column, Evidence, Table
from diptych.core.errors import NotAvailable, UnreadableItem
from diptych.core.kit import Kit
from diptych.core.masks import Prompts
from diptych.core.method import Segmenter
from diptych.core.run import Run
from diptych.data.scenes.compose import SceneRecipe, Scenes
from diptych.data.scenes.tables import Pictures
from diptych.evaluation.arms import CHANCE, MEANS, Arm, Floats, Measured, Statistic, over_seeds
from diptych.evaluation.proofs.trial import Claim, Trial
from diptych.evaluation.spoils import applied, as_subclass
from diptych.methods.segment.sam_clip import SAMCLIP, FittedSAMCLIP, sam_of
from diptych.nn.dense.label_maps import label_map
from diptych.nn.dense.mask_losses import dice_loss
from diptych.nn.dense.two_heads import prompted
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit, Schedule
from diptych.train.step import Step

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
FIRST = Fit(lr=1e-3, batch=16, steps=200, decay=0.05, schedule=Schedule(warmup=20), betas=(0.9, 0.999))
"""Training of the small SAM."""
SHORT: Mapping[str, Any] = {
    "side": SIDE, "taught_side": SIDE, "prompts": 4, "batch": 32, "shares": (3, 1), "hidden": 128,
    "probe_epochs": 6, "probe_rate": 3e-3, "epochs": 6, "rate": 3e-3,
}  # fmt: skip
"""Settings of SAM-CLIP on small scenes, chosen on another stream of scenes than the one that is measured."""
PROMPTED = "mask_correlation"
"""Part: correlation of the mask logits that the head of SAM draws in objects' boxes with SAM's own, (R, N) of N scenes.
"""


def small_sam(run: Run) -> SamMasks:
    """Return a SAM of 64 pixels, trained on scenes to draw the object at a point or in a box."""
    sizes = {"image_size": SIDE, "patch_size": PATCH}
    config = transformers.SamConfig(
        vision_config={
            **sizes, "hidden_size": 64, "output_channels": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
            "num_pos_feats": 16, "window_size": 4, "global_attn_indexes": [1, 3], "mlp_dim": 128,
            "initializer_range": 0.02,  # the library's 1e-10 is for weights that are loaded
        },
        prompt_encoder_config={**sizes, "hidden_size": 32, "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 4, "iou_head_hidden_dim": 32},
    )  # fmt: skip
    with run.seeded("small sam"):
        model = transformers.SamModel(config)
    masks = SamMasks(model)
    scenes = Scenes(ANY, SAM, STREAM + 1)
    columns: dict[str, list[Tensor]] = {"points": [], "boxes": [], "answers": []}
    for i in range(SAM):
        scene = scenes[i]
        g = np.random.default_rng([STREAM, i])
        seen = [k for k in range(len(scene.masks)) if scene.masks[k].any()]
        k = seen[int(g.integers(len(seen)))]
        rows, cells = np.nonzero(scene.masks[k])
        n = int(g.integers(len(rows)))
        mask = F.interpolate(torch.from_numpy(scene.masks[k])[None, None].float(), scale_factor=0.5, mode="area")[0]
        columns["points"].append(torch.tensor([[cells[n] + 0.5, rows[n] + 0.5]]).float())
        columns["boxes"].append(torch.from_numpy(scene.boxes[k])[None])
        columns["answers"].append(mask.expand(2, -1, -1))
    table: Table[Any] = Table(Pictures(scenes), {n: Column("vector", v) for n, v in columns.items()})

    def loss(b: Mapping[str, Any]) -> Mapping[str, Tensor]:
        logits = prompted(model, model.vision_encoder(b["pixels"])[0], b["points"], b["boxes"]).flatten(0, 1)
        truth = b["answers"].flatten(0, 1)
        each = F.binary_cross_entropy_with_logits(logits, truth)
        return {"pixels": each, "dice": dice_loss(logits.sigmoid(), truth)}

    step = Step(model, lambda row, g: {"pixels": masks.pixels(row.item)[0][0], **row.columns}, loss)
    train_parameters(step, table, FIRST, run, ())
    return SamMasks(model, masks.processor)


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
            "sam": f"small, trained on {SAM} scenes for {FIRST.steps} steps",
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

        return over_seeds(once, self.run, self.seeds, draws=issubclass(system, SAMCLIP))

    def _right(self, fitted: Any, run: Run) -> Floats:
        values = []
        for i, found in enumerate(fitted.regions(Pictures(self.shown), run)):
            scene, labels = self.shown[i], label_map(found).numpy()
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
    return MergeBench(backbone if backbone.spec.name == "tiny" else load("tiny"), run, seeds, small_sam(Run()))


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
