"""RS-M-CLIP: captions in many languages, and an image tower that also learns from its own average, small crops from
large ones.

    L_clip = CLIP's loss of the whole image and one of its captions, whatever the language
    L_ssl  = mean over (g, v != g) of  -sum_c softmax((t_g - C) / tau_t)_c  log softmax(s_v / tau_s)_c
    L = L_clip + lambda L_ssl
    after the step:   C <- 0.9 C + 0.1 mean of the teacher's outputs,   teacher <- m teacher + (1 - m) student

s_v are the student's prototype scores of view v (2 large crops, n small ones), t_g the teacher's of the large ones. m
rises to 1 along a cosine. Without the centre C, one prototype takes all: the teacher's entropy falls to 0; without
sharpening it stays at ln K. So L_ssl is logged as its two parts, the teacher's entropy H(p) and the divergence KL(p |
q): their sum has the gradient of the second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize

from diptych.core.backbone import Backbone, Space
from diptych.core.card import Card, Needs, ProofPlan, Reference
from diptych.core.data import ClassNames, Evidence
from diptych.core.errors import MissingHook
from diptych.core.kit import Kit
from diptych.core.ranges import above, at_least, between, check
from diptych.core.run import Run
from diptych.core.train import Clock, Learns, ParamGroup, Recipe, Row, Trainee, everything
from diptych.data.pixels import normalise
from diptych.nn.contrastive import contrastive
from diptych.nn.teacher import Teacher, cosine_momentum
from diptych.train.distributed import gather
from diptych.train.pair import PairTrainee


def self_distillation(
    students: Sequence[Tensor], teachers: Sequence[Tensor], centre: Tensor, sharp: float, soft: float
) -> Tensor:
    """Return the mean cross-entropy of every student view to every teacher view that is not the same crop.

    Args:
        students: V tensors (B, K) of scores; the first are the teacher's crops.
        teachers: G tensors (B, K).
        centre: (K,) taken from the teacher's scores.
        sharp: tau_t, divides the teacher's scores, > 0.
        soft: tau_s, divides the student's, > 0.

    Source: Caron et al. 2021 (DINO), equations 2 and 3.
    """
    targets = [((t - centre) / sharp).softmax(-1) for t in teachers]
    logs = [(s / soft).log_softmax(-1) for s in students]
    terms = [-(t * s).sum(-1).mean() for g, t in enumerate(targets) for v, s in enumerate(logs) if v != g]
    return torch.stack(terms).mean()


def entropy(teachers: Sequence[Tensor], centre: Tensor, sharp: float) -> Tensor:
    """Return the mean entropy of the teacher's targets: 0 where one prototype takes all of an image, ln K where none
    stands out.

    Args:
        teachers: G tensors (B, K).
        centre: (K,) taken from them.
        sharp: tau_t, divides the teacher's scores, > 0.

    Source: Caron et al. 2021 (DINO), section 5.3: H(p, q) = H(p) + KL(p | q).
    """
    logs = torch.stack([((t - centre) / sharp).log_softmax(-1) for t in teachers])
    return -(logs.exp() * logs).sum(-1).mean()


class Prototypes(nn.Module):
    """Three layers, a unit bottleneck, and cosines to K unit prototypes.

    Args:
        width: C of the tower.
        hidden: of the layers.
        bottleneck: width before the prototypes.
        prototypes: K.
    """

    def __init__(self, width: int, hidden: int, bottleneck: int, prototypes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.prototypes = nn.Parameter(torch.randn(prototypes, bottleneck))

    def forward(self, h: Tensor) -> Tensor:
        """Return (B, K) cosines of (B, C) pooled vectors."""
        return normalize(self.layers(h), dim=-1) @ normalize(self.prototypes, dim=-1).T


class _SelfDistilled(PairTrainee):
    """Trains pairs and, from crops, a student against its own moving average.

    Attributes:
        teacher: the average of the student, with its own head.
        seen: (K,) mean of the teacher's outputs in the last batch. ``losses`` sets it and ``after`` moves the centre by
            it: the centre must not move before the step whose losses it was taken from, and ``after`` sees no batch.
    """

    def __init__(self, recipe: RSMClip, space: Backbone, run: Run, learns: Learns) -> None:
        super().__init__(space, None, run, learns=learns)
        self.recipe, size = recipe, space.image.size
        if size is None:
            raise MissingHook(
                "RS-M-CLIP crops photos, and this backbone takes vectors for images: give one whose image tower reads "
                "pixels."
            )
        tower = space.tower("image")
        patch = size // round(tower.start(torch.zeros(1, 3, size, size)).grid[0])  # type: ignore[index]
        self.sides = (size, max(patch, round(size * recipe.small / patch) * patch))
        with run.seeded("prototypes"):
            self._module["head"] = Prototypes(tower.width, recipe.hidden, recipe.bottleneck, recipe.prototypes)
        self.student = nn.ModuleDict({"space": self.space.module(), "head": self._module["head"]})
        self.teacher = Teacher(self.student)
        self._module["teacher"] = self.teacher
        self._module.register_buffer("centre", torch.zeros(recipe.prototypes))
        self.teacher_space = space.rebuild(_child(self.teacher.network, "space"), space.spec)
        self.seen = torch.zeros(recipe.prototypes)
        self.large, self.small = (_crops(side, scale) for side, scale in zip(self.sides, recipe.scales, strict=True))

    def groups(self) -> list[ParamGroup]:
        """Return all but the teacher."""
        return [
            ParamGroup(tuple(n for n in g.names if not n.startswith("teacher.")), g.lr, g.decay)
            for g in super().groups()
        ]

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return the image, a drawn caption, and the crops, in [0, 1]; without a weight on the crops there are none."""
        if self.recipe.weight == 0:
            return super().views(row, g)
        image = row.item.convert("RGB")
        crops = [self.large(image) for _ in range(2)] + [self.small(image) for _ in range(self.recipe.crops)]
        return {**super().views(row, g), **{f"crop-{i}": c for i, c in enumerate(crops)}}

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the encoders' inputs, and (B, 3, S, S) normalised pixels of each crop."""
        names = [n for n in views[0] if n.startswith("crop-")]
        crops = {n: normalise(torch.stack([v[n] for v in views]), self.space.spec.pixels) for n in names}
        return {**super().collate(views), **crops}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return {"contrastive", "distilled", "entropy"}; the last two sum up to lambda L_ssl, and are absent where
        lambda is 0.
        """
        aligned = {"contrastive": contrastive(self.embed(batch), ("image", "text"))}
        if self.recipe.weight == 0:
            return aligned
        names = [f"crop-{i}" for i in range(2 + self.recipe.crops)]
        students = [self._module["head"](_pooled(self.space, batch[n])) for n in names]
        with torch.no_grad():
            head = _child(self.teacher.network, "head")
            teachers = [head(_pooled(self.teacher_space, batch[n])) for n in names[:2]]
        self.seen = gather(self.run.world)(torch.cat(teachers)).mean(0)
        r = self.recipe
        own = entropy(teachers, self._centre(), r.sharp)
        distilled = self_distillation(students, teachers, self._centre(), r.sharp, r.soft)
        return {**aligned, "distilled": r.weight * (distilled - own), "entropy": r.weight * own}

    def after(self, what: Literal["step", "epoch"], clock: Clock) -> None:
        """Move the centre and the teacher, after the loss that used them."""
        super().after(what, clock)
        if what == "step":
            self._move_centre()
            self.teacher.follow(self.student, cosine_momentum(self.recipe.momentum, clock.step, clock.steps))

    def _move_centre(self) -> None:
        self._centre().lerp_(self.seen.to(self._centre()), 0.1)

    def _centre(self) -> Tensor:
        centre: Tensor = self._module.get_buffer("centre")
        return centre


def _child(module: nn.Module, name: str) -> nn.Module:
    return module.get_submodule(name)


def _pooled(space: Space, pixels: Tensor) -> Tensor:
    tower = space.tower("image")  # its positions stretch to crops of any size
    return tower.pooled(tower.blocks(tower.start(pixels)))


def _crops(side: int, scale: tuple[float, float]) -> Callable[[Image.Image], Tensor]:
    """Return DINO's view of an image: (3, side, side) in [0, 1]. It draws from torch's generator, which the loop seeds
    for each row.
    """
    from torchvision import transforms as T

    blur = 2 * (side // 20) + 1
    view: Callable[[Image.Image], Tensor] = T.Compose(
        [
            T.RandomResizedCrop(side, scale, interpolation=T.InterpolationMode.BICUBIC),
            T.RandomHorizontalFlip(),
            T.RandomApply([T.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8),
            T.RandomGrayscale(0.2),
            T.RandomApply([T.GaussianBlur(blur)], 0.5),
            T.ToTensor(),
        ]
    )
    return view


@dataclass(frozen=True)
class RSMClip(Recipe):
    """Train pairs in any number of languages (one caption is drawn, so translations are further captions), and distil
    crops.

    Needs an image tower cut in blocks (a ViT), whose positions stretch to small crops. For languages beyond English, a
    backbone with a multilingual text tower, such as xlm-roberta-base-ViT-B-32.

    Args:
        weight: lambda; 1.0 (ours: the paper's was not found); 0 draws no crops and is CLIP's loss alone.
        crops: small crops beside the two large ones; 6 (ours; DINO: 8).
        small: side of small crops as a share of the input's; 96 / 224, rounded to whole patches.
        scales: shares of the area that large and small crops show.
        hidden: of the head; 2048.
        bottleneck: 256.
        prototypes: K; 4096 (ours, for few images; DINO: 65,536).
        sharp: tau_t, divides the teacher's scores; 0.04.
        soft: tau_s, divides the student's; 0.1.
        momentum: m at the start; 0.996.

    Raises:
        UsageError: a number out of its range.

    Source: Silva et al. 2024, with DINO's published defaults where its own were not found.
    """

    weight: float = 1.0
    crops: int = 6
    small: float = 96 / 224
    scales: tuple[tuple[float, float], tuple[float, float]] = ((0.4, 1.0), (0.05, 0.4))
    hidden: int = 2048
    bottleneck: int = 256
    prototypes: int = 4096
    sharp: float = 0.04
    soft: float = 0.1
    momentum: float = 0.996

    card: ClassVar[Card] = Card(
        slug="rs-m-clip",
        name="RS-M-CLIP",
        title="Multilingual Vision-Language Pre-training for the Remote Sensing Domain",
        url="https://arxiv.org/abs/2410.23370",
        year=2024,
        verb="pretrain",
        claim="Translated captions and self-distillation of crops adapt a multilingual CLIP to a domain that has "
        "little text.",
        needs=Needs(
            hooks=("image", "text", "tower:image", "rebuild"), extras=("train",), evidence=("train",), optional=("val",)
        ),
        trains="both towers, the scale and a head of prototypes that is thrown away",
        reference=Reference("https://github.com/DannielSilva/RS-M-CLIP", "", "none found"),
        differs=(
            "The authors published weights and no code; hyper-parameters that could not be read are DINO's, or ours "
            "where so marked.",
            "Prototypes are unit vectors, which is DINO's weight normalisation with its gain fixed at one.",
            "The student is what training returns; whether the paper ships student or teacher was not found.",
            "Pixels of crops keep the backbone's own mean and deviation, not ImageNet's as in DINO.",
        ),
        proof=ProofPlan(
            claim="Names in several languages find pictures of another style in all of them (R@1), where English alone "
            "does not.",
            control="Translations permuted across pictures leave the other languages at chance.",
            datasets=("emoji",),
            stage="mechanism",
            minutes=20,
        ),
        licence_note="No code of the authors was seen: there is none.",
    )

    def __post_init__(self) -> None:
        check(self, at_least(0), "crops")
        check(self, at_least(2), "prototypes")
        check(self, above(0), "sharp", "soft")
        check(self, between(0, 1), "momentum")
        check(self, between(0, 1, "(]"), "small")

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee]:
        """Yield the one trainee.

        Raises:
            MissingHook: the image tower can't be cut in blocks.
        """
        yield _SelfDistilled(self, kit.need(Backbone), run, learns)
