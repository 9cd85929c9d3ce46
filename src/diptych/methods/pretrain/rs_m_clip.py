"""RS-M-CLIP trains CLIP on captions in many languages, and its image tower also by self-distillation of crops.

    L_clip = CLIP's loss of the whole image and one of its captions, in any language
    p_g    = softmax((t_g - C) / tau_t)
    q_v    = softmax(s_v / tau_s)
    L_ssl  = mean over (g, v), v != g, of the cross-entropy of p_g and q_v
    L      = L_clip + lambda L_ssl

After each step:

    C       <- 0.9 C + 0.1 mean of the teacher's scores
    teacher <- m teacher + (1 - m) student

s_v: (B, K) the student's scores of K prototypes for view v, of 2 large and n small crops
t_g: (B, K) the teacher's scores for the large crop g
C: (K,) centre, a moving average
tau_t, tau_s: temperatures of teacher and student
m: momentum, which rises to 1 along a cosine
lambda: weight

Without the centre one prototype wins everywhere, and the entropy of the mean target falls to 0. With a large tau_t
every target is flat, and its entropy stays at ln K. So L_ssl is logged in two parts, the teacher's entropy H(p), and
the divergence KL(p, q), which has the gradient; beside them is the number of prototypes that the batch uses, the
exponential of the entropy of its mean target. A teacher that has collapsed either way is warned of.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from PIL import Image
from torch import Tensor, nn

from diptych.core import (
    Backbone,
    ClassNames,
    Clock,
    Evidence,
    Kit,
    Learns,
    MissingHook,
    ParamGroup,
    Recipe,
    Row,
    Run,
    Space,
    Trainee,
)
from diptych.core.ranges import above, at_least, between, check
from diptych.core.train import everything
from diptych.data.pixels import normalise
from diptych.nn.contrastive import contrastive
from diptych.nn.prototypes import Prototypes, collapse_of, entropy, self_distillation
from diptych.nn.teacher import Teacher, cosine_momentum
from diptych.train.distributed import gather
from diptych.train.pair import PairTrainee

WATCHED = 20
"""Steps between two looks at the teacher; the centre has come near the scores' mean in as many."""


