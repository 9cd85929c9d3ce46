"""DeltaEdit: learn from differences of pictures how styles change, and edit by differences of words.

i_k = normalise(image(G(s_k)));  di = normalise(i_2 - i_1);  ds = s_2 - s_1
minimise |M(s_1, [i_1; di]) - ds|^2 + 1 - cos(M, ds)
d   = e(target) - e(source);  dt = d / |d|;  keep channel c where |F_c d| >= beta;  G(s + keep * M(s, [i; dt]))
F_c: mean change of the image vector, each of unit length, when style channel c moves. Training pairs any two pictures
    and sees no word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, mse_loss, normalize

from diptych.core.backbone import Backbone
from diptych.core.card import Card, Needs, ProofPlan, Reference
from diptych.core.data import Evidence, Table, Texts
from diptych.core.edit import EditAsk, Edited, Editor, FittedEditor, Inverter, StyleGenerator, Styles
from diptych.core.errors import MissingPart, UsageError
from diptych.core.kit import Kit
from diptych.core.ranges import above, at_least, check, wrong
from diptych.core.run import Run
from diptych.core.train import Row
from diptych.features.heads import text_head
from diptych.features.vectors import Vectors
from diptych.nn.delta_mapper import DeltaMapper, Norm
from diptych.nn.style_space import drawn, pictures_of, relevance, seen
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit, Schedule
from diptych.train.step import Step

FLOOR = 1e-5
"""Least length by which a difference of vectors is divided."""
FRAMES = ("{}", "a photo of {}.", "a picture of {}.", "an image of {}.")


def direction(first: Tensor, second: Tensor) -> Tensor:
    """Return normalise(second - first), (..., D); a difference shorter than 1e-5 is divided by 1e-5."""
    return normalize(second - first, dim=-1, eps=FLOOR)


def kept(relevance: Tensor, d: Tensor, beta: float) -> Tensor:
    """Return bool, (S,) or (B, S): the channels that an edit may move, |F d| >= beta; none where d = 0.

    Args:
        relevance: F, (S, D).
        d: (D,) or (B, D) differences of two unit text vectors, not normalised.
        beta: threshold, >= 0; no channel passes a threshold above 2, the longest d.
    """
    return ((d @ relevance.T).abs() >= beta) & (d != 0).any(-1, keepdim=True)


def terms(predicted: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """Return {"squared": mean squared error, "cosine": mean of 1 - cosine} of (B, S) changes of styles."""
    return {"squared": mse_loss(predicted, wanted), "cosine": (1 - cosine_similarity(predicted, wanted, dim=1)).mean()}


def another(row: Row, g: torch.Generator, count: int) -> dict[str, int]:
    """Return "first", the number of a row of the bank, and "second", that of a drawn other one of ``count`` rows."""
    shift = int(torch.randint(1, count, (), generator=g))
    return {"first": row.index, "second": (row.index + shift) % count}


@dataclass(frozen=True)
class DeltaEdit(Editor):
    """Train a mapper from differences of image vectors to differences of styles, and give it differences of text
    vectors.

    Args:
        beta: threshold of the relevance mask (0.03), >= 0; 0 moves every channel, infinity none.
        bank: pictures drawn from the generator (200,000), at least 2; ``evidence.unlabelled`` joins them, inverted.
        passes: over the bank (50), one pair a picture and pass.
        batch: pairs a step (64).
        rate: learning rate of Adam (0.5; the mapper's layers multiply it by 0.01).
        levels: style layers of the coarse and of the medium level (3, 4); the rest is the fine level.
        width: of the mapper's inner layers; None: that of the level.
        norm: "reference" normalises over the layers of a level, as the authors' code does, "channels" over the
            channels.
        probes: pictures on which each channel's relevance is measured (100).
        sigmas: how far a channel moves for that, to either side, in standard deviations of the bank (5).
        frames: prompts that source and target are put in; their unit vectors are averaged.

    Raises:
        UsageError: a number out of its range, or a frame without exactly one "{}".

    Source: Lyu et al. 2023 (DeltaEdit), sections 3.2 to 3.4; numbers from the authors' code.
    Differs: see the card.
    """

    beta: float = 0.03
    bank: int = 200_000
    passes: int = 50
    batch: int = 64
    rate: float = 0.5
    levels: tuple[int, int] = (3, 4)
    width: int | None = None
    norm: Norm = "reference"
    probes: int = 100
    sigmas: float = 5.0
    frames: tuple[str, ...] = FRAMES

    card: ClassVar[Card] = Card(
        slug="deltaedit",
        name="DeltaEdit",
        title="DeltaSpace: A Semantic-aligned Feature Space for Flexible Text-guided Image Editing",
        url="https://arxiv.org/abs/2310.08785",
        year=2023,
        verb="edit",
        claim="The difference of two image vectors lies near that of their captions', so an editor trained on pictures "
        "obeys words.",
        needs=Needs(parts=("StyleGenerator",), extras=("train",), optional=("unlabelled",)),
        trains="a mapper of style changes",
        reference=Reference("https://github.com/Yueming6568/DeltaEdit", "", "none found"),
        differs=(
            "Levels follow from the generator's own layers; the authors' sizes (6048, 512) are written into their "
            "code.",
            "Pictures enter the image tower by its own pixel recipe; the authors' are pooled by 32 and not normalised.",
            "Source and target are phrases, put in four frames of ours; the authors' 79 ImageNet templates take "
            "single words.",
            "Relevance is the plain mean of unit changes between both sides of a step; how the authors made theirs is "
            "not stated.",
            "Any number of pictures is edited at once; theirs takes one, and its threshold flag cannot be given.",
            "A source and target that the backbone cannot tell apart change nothing, whatever the threshold.",
            "Only the StyleGAN version is here; sizes of the diffusion version were not found.",
        ),
        proof=ProofPlan(
            claim="Edits by words change what they name and nothing else more often than with absolute vectors, and "
            "than without the mask.",
            control="Edits by the words of another picture do what was asked no more often than what was not.",
            datasets=("factors",),
            stage="mechanism",
            minutes=8.0,
        ),
        variants={"": {}, "small": {"beta": 0.2, "bank": 2048, "passes": 30, "width": 128, "probes": 16, "rate": 0.2}},
    )

    def __post_init__(self) -> None:
        check(self, at_least(2), "bank")
        check(self, at_least(1), "passes", "batch", "probes", "width")
        check(self, at_least(0), "beta", "levels")
        check(self, above(0), "rate", "sigmas")
        if not self.frames or any(frame.count("{}") != 1 for frame in self.frames):
            raise wrong(self, "frames", "prompts with exactly one '{}' where the words go")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedDeltaEdit:
        """Draw the bank, train the mapper on pairs of it, and measure what each style channel does; no text is seen.

        Raises:
            MissingPart: the kit has no backbone, no generator, or no inverter for the unlabelled pictures.
            MissingExtra: accelerate is not installed.
        """
        styles, vectors = self.pictures(kit, evidence, run)
        return self.from_pictures(kit, styles, vectors, run)

    def pictures(self, kit: Kit, evidence: Evidence[Any], run: Run) -> tuple[Styles, Tensor]:
        """Return the bank: styles of N pictures, and their (N, D) unit vectors as the generator draws them."""
        backbone, generator = kit.need(Backbone), kit.need(StyleGenerator, "generator")
        with torch.no_grad():
            bank = generator.sample(self.bank, run.generator("deltaedit/bank"))
            if evidence.unlabelled is not None:
                found = kit.need(Inverter, "inverter").invert(pictures_of(evidence.unlabelled, generator.size))
                bank = Styles(torch.cat([bank.s, found.s]), torch.cat([bank.rest, found.rest]))
            return bank, embedded(generator, backbone, bank, run)

    def from_pictures(self, kit: Kit, bank: Styles, vectors: Tensor, run: Run) -> FittedDeltaEdit:
        """Return what a fit learns from the bank that ``pictures`` gave."""
        backbone, generator = kit.need(Backbone), kit.need(StyleGenerator, "generator")
        inverter = kit.need(Inverter, "inverter") if "inverter" in kit.parts else None
        with torch.no_grad():
            step = self.sigmas * bank.s.std(0, correction=0)
            moved = relevance(generator, backbone.image, bank.take(slice(self.probes)), step, run)
        weights = self.mapper_weights(generator, backbone, bank.s, vectors, run)
        return FittedDeltaEdit(backbone, self, generator, inverter, moved, weights)

    def fresh_mapper(self, generator: StyleGenerator, backbone: Backbone, run: Run) -> DeltaMapper:
        """Return an untrained mapper."""
        with run.seeded("deltaedit"):
            return DeltaMapper(generator.channels, backbone.image.dim, self.levels, self.width, self.norm)

    def mapper_weights(
        self,
        generator: StyleGenerator,
        backbone: Backbone,
        s: Tensor,
        i: Tensor,
        run: Run,
        change: Callable[[Tensor, Tensor], Tensor] = direction,
    ) -> dict[str, Tensor]:
        """Train a mapper on pairs of a bank: each picture with another one, which is drawn anew in every pass.

        Args:
            generator: gives the channels.
            backbone: gives D.
            s: (N, S) styles of the bank.
            i: (N, D) unit image vectors of the bank.
            run: seed and device.
            change: (B, D) first and second vectors -> (B, D) what the mapper sees of the second one.
        """
        mapper = self.fresh_mapper(generator, backbone, run)

        def loss(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
            a, b, device = batch["first"].cpu(), batch["second"].cpu(), batch["first"].device
            seen = (t.to(device) for t in (s[a], i[a], change(i[a], i[b])))
            return terms(mapper(*seen), (s[b] - s[a]).to(device))

        fit = Fit(
            self.rate,
            min(self.batch, len(s)),
            self.passes,
            schedule=Schedule("constant"),
            optimizer="adam",
            betas=(0.9, 0.999),
            eps=1e-8,
            decay=0.0,
        )
        names = Texts(tuple(map(str, range(len(s)))))  # a picture of the bank has no other name
        trainee = Step(mapper, lambda row, g: another(row, g, len(s)), loss)
        return train_parameters(trainee, Table(Vectors(s, names)), fit, run)


def embedded(generator: StyleGenerator, backbone: Backbone, styles: Styles, run: Run) -> Tensor:
    """Return the (N, D) unit vectors of N drawn pictures, of which one batch is in memory at a time."""
    out = []
    with run.track("draw", len(styles)) as bar:
        for start in range(0, len(styles), run.batch):
            some = styles.take(slice(start, start + run.batch))
            out.append(seen(backbone.image, drawn(generator, some, run), run))
            bar.advance(len(some))
    return torch.cat(out)


@dataclass(frozen=True)
class FittedDeltaEdit(FittedEditor):
    """A trained mapper beside the generator that it knows.

    Args:
        backbone: sees pictures and reads words.
        method: the settings.
        generator: draws.
        inverter: finds the styles of photos; None: only the generator's own pictures can be edited.
        relevance: F, (S, D).
        mapper: its weights.
    """

    backbone: Backbone
    method: DeltaEdit
    generator: StyleGenerator
    inverter: Inverter | None
    relevance: Tensor
    mapper: Mapping[str, Tensor]

    def edit(self, ask: EditAsk, run: Run) -> Edited:
        """Edit the pictures of an ask; see ``FittedEditor``."""
        d = self.difference(ask.source, ask.target, run)
        with torch.no_grad():
            return self.moved(self._styles(ask), normalize(d, dim=0, eps=FLOOR), d, run)

    def difference(self, source: str, target: str, run: Run) -> Tensor:
        """Return d, (D,): unit vector of the target less that of the source, each a mean over the frames."""
        ends = text_head(
            self.backbone, [[f.replace("{}", words) for f in self.method.frames] for words in (source, target)], run
        )
        return ends[1] - ends[0]

    def moved(self, styles: Styles, change: Tensor, d: Tensor, run: Run) -> Edited:
        """Move B styles by what the mapper gives for ``change``, in the channels that ``kept`` leaves of ``d``.

        Args:
            styles: B of them.
            change: (D,) for all, or (B, D): unit direction between the words.
            d: of the same size: the difference itself, see ``kept``.
            run: device.
        """
        mapper = self.method.fresh_mapper(self.generator, self.backbone, run)
        mapper.load_state_dict(dict(self.mapper))
        mapper.to(run.device).eval()
        before = drawn(self.generator, styles, run)
        s, i = styles.s.to(run.device), seen(self.backbone.image, before, run).to(run.device)
        full = mapper(s, i, change.to(run.device).expand(len(s), -1)).cpu()
        added = torch.where(kept(self.relevance, d, self.method.beta), full, 0.0)
        return Edited(before, drawn(self.generator, replace(styles, s=styles.s + added), run), added)

    def _styles(self, ask: EditAsk) -> Styles:
        if (ask.styles is None) == (ask.images is None):
            raise UsageError("An edit takes styles of the generator or images, and not both: give one of them.")
        if ask.styles is not None:
            return ask.styles
        assert ask.images is not None
        if self.inverter is None:
            raise MissingPart(
                "Photos are edited by a generator that an inverter belongs to, and the fit was given none: use 'small'."
            )
        return self.inverter.invert(pictures_of(ask.images, self.generator.size))
