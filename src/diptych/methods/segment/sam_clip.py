"""SAM-CLIP merges CLIP into SAM's encoder by distillation, and replays SAM's own masks so that they are not forgotten.

    L_clip = mean over x of [ 1 - cos( v(x), f(x) ) ]                  photos of one source
    L_sam  = mean over (x, g) of FD( m(x, g), sigmoid m_0(x, g) )      photos of another
    1.  L_clip, the encoder frozen
    2.  L_clip + lambda L_sam: two backward passes, then one step; encoder and decoder at a tenth of the rate

    P(k, u) = softmax over k of s cos( V(u), t_k )                     the head of CLIP, at one resolution
    S(k, u) = m(x, points and rough mask of P(k))(u)                   the head of SAM, at its own

v, V, m: embedding, embeddings of cells and mask logits of the two-headed student (``nn.dense.two_heads``)
f: CLIP's image encoder;  m_0: SAM as it was;  both frozen
g: a point, or the box of a mask;  FD: 20 focal + Dice of soft masks, 0 where both are equal (``nn.dense.two_heads``)
t_k: unit embedding of class k by CLIP's text encoder;  s: scale of CLIP;  u: a cell, a pixel
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.backbones.mask_models.sam import SamMasks
from diptych.backbones.sources.vision import IMAGENET_MEAN, IMAGENET_STD
from diptych.core import (
    Backbone,
    ClassNames,
    Clock,
    Column,
    Evidence,
    FittedSegmenter,
    Kit,
    MissingEvidence,
    MissingPart,
    ParamGroup,
    PixelRecipe,
    PromptableMasks,
    Prompts,
    Range,
    Regions,
    Row,
    Run,
    Sampler,
    Samples,
    Segmenter,
    Subset,
    Table,
    Trainee,
)
from diptych.core.ranges import above, at_least, check, one_of
from diptych.features.embed import embed
from diptych.features.heads import logits, text_head
from diptych.features.networks import inference
from diptych.features.strict_weights import load_tensors
from diptych.nn.dense.label_maps import cells, squashed
from diptych.nn.dense.two_heads import TwoHeads, clip_loss, mask_loss, prompted
from diptych.train.mixture import SOURCE, Mixture, joined
from diptych.train.parameters import copies, train_parameters
from diptych.train.schedule import Fit, Schedule

POINTS = 3
"""Random points of a class at most."""


class _Merging(Trainee):
    """One step on photos of two sources: a backward pass for each, in the phases "clip" and "sam"."""

    def __init__(
        self, student: TwoHeads, masks: SamMasks, method: SAMCLIP, phases: tuple[str, ...], slow: bool
    ) -> None:
        self.student, self.masks, self.method, self.phases, self.slow = student, masks, method, phases, slow

    def module(self) -> nn.Module:
        """Return the student."""
        return self.student

    def groups(self) -> list[ParamGroup]:
        """Return the head of CLIP, and with ``slow`` what else the losses reach, at a tenth of its rate."""
        parts = dict[str, list[str]]()
        for name, part in self.student.named_parts():
            parts.setdefault(part, []).append(name)
        reached = [*parts["encoder"], *parts["decoder"]] if "sam" in self.phases else parts["encoder"]
        slow = [ParamGroup(tuple(n for n in reached if not _unused(n)), lr=0.1)] if self.slow else []
        return [ParamGroup(tuple(parts["head"])), *slow]

    def sampler(self, table: Table[Any], run: Run) -> Sampler | None:
        """Return batches with both sources in fixed shares, where there are two."""
        if SOURCE not in table.columns:
            return None
        return Mixture.of(table, {"clip": self.method.shares[0], "sam": self.method.shares[1]}, run.seed)

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return the pixels of a photo, and what its teacher says of it."""
        c = row.columns
        if c.get(SOURCE, "clip") == "clip":
            pixels = squashed(row.item, recipe(self.masks), self.method.taught_side)[0]
            return {"source": "clip", "pixels": pixels, "taught": c["taught"]}
        return {
            "source": "sam",
            "pixels": self.masks.pixels(row.item)[0][0].cpu(),
            **{n: c[n] for n in ("points", "boxes", "answers")},
        }

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return source -> name -> the stacked values of its rows."""
        out = {}
        for source in self.phases:
            rows = [{k: v for k, v in view.items() if k != "source"} for view in views if view["source"] == source]
            out[source] = super().collate(rows)
        return out

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the loss of a source."""
        rows, student = batch[phase], self.student
        tokens = student.tokens(rows["pixels"])
        if phase == "clip":
            return {"clip": clip_loss(student.pooled(tokens), rows["taught"])}
        drawn = student.decoded(tokens, rows["points"], rows["boxes"])
        return {"sam": self.method.weight * mask_loss(drawn, rows["answers"])}


