"""OVSeg classifies each proposed mask by CLIP on its masked crop, and adapts CLIP to such crops by captions.

    x_q    = crop of mask q, the tower's mean colour outside it
    T      <- T M + P_i (1 - M)                     of the hidden patches, at the input and after the first blocks
    c_q    = softmax over k of ( s cos(f(x_q), t_k) )
    p_q    = v_q b_q^(1 - lambda) c_q^lambda
    S(k,u) = sum over q of p_q(k) m_q(u)

    pairs  = (x_q, w): of each noun w of a caption, the region q with the highest cos(f(x_q), t_w)
    loss   = CLIP's, of a batch of pairs in both directions; only f learns

m_q(u): in [0, 1], how much pixel u belongs to mask q, cut at a threshold for the crop;  v_q: how sure its proposer is
f: image tower, (D,);  M: which patches of x_q hold a pixel of the mask;  T: its patch tokens;  P: learnt mask prompts
t_k, t_w: unit embedding of a class, of a noun;  s: scale of the backbone
b_q: class probabilities of the mean over mask q of the photo's patch embeddings, in the place of the proposer's classes
lambda: share of the crops in the ensemble
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.functional import normalize

from diptych.core import (
    Backbone,
    ClassNames,
    Column,
    DataError,
    Evidence,
    FittedSegmenter,
    Kit,
    MaskProposer,
    MissingEvidence,
    MissingHook,
    ParamGroup,
    Regions,
    Run,
    Samples,
    Scores,
    Segmenter,
    Table,
)
from diptych.core.ranges import above, at_least, between, check, one_of
from diptych.data.memory import InMemory
from diptych.data.pixels import normalise
from diptych.data.words.nouns import Tagger
from diptych.data.words.templates import SINGLE
from diptych.features.embed import embed
from diptych.features.heads import logits, text_head
from diptych.features.networks import inference
from diptych.features.released_tensors import check_released, frozen_apart, named_classes
from diptych.features.strict_weights import check_names, load_tensors
from diptych.features.vectors import Vectors
from diptych.nn.dense.label_maps import resized
from diptych.nn.dense.mask_adapted import EmbeddingMap, MaskAdapted, MaskedEncoder, mapped
from diptych.nn.dense.masked_crops import CroppedRegions, resized_crop
from diptych.nn.dense.mined_pairs import ensemble, mined, named, pair_loss, surest
from diptych.nn.dense.patches import check_patches, embed_patches
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit, Schedule
from diptych.train.step import Step

Tune = Literal["auto", "both", "full", "prompts", "map", "none"]
"""What is tuned on the pairs.

