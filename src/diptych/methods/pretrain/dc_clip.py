"""DC-CLIP makes a small CLIP of two languages out of a large one: each tower learns the teacher's features on unpaired
material, and a short contrastive training on bilingual pairs then aligns the two.

Stage 1, first for the image tower and then for the text tower:

    L_feat = mean of h(A f_s - z)     over rows, positions and channels, summed over the kinds of feature
    z      = (f_t - mu) / sigma
    h(u)   = u^2 / 2 for |u| < 1, else |u| - 1/2

Stage 2:

    L = CLIP's loss of the images and one caption of each, in either language

f_s: (B, L, C) a feature of the student at L positions;  f_t: (B, L, C') the same of the frozen teacher
A: linear map from C to C', one a kind of feature, trained beside the tower and dropped after the stage; that of the
    joint embedding is trained with the image tower alone and kept for the text tower, so that both have one space
mu, sigma: (C',) mean and deviation of each channel of the teacher, over a sample of the material

The kinds of feature are the cells of the last image map, the tokens of a text, and the joint embedding (L = 1).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.core import (
    Backbone,
    ClassNames,
    Clock,
    DataError,
    Evidence,
    Inputs,
    Kit,
    Learns,
    MissingHook,
    ParamGroup,
    Recipe,
    Run,
    Samples,
    Space,
    Table,
    Texts,
    Trainee,
)
from diptych.core.ranges import above, at_least, check, one_of
from diptych.core.train import Stage, everything
from diptych.data.evidence import training_rows
from diptych.data.joined import Joined
from diptych.features.frozen import HeadSpace, side_names
from diptych.nn.contrastive import contrastive
from diptych.nn.tower_features import image_features, resized, same_tokens, text_features
from diptych.train.distributed import gather
from diptych.train.pair import PairTrainee, item


def smooth_l1(x: Tensor, z: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return L_feat of one kind of feature.

    Args:
        x: (B, L, C') mapped features of the student.
        z: (B, L, C') standardised features of the teacher.
        valid: (B, L) bool, positions that count; None: all.

    Source: Girshick 2015 (Fast R-CNN), equation 3.

    Example:
        >>> smooth_l1(torch.tensor([[[0.5], [3.0]]]), torch.zeros(1, 2, 1)).item()  # (0.125 + 2.5) / 2
        1.3125
    """
    return F.smooth_l1_loss(x, z) if valid is None else F.smooth_l1_loss(x[valid], z[valid])


class _Distilled(PairTrainee):
    """Trains one tower of a student, with an adapter a kind of feature, to give a teacher's features.

    Args:
        recipe: with the kinds of feature, and the size of the sample.
        space: the student.
        teacher: stays as it is.
        modality: "image" or "text".
        material: pictures or texts.
        run: draws the sample and the adapters.
        learns: which parameters may be trained.
        shared: trained adapter of the other half's embeddings, which stays as it is; None: there is none yet.
    """

    def __init__(
        self,
        recipe: DCCLIP,
        space: Backbone,
        teacher: Backbone,
        modality: Literal["image", "text"],
        material: Samples[Any],
        run: Run,
        learns: Learns,
        shared: nn.Module | None = None,
    ) -> None:
        names = side_names(space, modality)
        super().__init__(space, None, run, read={modality: item}, learns=lambda n: n in names and learns(n))
        self.teacher, self.modality, self.within = teacher, modality, recipe.features == "maps"
        order = np.random.default_rng(run.integer(f"sample of {modality}")).permutation(len(material))
        sample = [material[int(i)] for i in order[: recipe.sample]]
        if modality == "text":
            self.within = self.within and same_tokens(space, teacher, sample)
        encoders = teacher.encoders, self.space.encoders
        with torch.no_grad():
            parts = [
                self._features(teacher, encoders[0][modality].inputs(sample[i : i + run.batch]))
                for i in range(0, len(sample), run.batch)
            ]
            student, _ = self._features(self.space, encoders[1][modality].inputs(sample[:1]))
        with run.seeded("adapters"):
            self.adapters = nn.ModuleDict(
                {kind: nn.Linear(f.shape[-1], parts[0][0][kind].shape[-1]) for kind, f in student.items()}
            )
        if shared is not None:
            self.adapters["embedding"] = copy.deepcopy(shared)
        self.fixed = "adapters.embedding." if shared is not None else None
        self._module["adapters"] = self.adapters
        for kind in self.adapters:
            seen = torch.cat([f[kind][valid] if kind == "tokens" else f[kind].flatten(0, -2) for f, valid in parts])
            deviation, mean = torch.std_mean(seen, dim=0, correction=0)
            # a channel that is constant in the sample would be divided by 0
            self._module.register_buffer(f"{kind}_deviation", deviation.clamp(min=1e-2 * deviation.mean().item()))
            self._module.register_buffer(f"{kind}_mean", mean)

    def groups(self) -> list[ParamGroup]:
        """Return the groups of the tower and of the adapters that are trained."""
        groups = super().groups()
        if self.fixed is None:
            return groups
        left = [tuple(n for n in g.names if not n.startswith(self.fixed)) for g in groups]
        return [replace(g, names=names) for g, names in zip(groups, left, strict=True)]

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the inputs of the student, and under "teacher" those of the teacher."""
        items = [v[self.modality] for v in views]
        return {**super().collate(views), "teacher": self.teacher.encoders[self.modality].inputs(items)}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return L_feat of each kind of feature, by its name."""
        with torch.no_grad():
            taught, _ = self._features(self.teacher, batch["teacher"])
        student, valid = self._features(self.space, batch[self.modality])
        out = {}
        for kind, f in student.items():
            mean, deviation = (self._module.get_buffer(f"{kind}_{what}") for what in ("mean", "deviation"))
            z = (taught[kind].to(f) - mean) / deviation
            x = self.adapters[kind](resized(f, z.shape[1:3]) if kind == "map" else f)
            out[kind] = smooth_l1(x, z, valid if kind == "tokens" else None)
        if "tokens" in out:  # so that the mean over processes is that over all tokens
            counts = gather(self.run.world)(valid.sum()[None])
            out["tokens"] = out["tokens"] * (valid.sum() * len(counts) / counts.sum())
        return out

    def _features(self, space: Space, x: Inputs) -> tuple[dict[str, Tensor], Tensor]:
        """Return the features by kind, and the mask of the tokens."""
        if self.modality == "image":
            return image_features(space, x, maps=self.within), torch.empty(0, dtype=torch.bool)
        return text_features(space, x, tokens=self.within, project=space is self.teacher)