def _unused(name: str) -> bool:
    """Return whether a parameter is SAM's estimate of IoU, which no loss reaches."""
    return ".iou_prediction_head." in name


def recipe(masks: SamMasks) -> PixelRecipe:
    """Return the pixel recipe of a SAM for photos that are squashed to squares: ImageNet's mean and deviation."""
    return PixelRecipe(masks.side, IMAGENET_MEAN, IMAGENET_STD, "bilinear", "squash")


@torch.no_grad()
def questions(masks: SamMasks, image: Any, count: int, g: torch.Generator) -> dict[str, Tensor]:
    """Return random prompts for a photo, and a SAM's answers.

    Args:
        masks: the SAM.
        image: the photo.
        count: P.
        g: random numbers.

    Returns:
        "points" (P, 2) and "boxes" (P, 4) in pixels of SAM's input, the boxes round the masks of the points (the whole
        photo where a mask is empty), and "answers" (2 P, m, m) in [0, 1].
    """
    from torchvision.ops import masks_to_boxes

    pixels, (height, width) = masks.pixels(image)
    embedded = masks.model.vision_encoder(pixels)[0]
    points = (torch.rand(count, 2, generator=g) * torch.tensor([width, height])).to(pixels)
    whole = torch.tensor([0.0, 0.0, width, height]).to(pixels).expand(count, 4)
    first = prompted(masks.model, embedded, points[None], whole[None])[0, :count]
    boxes, occupied = whole.clone(), (first > 0).flatten(1).any(1)
    if occupied.any():
        scale = masks.side / first.shape[-1]
        around = masks_to_boxes(first[occupied] > 0)
        boxes[occupied] = (around + torch.tensor([0.0, 0, 1, 1]).to(around)) * scale
    answers = prompted(masks.model, embedded, points[None], boxes[None])[0].sigmoid()
    return {"points": points.cpu(), "boxes": boxes.cpu(), "answers": answers.cpu()}