- "auto": "both" where the backbone has an image tower, else "map".
- "both": the tower, then prompts before the tuned tower, which is frozen (the paper's best).
- "full": the tower.
- "prompts": mask prompts before the tower as it is.
- "map": a map of low rank of the embeddings (ours).
- "none": nothing; CLIP classifies masked crops as it is.
"""
RANK = 64
"""Rank of the map (ours)."""
AREA = 0.9
"""Least share of a crop's area that a step of the tuning sees."""


def with_rest(masks: Tensor, sure: Tensor) -> tuple[Tensor, Tensor]:
    """Return the masks, (Q, h, w), and scores, (Q,), of regions, with one more for the cells of none, if there are any.

    Without it such cells would be of the first class, since all of their votes are 0.
    """
    rest = masks.sum(0, keepdim=True) == 0
    if not bool(rest.any()):
        return masks, sure
    return torch.cat([masks, rest.to(masks)]), torch.cat([sure, sure.new_ones(1)])


@dataclass(frozen=True)
class OVSeg(Segmenter):
    """Mine pairs from captions, adapt CLIP's image tower to masked crops, and classify proposed masks.

    The kit's part "proposer" (a ``MaskProposer``) finds regions. ``Evidence.auxiliary`` has captioned photos, or the
    pairs that ``mined`` made of them.

    Args:
        tune: what learns from the pairs.
        share: lambda, in [0, 1] (the authors' are 0.7 for ADE, 0.6 for Context, 0.45 for VOC, searched on ADE's val).
        threshold: of a mask for its crop, in [0, 1) (0.4; the authors' 0.5 for their smaller model).
        regions: of a photo that are classified, those of the highest scores, >= 1 (default ours, for one core; the
            paper has 100).
        side: shorter side, in pixels, to which larger photos are reduced, and at which patches are embedded, >= 1.
        photos: captioned photos that are mined, those whose content keys are the least, >= 1 (default ours; the paper
            has 118,000).
        tagger: says which words are nouns, see ``data.words.nouns``.
        antialias: whether larger crops are smoothed when they are resized to be classified (ours, not the authors').
            Crops that are mined, or that the tower learns from, are smoothed always, as Pillow does in their tuning.
        depth: layers of mask prompts, >= 1; at most the tower's blocks.
        rate, prompt_rate: learning rates of the tower and of the prompts, > 0 (the paper's; the released prompts were
            trained at 0.05).
        map_rate: of the map, > 0 (ours).
        epochs: passes over the pairs, for the tower and again for the prompts, >= 1.
        batch: pairs per step, >= 2 (default ours, for one core; the paper has 256); fewer pairs are one batch.

    Raises:
        UsageError: a number or word out of its range.

    Source: Liang et al. 2023 (arXiv 2210.04150), section 3.

    Example:
        >>> z = torch.eye(2)
        >>> far, near = pair_loss(z, z.flip(0), torch.tensor(5.0), torch.arange(2)), pair_loss(
        ...     z, z, torch.tensor(5.0), torch.arange(2))
        >>> bool(near < far)
        True
    """

    tune: Tune = "auto"
    share: float = 0.7
    threshold: float = 0.4
    regions: int = 32
    side: int = 640
    photos: int = 100
    tagger: Tagger = "wordnet"
    antialias: bool = True
    depth: int = 3
    rate: float = 5e-6
    prompt_rate: float = 2e-2
    map_rate: float = 1e-3
    epochs: int = 5
    batch: int = 32

    default_proposer: ClassVar[str] = "ranked-cells"

    def __post_init__(self) -> None:
        check(self, one_of("auto", "both", "full", "prompts", "map", "none"), "tune")
        check(self, one_of("wordnet", "nltk"), "tagger")
        check(self, between(0, 1), "share")
        check(self, between(0, 1, "[)"), "threshold")
        check(self, at_least(1), "regions", "side", "photos", "depth", "epochs")
        check(self, at_least(2), "batch")
        check(self, above(0), "rate", "prompt_rate", "map_rate")

    def fit(self, kit: Kit, classes: ClassNames, evidence: Evidence[Any], run: Run) -> FittedOVSeg:
        """Mine pairs and adapt the tower to them; class names are not read before that is done.

        Raises:
            MissingPart: the kit has no backbone, or no mask proposer named "proposer".
            MissingHook: the backbone has neither an image tower nor dense maps, or no tower for what is tuned.
            MissingEvidence: there are no captioned photos.
            MissingExtra: nltk with its tagger is not installed.
            DataError: the captions are missing, or name fewer than two things.
            UnreadableItem: a photo cannot be read.
        """
        backbone = kit.need(Backbone)
        check_patches(backbone)
        proposer, learnt = kit.need(MaskProposer, "proposer"), dict[str, Tensor]()
        if self.tune != "none":
            if evidence.auxiliary is None:
                raise MissingEvidence(
                    "OVSeg mines nouns from captioned photos, and evidence.auxiliary is missing: give some, or take "
                    "tune='none'."
                )
            learnt = self._adapted(backbone, self._pairs(evidence.auxiliary, proposer, backbone, run), run)
        return FittedOVSeg(classes, backbone, text_head(backbone, classes.prompts(), run), self, proposer, learnt)

    def _pairs(self, given: Table[Any], proposer: MaskProposer, backbone: Backbone, run: Run) -> Table[Any]:
        if isinstance(given.items, CroppedRegions):
            return given
        some = given.take(sorted(sorted(range(len(given)), key=given.items.key)[: self.photos]))
        how: Any = {name: getattr(self, name) for name in ("threshold", "regions", "side")}
        return mined(some.items, named(some, self.tagger), proposer, backbone, run, **how)

    def _adapted(self, backbone: Backbone, pairs: Table[Any], run: Run) -> dict[str, Tensor]:
        """Return what was learnt, by its names in ``MaskAdapted``."""
        nouns = [next(iter(captions)) for captions in pairs.columns["captions"].values]
        words = sorted(set(nouns))
        if len(words) < 2:
            raise DataError(f"The captions name {len(words)} things in regions: give more captioned photos.")
        t = text_head(backbone, ClassNames(tuple(words), SINGLE).prompts(), run)
        place = {word: k for k, word in enumerate(words)}
        number = torch.tensor([place[w] for w in nouns])
        lesson = Table(pairs.items, {"noun": Column("label", number.numpy())})
        tune = ("both" if _has_tower(backbone) else "map") if self.tune == "auto" else self.tune
        if tune == "map":
            encoder = MaskedEncoder.of(backbone, {}, run.device, antialias=self.antialias)
            z = embed(encoder, pairs.items, replace(run, engine=None))
            return self._map(backbone, Table(Vectors(z, pairs.items), lesson.columns), t, run)
        learnt = self._tower(backbone, lesson, t, run) if tune in ("both", "full") else {}
        return learnt | self._prompts(backbone, lesson, t, run, learnt) if tune in ("both", "prompts") else learnt

    def from_released(
        self, learnt: Mapping[str, Tensor], kit: Kit, classes: ClassNames | None, run: Run
    ) -> FittedOVSeg:
        """Return the tuned image tower and the mask prompts of a released file."""
        backbone, classes = kit.need(Backbone), named_classes(classes, self.card.name)
        like = MaskAdapted(backbone, copied=True, depth=self.depth)
        inside = like.state_dict()
        wanted = {name: inside[name] for name in (*like.weights(), "prompts")}
        apart = frozen_apart(learnt, backbone, "The released file")
        tuned = check_released(apart, wanted, f"OVSeg on {backbone.spec.name}")
        head = text_head(backbone, classes.prompts(), run)
        return FittedOVSeg(classes, backbone, head, self, kit.need(MaskProposer, "proposer"), tuned)

    def _tower(self, backbone: Backbone, lesson: Table[Any], t: Tensor, run: Run) -> dict[str, Tensor]:
        module = MaskAdapted(backbone, copied=True).to(run.device)
        names = module.weights()
        matrices = tuple(n for n in names if module.get_parameter(n).ndim >= 2)
        others = tuple(n for n in names if n not in matrices)
        before = {n: b.clone() for n, b in module.named_buffers()}
        groups = [ParamGroup(matrices), ParamGroup(others, decay=0.0)]
        learnt = self._trained(module, lesson, t, run, self.rate, 0.2, groups, names)
        state = module.state_dict()
        return learnt | {n: state[n].cpu() for n, b in before.items() if n in state and not torch.equal(state[n], b)}

    def _prompts(
        self, backbone: Backbone, lesson: Table[Any], t: Tensor, run: Run, tuned: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        depth = min(self.depth, backbone.tower("image").depth)
        with run.seeded("ovseg prompts"):
            module = MaskAdapted(backbone, copied=True, depth=depth)
        load_tensors(module, tuned, tuned.keys())  # what the tower's training just gave
        groups = [ParamGroup(("prompts",), decay=0.0)]
        return self._trained(module, lesson, t, run, self.prompt_rate, 0.0, groups, ("prompts",))

    def _map(self, backbone: Backbone, lesson: Table[Any], t: Tensor, run: Run) -> dict[str, Tensor]:
        with run.seeded("ovseg map"):
            module = EmbeddingMap(backbone.image.dim, min(RANK, backbone.image.dim))
        scale, t = backbone.scale()[0].detach(), t.to(run.device)
        step = Step(
            module.to(run.device),
            lambda row, g: {"z": row.item, "noun": int(row.columns["noun"])},
            lambda batch: {"pairs": pair_loss(module(batch["z"]), t[batch["noun"]], scale, batch["noun"])},
        )
        return train_parameters(step, lesson, self._settings(self.map_rate, 0.2, lesson), run)

    def _trained(
        self,
        module: MaskAdapted,
        lesson: Table[Any],
        t: Tensor,
        run: Run,
        rate: float,
        decay: float,
        groups: list[ParamGroup],
        names: tuple[str, ...],
    ) -> dict[str, Tensor]:
        encoder, scale = MaskedEncoder(module.space, module, ""), module.space.scale()[0].detach()
        t = t.to(run.device)

        def view(row: Any, g: torch.Generator) -> Mapping[str, Any]:
            x = resized_crop(encoder.inputs([row.item]), AREA, g)
            return {"pixels": x["pixels"][0], "mask": self.shown(x["mask"][0]), "noun": int(row.columns["noun"])}

        def loss(batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
            z = module(batch["pixels"], batch["mask"])
            return {"pairs": pair_loss(z, t[batch["noun"]], scale, batch["noun"])}

        settings = self._settings(rate, decay, lesson)
        return train_parameters(Step(module, view, loss, groups), lesson, settings, run, names)

    def shown(self, mask: Tensor) -> Tensor:
        """Return the (S, S) mask of a crop that a step of the tuning sees."""
        return mask

    def _settings(self, rate: float, decay: float, lesson: Table[Any]) -> Fit:
        batch = min(self.batch, len(lesson))
        return Fit(rate, batch, epochs=self.epochs, schedule=Schedule(warmup=2), decay=decay)


def _has_tower(backbone: Backbone) -> bool:
    try:
        backbone.tower("image")
    except MissingHook:
        return False
    return True


@dataclass(frozen=True)
class FittedOVSeg(FittedSegmenter):
    """An adapted image tower, a mask proposer and a text head.

    Args:
        classes: K names.
        backbone: CLIP as it was.
        head: (K, D) unit class embeddings.
        method: the settings.
        proposer: of the regions.
        learnt: name -> tensor, see ``MaskAdapted``; {}: CLIP as it was.
    """

    classes: ClassNames
    backbone: Backbone
    head: Tensor
    method: OVSeg
    proposer: MaskProposer
    learnt: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        single = ("down", "up", "prompts")
        sets: dict[str, tuple[tuple[str, ...], ...]] = {
            "none": (), "map": (single[:2],), "prompts": (single[2:],), "full": (("tower",),),
            "both": (("tower", "prompts"),), "auto": (single[:2], ("tower", "prompts")),
        }  # fmt: skip
        check_names({n if n in single else "tower" for n in self.learnt}, (), *sets[self.method.tune])

    def for_classes(self, classes: ClassNames, run: Run) -> FittedOVSeg:
        """Return the segmenter of other classes; what was learnt depends on no class name."""
        return replace(self, classes=classes, head=text_head(self.backbone, classes.prompts(), run))

    def regions(self, images: Samples[Any], run: Run) -> Iterator[Regions]:
        """Yield the masks of each image with their log-probabilities; what no proposal covers is one more."""
        of_tower = {name: t for name, t in self.learnt.items() if name not in ("down", "up")}
        encoder = MaskedEncoder.of(self.backbone, of_tower, run.device, antialias=self.method.antialias)
        for i in range(len(images)):
            photo = InMemory((images[i],), (images.name(i),), (images.key(i),))
            image = photo[0]
            proposals = self.proposer.propose(image, self.classes.names)
            masks, sure = with_rest(*surest(proposals, self.method.regions))
            p = ensemble(
                self.of_crops(photo, masks, encoder, run), self.of_patches(image, masks, run), sure, self.method.share
            )
            grid = (masks.shape[1], masks.shape[2])
            yield Regions(Scores(p, "log_prob"), (image.height, image.width), grid, masks.float(), self.classes.things)

    def of_crops(self, photo: Samples[Any], masks: Tensor, encoder: MaskedEncoder, run: Run) -> Tensor:
        """Return log c, (Q, K), of the masked crops; 0 in the rows of masks that no cell passes.

        Args:
            photo: one.
            masks: (Q, h, w) in [0, 1].
            encoder: adapted.
            run: device and cache.
        """
        cut = masks > self.method.threshold
        there = cut.flatten(1).any(1)
        out = torch.zeros(len(masks), len(self.head))
        if there.any():
            z = embed(
                encoder, CroppedRegions(photo, tuple((0, m) for m in cut[there]), self.method.side),
                replace(run, engine=None),
            )  # fmt: skip
            if "down" in self.learnt:
                z = mapped(z, self.learnt["down"], self.learnt["up"])
            out[there] = logits(self.backbone, normalize(z, dim=-1), self.head).log_softmax(-1).cpu()
        return out

    def of_patches(self, image: Any, masks: Tensor, run: Run) -> Tensor:
        """Return log b, (Q, K), of the mean patch embedding in each mask.

        Args:
            image: a photo.
            masks: (Q, h, w) in [0, 1].
            run: device.
        """
        if self.method.share == 1:
            return torch.zeros(len(masks), len(self.head))
        stride = self.backbone.dense().strides[-1]
        x = resized(image, self.method.side)
        height, width = (max(1, round(side / stride)) * stride for side in x.shape[1:])
        x = F.interpolate(x[None], (height, width), mode="bilinear", align_corners=False)
        with inference(run):
            m = embed_patches(self.backbone, normalise(x, self.backbone.spec.pixels).to(run.device))[0].float().cpu()
        weights = F.interpolate(masks[None].float(), m.shape[1:], mode="bilinear", align_corners=False)[0].flatten(1)
        pooled = weights @ normalize(m, dim=0).flatten(1).T
        return logits(self.backbone, normalize(pooled, dim=-1), self.head).log_softmax(-1).cpu()