class _Aligned(PairTrainee):
    """Trains the pairs of a distilled student."""

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return CLIP's loss as "contrastive"."""
        return {"contrastive": contrastive(self.embed(batch), ("image", "text"))}


@dataclass(frozen=True)
class DCCLIP(Recipe):
    """Distil a teacher's two towers into small ones, and align these on captioned images.

    Use it to make a small CLIP of two or more languages. The backbone is the student, the kit's part "teacher" the
    large model, such as AltCLIP (hf:BAAI/AltCLIP). Captions of a row may be in any language that the teacher reads.
    Unpaired material is the evidence's unlabelled pictures and its texts, beside the pictures and captions of the rows.

    Args:
        features: "maps" distils cells and, where both text towers have one tokenizer, tokens beside the embeddings;
            "embeddings" these alone, for encoders without maps.
        rate: learning rate of stage 1, > 0; 1e-3 (ours).
        steps: steps of each half of stage 1, >= 1; None (default): as many as stage 2 has.
        decay: weight decay of stage 1, >= 0; 0.05 (ours).
        sample: pictures or texts from which mu and sigma are computed, >= 2; 256 (ours).

    Raises:
        UsageError: a setting is out of its range.

    Source: the abstract of the paper (two stages, feature distillation, SmoothL1 in the digests that were found).

    Example:
        >>> x = torch.arange(4.0).reshape(1, 2, 2, 1)  # the map of a student, with another grid than the teacher's
        >>> resized(x, (1, 1)).flatten().tolist()
        [1.5]
        >>> DCCLIP().features
        'maps'
    """

    features: Literal["maps", "embeddings"] = "maps"
    rate: float = 1e-3
    steps: int | None = None
    decay: float = 0.05
    sample: int = 256

    def __post_init__(self) -> None:
        check(self, one_of("maps", "embeddings"), "features")
        check(self, above(0), "rate")
        check(self, at_least(1), "steps")
        check(self, at_least(0), "decay")
        check(self, at_least(2), "sample")

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee | Stage]:
        """Yield the two halves of stage 1 on unpaired material, and stage 2 on the rows.

        Raises:
            MissingPart: the kit has no backbone, or no "teacher".
            MissingEvidence: there are no training rows.
            DataError: the rows have no captions.
            MissingHook: the student is heads alone; or maps are wanted, and an image encoder has none.
        """
        student, teacher = kit.need(Backbone), kit.need(Backbone, "teacher")
        if isinstance(student, HeadSpace):
            raise MissingHook("DC-CLIP trains towers, and this space has heads alone: give a whole backbone.")
        pictures, texts = material(evidence)
        fit = {"lr": self.rate, "decay": self.decay, **({} if self.steps is None else {"steps": self.steps})}
        looks = _Distilled(self, student, teacher, "image", pictures, run, learns)
        yield Stage(looks, data=Table(pictures), fit=fit)
        reads = _Distilled(self, _whole(looks), teacher, "text", texts, run, learns, looks.adapters["embedding"])
        yield Stage(reads, data=Table(texts), fit=fit)
        yield _Aligned(_whole(reads), None, run, learns=learns)


def material(evidence: Evidence[Any]) -> tuple[Samples[Any], Texts]:
    """Return the pictures and the texts of stage 1, which belong to each other in no way: of the rows, and beside them.

    Raises:
        MissingEvidence: there are no training rows.
        DataError: the rows have no captions.
    """
    train = training_rows(evidence, "dc-clip")
    if "captions" not in train.columns:
        raise DataError("dc-clip aligns pictures with captions, and the rows have none: give a column 'caption'.")
    captions = [(texts,) if isinstance(texts, str) else texts for texts in train.columns["captions"].values]
    more = [t.value for texts in (evidence.texts.texts.values() if evidence.texts else ()) for t in texts]
    rows = (train.items, *([] if evidence.unlabelled is None else [evidence.unlabelled]))
    return Joined(rows), Texts(tuple(dict.fromkeys([*(t for texts in captions for t in texts), *more])))


def _whole(trainee: _Distilled) -> Backbone:
    space = trainee.trained()
    assert isinstance(space, Backbone)  # rebuild keeps the kind
    return space