@dataclass(frozen=True)
class SAMCLIP(Segmenter):
    """Merge CLIP and SAM in one encoder with two heads, and segment with both.

    The kit's part "masks" is a SAM (``SamMasks``), whose encoder the student starts from; the backbone is CLIP.
    ``Evidence.unlabelled`` are photos for CLIP's embeddings; ``Evidence.auxiliary`` those for SAM's masks, or the same.

    Args:
        joint: whether the second stage is run; without it the encoder is SAM's, and only the head of CLIP learns.
        weight: lambda, >= 0 (the paper's 10; 1 forgets, 100 keeps CLIP out); 0 leaves the photos of SAM out.
        heads: "clip" (V alone) or "both" (SAM draws the classes that P finds).
        side: of the square photos that the head of CLIP segments, in pixels (448).
        taught_side: of those that it learns from (224).
        prompts: points, and as many boxes, a photo of SAM's, >= 1 (default ours; the paper has 32 masks).
        shares: photos of CLIP and of SAM in a unit of a batch (default ours; the paper has 2048 and 32 in one).
        hidden: width of the hidden layers of the head of CLIP; None: that of the tokens four times (ours; the paper
            does not say).
        probe_rate: learning rate of the first stage, > 0 (the paper's).
        rate: of the second stage, > 0 (the paper's).
        probe_epochs: passes over CLIP's photos in the first stage, >= 1.
        epochs: of the second stage, >= 1 (the paper stops at 16 of 20).
        batch: photos per step, a multiple of the sum of the shares (default ours).
        photos: of each source at most, those whose content keys are the least, >= 1 (default ours).

    Raises:
        UsageError: a number or word out of its range, or a batch that the shares do not divide.

    Source: Wang et al. 2024 (arXiv 2310.15308), sections 3 and 4.

    Example:
        >>> SAMCLIP(batch=30)
        Traceback (most recent call last):
        ...
        diptych.core.errors.UsageError: batch must be a multiple of 4, the sum of the shares, got 30: ...
    """

    joint: bool = True
    weight: float = 10.0
    heads: Literal["clip", "both"] = "clip"
    side: int = 448
    taught_side: int = 224
    prompts: int = 8
    shares: tuple[int, int] = (3, 1)
    hidden: int | None = None
    probe_rate: float = 8e-4
    rate: float = 4e-5
    probe_epochs: int = 20
    epochs: int = 16
    batch: int = 32
    photos: int = 400

    def __post_init__(self) -> None:
        check(self, at_least(0), "weight")
        check(self, one_of("clip", "both"), "heads")
        check(self, above(0), "probe_rate", "rate")
        check(
            self, at_least(1), "side", "taught_side", "prompts", "shares", "probe_epochs", "epochs", "photos", "hidden"
        )
        unit = sum(self.shares)
        multiple = Range(f"a multiple of {unit}, the sum of the shares", lambda b: b >= unit and b % unit == 0)
        check(self, multiple, "batch")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedSAMCLIP:
        """Ask both teachers, then train in two stages; class names are not read before that is done.

        Raises:
            MissingPart: the kit has no backbone, or no SAM of the first version named "masks".
            MissingEvidence: there are no unlabelled photos, or fewer than a unit of a batch takes.
            UnreadableItem: a photo cannot be read.
        """
        backbone, masks = kit.need(Backbone), sam_of(kit)
        if evidence.unlabelled is None:
            raise MissingEvidence("SAM-CLIP learns from photos without labels, and {unlabelled} is missing: give some.")
        photos = _least(evidence.unlabelled, self.photos)
        if len(photos) < self.shares[0]:
            raise MissingEvidence(
                f"SAM-CLIP takes {self.shares[0]} photos of CLIP in each unit of a batch, and {len(photos)} were "
                "given: give more."
            )
        others = photos if evidence.auxiliary is None else _least(evidence.auxiliary.items, self.photos)
        with run.seeded("sam-clip"):
            student = TwoHeads(
                masks.model, backbone.image.dim, self.hidden or 4 * int(masks.model.config.vision_config.hidden_size)
            ).to(run.device)
        lesson: Table[Any] = Table(photos, {"taught": Column("vector", list(self.taught(backbone, photos, run)))})
        probe = _Merging(student, masks, self, ("clip",), slow=False)
        train_parameters(probe, lesson, self._settings(self.probe_rate, self.probe_epochs, lesson), run, ())
        if self.joint:
            phases = ("clip", "sam") if self.weight > 0 else ("clip",)
            if self.weight > 0:
                lesson = joined({"clip": lesson, "sam": self._prompted(masks, others, run)})
            settings = self._settings(self.rate, self.epochs, lesson)
            train_parameters(_Merging(student, masks, self, phases, slow=True), lesson, settings, run, ())
        head = text_head(backbone, classes.prompts(), run)
        return FittedSAMCLIP(classes, backbone, head, self, masks, copies(student))

    def taught(self, backbone: Backbone, photos: Samples[Any], run: Run) -> Tensor:
        """Return the (N, D) unit embeddings of N photos that the head of CLIP learns."""
        return F.normalize(embed(backbone.image, photos, run), dim=-1)

    def _settings(self, rate: float, epochs: int, lesson: Table[Any]) -> Fit:
        of_clip = self.batch * self.shares[0] // sum(self.shares)  # as many photos of CLIP, with and without replay
        batch = min(of_clip, len(lesson))
        if SOURCE in lesson.columns:  # few photos of CLIP make smaller batches in the same shares
            clips = list(lesson.columns[SOURCE].values).count("clip")
            batch = min(self.batch, clips // self.shares[0] * sum(self.shares))
        return Fit(rate, batch, epochs=epochs, schedule=Schedule(warmup=2), decay=0.1, betas=(0.9, 0.999))

    def _prompted(self, masks: SamMasks, photos: Samples[Any], run: Run) -> Table[Any]:
        """Return photos with prompts and SAM's answers, fixed for the training."""
        rows = []
        with run.track("ask SAM", len(photos)) as bar:
            for i in range(len(photos)):
                rows.append(
                    questions(masks, photos[i], self.prompts, run.generator(f"sam-clip prompts {photos.key(i)}"))
                )
                bar.advance()
        return Table(photos, {n: Column("vector", [row[n] for row in rows]) for n in ("points", "boxes", "answers")})


def sam_of(kit: Kit) -> SamMasks:
    """Return the SAM of a kit.

    Raises:
        MissingPart: there is none, or it is no SAM of the first version, whose encoder can be cut.
    """
    masks = kit.need(PromptableMasks, "masks")
    if not isinstance(masks, SamMasks) or masks.second:
        raise MissingPart(
            f"SAM-CLIP starts from the encoder of a SAM, and the kit's 'masks' is {type(masks).__name__} of another "
            "kind: give a SAM of the first version, such as hf:facebook/sam-vit-base."
        )
    return masks


def _least(photos: Samples[Any], count: int) -> Samples[Any]:
    order = sorted(range(len(photos)), key=photos.key)[:count]
    return Subset(photos, tuple(sorted(order)))


@dataclass(frozen=True)
class FittedSAMCLIP(FittedSegmenter):
    """The two-headed student and a text head.

    Args:
        classes: K names.
        backbone: CLIP, whose text encoder stays.
        head: (K, D) unit class embeddings.
        method: the settings.
        masks: SAM as it was.
        learnt: state of the student, see ``TwoHeads``.
    """

    classes: ClassNames
    backbone: Backbone
    head: Tensor
    method: SAMCLIP
    masks: SamMasks
    learnt: Mapping[str, Tensor]

    def for_classes(self, classes: ClassNames, run: Run) -> FittedSAMCLIP:
        """Return the segmenter of other classes; what was learnt depends on no class name."""
        return replace(self, classes=classes, head=text_head(self.backbone, classes.prompts(), run))

    def student(self, device: str = "cpu") -> TwoHeads:
        """Return the student."""
        hidden = len(self.learnt["mlp.0.bias"])
        with torch.random.fork_rng(devices=[]):
            student = TwoHeads(self.masks.model, self.head.shape[1], hidden)
        load_tensors(student, self.learnt)
        return student.to(device).eval().requires_grad_(False)

    def drawer(self) -> SamMasks:
        """Return the student as a SAM: its encoder, and the decoder that was trained with it."""
        return SamMasks(self.student("cpu").sam, self.masks.processor)

    def regions(self, images: Samples[Any], run: Run) -> Iterator[Regions]:
        """Yield the dense map of each image: logits of cells by the head of CLIP, or SAM's masks of the classes."""
        student = self.student(run.device)
        drawer = SamMasks(student.sam, self.masks.processor)
        for i in range(len(images)):
            image = images[i]
            with inference(run):
                maps = self.scores(student, image, run)
                size = (image.height, image.width)
                if self.method.heads == "both":
                    g = run.generator(f"sam-clip points {images.key(i)}")
                    maps = drawn(drawer, image, maps, g)
            yield cells(maps.float().cpu(), size)

    def scores(self, student: TwoHeads, image: Any, run: Run) -> Tensor:
        """Return (K, h, w) logits of the cells of an image, which is squashed to a square."""
        x = squashed(image, recipe(self.masks), self.method.side).to(run.device)
        v = F.normalize(student.dense(student.tokens(x))[0].float(), dim=0)
        return torch.unflatten(logits(self.backbone, v.flatten(1).T, self.head).T, 1, v.shape[1:])


def drawn(masks: PromptableMasks, image: Any, maps: Tensor, g: torch.Generator) -> Tensor:
    """Return S, (K, H', W'), SAM's mask logits of the classes that are found, at half the image's size.

    A class is found where its probability exceeds 1/2. Its prompts are up to ``POINTS`` random points there, and the
    log-odds of its probability as a rough mask. A class that is not found lies below all others; where none is found
    the map stays as it is.

    Args:
        masks: draws.
        image: a photo.
        maps: (K, h, w) logits of cells over it.
        g: draws the points.
    """
    p = maps.float().softmax(0)
    occupied = torch.nonzero((p > 0.5).flatten(1).any(1))[:, 0].tolist()
    if not occupied:
        return maps
    h, w = p.shape[1:]
    points, labels = torch.zeros(len(occupied), POINTS, 2), torch.full((len(occupied), POINTS), -10.0)
    for row, k in enumerate(occupied):
        at = torch.nonzero(p[k].cpu() > 0.5)
        some = at[torch.randperm(len(at), generator=g)[:POINTS]]
        points[row, : len(some)] = (some.flip(1) + 0.5) * torch.tensor([image.width / w, image.height / h])
        labels[row, : len(some)] = 1
    odds = p[occupied].clamp(1e-6, 1 - 1e-6).logit()
    answer = masks.ask(masks.see(image), Prompts(points, labels, None, odds)).logits[:, 0]
    half = max(1, image.height // 2), max(1, image.width // 2)
    answer = F.interpolate(answer[None], half, mode="bilinear", align_corners=False)[0]
    out = answer.new_full((len(p), *half), float(answer.min()) - 1)
    out[occupied] = answer
    return out