class _SelfDistilled(PairTrainee):
    """Trains pairs and, on crops, a student against a teacher that is the moving average of its weights.

    Attributes:
        teacher: the average of the student, with a head.
        scores: (2 B, K) the teacher's scores of all processes in the last batch. ``losses`` sets them, since ``after``
            has no batch; ``after`` moves the centre by their mean, since the centre must not change before the step.
    """

    def __init__(self, recipe: RSMCLIP, space: Backbone, run: Run, learns: Learns) -> None:
        super().__init__(space, None, run, learns=learns)
        self.recipe, size = recipe, space.image.size
        if size is None:
            raise MissingHook(
                "RS-M-CLIP crops photos, and this backbone takes vectors as images: give one whose image tower takes "
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
        self.scores = torch.zeros(0, recipe.prototypes)
        self.warned = False
        self.large, self.small = (_crops(side, scale) for side, scale in zip(self.sides, recipe.scales, strict=True))

    def groups(self) -> list[ParamGroup]:
        """Return the groups of all parameters outside the teacher."""
        return [
            ParamGroup(tuple(n for n in g.names if not n.startswith("teacher.")), g.lr, g.decay)
            for g in super().groups()
        ]

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return the image, a drawn caption, and the crops in [0, 1]; no crops where lambda is 0."""
        if self.recipe.weight == 0:
            return super().views(row, g)
        image = row.item.convert("RGB")
        crops = [self.large(image) for _ in range(2)] + [self.small(image) for _ in range(self.recipe.crops)]
        return {**super().views(row, g), **{f"crop-{i}": c for i, c in enumerate(crops)}}

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the encoders' inputs, and the normalised pixels of each crop, (B, 3, S, S)."""
        names = [n for n in views[0] if n.startswith("crop-")]
        crops = {n: normalise(torch.stack([v[n] for v in views]), self.space.spec.pixels) for n in names}
        return {**super().collate(views), **crops}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return "contrastive", "distilled" and "entropy"; the sum of the last two is lambda L_ssl.

        Where lambda is 0 there is "contrastive" alone.
        """
        aligned = {"contrastive": contrastive(self.embed(batch), ("image", "text"))}
        if self.recipe.weight == 0:
            return aligned
        names = [f"crop-{i}" for i in range(2 + self.recipe.crops)]
        students = [self._module["head"](_pooled(self.space, batch[n])) for n in names]
        with torch.no_grad():
            head = _child(self.teacher.network, "head")
            teachers = [head(_pooled(self.teacher_space, batch[n])) for n in names[:2]]
        self.scores = gather(self.run.world)(torch.cat(teachers))
        r = self.recipe
        spread = entropy(teachers, self._centre(), r.teacher_temperature)
        l_ssl = self_distillation(students, teachers, self._centre(), r.teacher_temperature, r.student_temperature)
        return {**aligned, "distilled": r.weight * (l_ssl - spread), "entropy": r.weight * spread}

    def after(self, what: Literal["step", "epoch"], clock: Clock) -> None:
        """Move the centre and the teacher after a step; warn once where the teacher has collapsed."""
        super().after(what, clock)
        if what == "step" and self.recipe.weight:
            if clock.step % WATCHED == WATCHED - 1 and not self.warned:
                self._warn()
            self._move_centre()
            self.teacher.follow(self.student, cosine_momentum(self.recipe.momentum, clock.step, clock.steps))

    def facts(self) -> Mapping[str, Tensor]:
        """Return the scale, and the number of prototypes that the last batch used."""
        if not len(self.scores):
            return super().facts()
        used = collapse_of(self.scores, self._centre(), self.recipe.teacher_temperature)[1]
        return {**super().facts(), "prototypes_used": torch.tensor(used)}

    def _warn(self) -> None:
        kind, used = collapse_of(self.scores, self._centre(), self.recipe.teacher_temperature)
        if kind and self.run.world.rank == 0:
            self.warned = True
            remedy = "lower the learning rate" if kind == "one" else "lower the teacher's temperature"
            warnings.warn(
                f"The teacher has collapsed: its targets use {used:.1f} of {self.recipe.prototypes} prototypes"
                f"{', all alike' if kind == 'all' else ''}, so that the crops teach nothing: {remedy}, or give "
                f"larger batches.",
                stacklevel=2,
            )

    def _move_centre(self) -> None:
        self._centre().lerp_(self.scores.mean(0).to(self._centre()), 0.1)

    def _centre(self) -> Tensor:
        centre: Tensor = self._module.get_buffer("centre")
        return centre


def _child(module: nn.Module, name: str) -> nn.Module:
    return module.get_submodule(name)


def _pooled(space: Space, pixels: Tensor) -> Tensor:
    tower = space.tower("image")  # its positions are interpolated for crops of any size
    return tower.pooled(tower.blocks(tower.start(pixels)))


def _crops(side: int, scale: tuple[float, float]) -> Callable[[Image.Image], Tensor]:
    """Return DINO's transform for small crops of an image to (3, side, side) in [0, 1].

    It draws from torch's global generator, which the training loop seeds for each row.
    """
    from torchvision import transforms as T

    blur = 2 * (side // 20) + 1
    view: Callable[[Image.Image], Tensor] = T.Compose(
        [
            T.RandomResizedCrop(side, scale, interpolation=T.InterpolationMode.BICUBIC), T.RandomHorizontalFlip(),
            T.RandomApply([T.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8), T.RandomGrayscale(0.2),
            T.RandomApply([T.GaussianBlur(blur)], 0.5), T.ToTensor(),
        ]
    )  # fmt: skip
    return view


@dataclass(frozen=True)
class RSMCLIP(Recipe):
    """Train pairs in any number of languages, and distil from crops. Translations are further captions of an image.

    Use it to adapt a CLIP to a domain with few captions. It needs a ViT image tower; languages beyond English need a
    multilingual text tower, such as xlm-roberta-base-ViT-B-32.

    Args:
        weight: lambda; 1.0 (ours: the paper's was not found). 0 draws no crops, and leaves CLIP's loss alone.
        crops: n, small crops beside the two large ones, >= 0; 6 (ours; DINO has 8).
        small: side of small crops as a share of the input's, in (0, 1]; 96 / 224 (DINO's), rounded to whole patches.
        scales: ranges of the share of the area, for large and for small crops; ((0.4, 1.0), (0.05, 0.4)) (DINO's).
        hidden: width of the head's layers; 2048 (DINO's).
        bottleneck: width before the prototypes; 256 (DINO's).
        prototypes: K, >= 2; 4096 (ours, for few images; DINO has 65,536).
        teacher_temperature: tau_t, divides the teacher's scores, > 0; 0.04 (DINO's).
        student_temperature: tau_s, divides the student's scores, > 0; 0.1 (DINO's).
        momentum: m at the start, in [0, 1]; 0.996 (DINO's).

    Raises:
        UsageError: a number is out of its range.

    Source: Silva et al. 2024, with DINO's published defaults where the paper's were not found.

    Example:
        Equal scores have the entropy ln K, and a divergence of 0:

        >>> equal = [torch.zeros(3, 4)] * 2
        >>> centre = torch.zeros(4)
        >>> round(entropy(equal, centre, 0.04).item(), 4)
        1.3863
        >>> round(self_distillation(equal, equal, centre, 0.04, 0.1).item(), 4)
        1.3863
    """

    passes_once: ClassVar[bool] = True
    weight: float = 1.0
    crops: int = 6
    small: float = 96 / 224
    scales: tuple[tuple[float, float], tuple[float, float]] = ((0.4, 1.0), (0.05, 0.4))
    hidden: int = 2048
    bottleneck: int = 256
    prototypes: int = 4096
    teacher_temperature: float = 0.04
    student_temperature: float = 0.1
    momentum: float = 0.996

    def __post_init__(self) -> None:
        check(self, at_least(0), "crops", "weight")
        check(self, at_least(1), "hidden", "bottleneck")
        check(self, at_least(2), "prototypes")
        check(self, above(0), "teacher_temperature", "student_temperature")
        check(self, between(0, 1), "momentum")
        check(self, between(0, 1, "(]"), "small")

    def stages(
        self, kit: Kit, classes: ClassNames | None, evidence: Evidence[Any], run: Run, learns: Learns = everything
    ) -> Iterator[Trainee]:
        """Yield the one trainee; see ``Recipe.stages``.

        Raises:
            MissingHook: the image tower cannot be cut in blocks, or takes vectors as images.
        """
        yield _SelfDistilled(self, kit.need(Backbone), run, learns)
