"""DeltaEdit learns how styles change between two pictures, and edits a picture by the difference of two phrases.

Training, on two pictures of a generator; no text is needed:

    i_k  = normalise(image(G(s_k)))                     for k = 1, 2
    di   = normalise(i_2 - i_1)
    ds   = s_2 - s_1
    loss = mean squared error of M(s_1, i_1, di) to ds, plus 1 - cos(M(s_1, i_1, di), ds)

Editing a picture with style s and image vector i:

    d      = e(target) - e(source)
    dt     = normalise(d)
    keep_c = 1 if |F_c d| >= beta, else 0
    edited = G(s + keep * M(s, i, dt))

G: the generator;  s: (S,) style of a picture, one number for each channel of the generator
i: (D,) unit image vector;  di, dt: (D,) unit directions
M: the mapper, which gives a (S,) change of styles
e: (D,) unit text vector of a phrase, a mean over prompts
F: (S, D) relevance; F_c is the mean over pictures of the unit change of the image vector when channel c is moved
keep: (S,) mask of the channels that the edit may move
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from diptych.core import (
    Backbone,
    ClassNames,
    EditAsk,
    Edited,
    Editor,
    Encoder,
    Evidence,
    FittedEditor,
    Inverter,
    Kit,
    MissingPart,
    Run,
    StyleGenerator,
    Styles,
    Table,
    Takes,
    Texts,
)
from diptych.core.ranges import above, at_least, check, one_of, wrong
from diptych.features.heads import text_head
from diptych.features.released_tensors import check_released
from diptych.features.strict_weights import load_tensors
from diptych.features.vectors import Vectors
from diptych.nn.delta_mapper import FLOOR, DeltaMapper, Norm, another, direction, movable, terms
from diptych.nn.style_space import drawn, photo_side, pictures_of, relevance, seen, seen_pooled
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit, Schedule
from diptych.train.step import Step

FRAMES = ("{}", "a photo of {}.", "a picture of {}.", "an image of {}.")
"""Prompts for the source and the target phrase."""


@dataclass(frozen=True)
class DeltaEdit(Editor):
    """Train a mapper on differences of image vectors, and use it with differences of text vectors.

    Use it to edit pictures of a style-based generator by phrases, without captions and without training for each edit.

    Args:
        beta: threshold of the relevance mask, >= 0; 0.03. 0 moves every channel, infinity moves none.
        bank: pictures drawn from the generator for training, >= 2; 200,000. Pictures of ``evidence.unlabelled`` are
            added, with styles from the kit's inverter.
        passes: over the bank, with one pair for each picture, >= 1; 50.
        batch: pairs per step, >= 1; 64.
        rate: learning rate of Adam, > 0; 0.5. The mapper's layers multiply it by 0.01.
        levels: number of style layers of the coarse and the medium level; (3, 4). The others are the fine level.
        width: of the mapper's inner layers, >= 1; None (default) is the width of the level.
        norm: "reference" (default) normalises over the layers of a level, as the authors' code does; "channels" over
            the channels.
        probes: pictures on which each channel's relevance is measured, >= 1; 100.
        sigmas: how far a channel is moved for that, to either side, in standard deviations of the bank, > 0; 5.
        pixels: how pictures enter the image encoder: "recipe" (default), as everywhere, or "pooled", as in the authors'
            code: means over squares, in [-1, 1] and not normalised, where what a generator draws is not clipped; then
            photos are embedded themselves, and not their reconstructions.
        frames: prompts with one "{}" for source and target; ``FRAMES`` (ours). Their unit vectors are averaged.

    Raises:
        UsageError: a number is out of its range, or a frame has not exactly one "{}".

    Source: Lyu et al. 2023 (DeltaEdit), sections 3.2 to 3.4; numbers without a mark are those of the authors' code.

    Example:
        Of three channels, one changes the image along the direction of the edit:

        >>> relevance = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
        >>> source, target = torch.tensor([0.0, 1.0]), torch.tensor([0.6, 0.8])
        >>> movable(relevance, target - source, beta=0.3).tolist()
        [True, False, False]
        >>> round(direction(source, target).norm().item(), 4)
        1.0
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
    pixels: Literal["recipe", "pooled"] = "recipe"
    frames: tuple[str, ...] = FRAMES

    takes: ClassVar[Takes] = Takes(threshold=True)

    def __post_init__(self) -> None:
        check(self, at_least(2), "bank")
        check(self, at_least(1), "passes", "batch", "probes", "width")
        check(self, at_least(0), "beta", "levels")
        check(self, above(0), "rate", "sigmas")
        check(self, one_of("recipe", "pooled"), "pixels")
        if not self.frames or any(frame.count("{}") != 1 for frame in self.frames):
            raise wrong(self, "frames", "prompts with exactly one '{}' where the words go")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedDeltaEdit:
        """Draw the bank, train the mapper on pairs of it, and measure the relevance of each channel; no text is used.

        Raises:
            MissingPart: the kit has no backbone or no generator, or no inverter for the unlabelled pictures.
        """
        styles, vectors = self.pictures(kit, evidence, run)
        return self.from_pictures(kit, styles, vectors, run)

    def pictures(self, kit: Kit, evidence: Evidence[Any], run: Run) -> tuple[Styles, Tensor]:
        """Return the bank: the styles of N pictures, and the (N, D) unit vectors of these pictures.

        Raises:
            MissingPart: as ``fit``.
        """
        backbone, generator = kit.need(Backbone), kit.need(StyleGenerator, "generator")
        with torch.no_grad():
            bank = generator.sample(self.bank, run.generator("deltaedit/bank"))
            if evidence.unlabelled is not None:
                inverter = kit.need(Inverter, "inverter")
                inverted = inverter.invert(pictures_of(evidence.unlabelled, photo_side(inverter, generator)))
                bank = Styles(torch.cat([bank.s, inverted.s]), torch.cat([bank.rest, inverted.rest]))
            return bank, embedded(generator, backbone, bank, run, self.vectors, clipped=self.clips)

    @property
    def clips(self) -> bool:
        """Whether pictures of the generator are clipped to [0, 1] before they are embedded."""
        return self.pixels == "recipe"

    def vectors(self, encoder: Encoder[Any], pictures: Tensor, run: Run) -> Tensor:
        """Return the (B, D) unit vectors of (B, 3, H, W) pictures in [0, 1], which enter as ``pixels`` says."""
        return (seen_pooled if self.pixels == "pooled" else seen)(encoder, pictures, run)

    def from_pictures(self, kit: Kit, bank: Styles, vectors: Tensor, run: Run) -> FittedDeltaEdit:
        """Return the fitted editor of a bank, which ``pictures`` returns.

        Args:
            kit: backbone, generator, and an inverter where photos are edited.
            bank: styles of N pictures.
            vectors: (N, D) unit image vectors.
            run: seed and device.
        """
        backbone, generator = kit.need(Backbone), kit.need(StyleGenerator, "generator")
        inverter = kit.need(Inverter, "inverter") if "inverter" in kit.parts else None
        with torch.no_grad():
            step = self.sigmas * bank.s.std(0, correction=0)
            moved = relevance(generator, backbone.image, bank.take(slice(self.probes)), step, run, self.vectors)
        weights = self.mapper_weights(generator, backbone, bank.s, vectors, run)
        return FittedDeltaEdit(backbone, self, generator, inverter, moved, weights)

    def from_released(
        self, learnt: Mapping[str, Tensor], kit: Kit, classes: ClassNames | None, run: Run
    ) -> FittedDeltaEdit:
        """Return the mapper of a released file with its relevance, on the generator of the kit.

        Raises:
            MissingPart: the kit has no backbone or no generator.
            DataError: tensors are missing, unexpected or of another shape.
        """
        backbone, generator = kit.need(Backbone), kit.need(StyleGenerator, "generator")
        with torch.device("meta"):
            wanted: dict[str, Tensor] = self.fresh_mapper(generator, backbone, run).state_dict()
            wanted["relevance"] = torch.empty(sum(generator.channels), backbone.image.dim)
        mapper = check_released(learnt, wanted, self.card.name)
        inverter = kit.need(Inverter, "inverter") if "inverter" in kit.parts else None
        return FittedDeltaEdit(backbone, self, generator, inverter, mapper.pop("relevance"), mapper)

    def fresh_mapper(self, generator: StyleGenerator, backbone: Backbone, run: Run) -> DeltaMapper:
        """Return an untrained mapper for a generator's channels and a backbone's vectors."""
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
        """Return the weights of a mapper, trained on pairs of a bank; partners are drawn anew in every pass.

        Args:
            generator: gives the channels.
            backbone: gives D.
            s: (N, S) styles of the bank.
            i: (N, D) unit image vectors of the bank.
            run: seed and device.
            change: from the (B, D) first and second vectors to the third input of the mapper, (B, D).
        """
        mapper = self.fresh_mapper(generator, backbone, run)

        def loss(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
            a, b, device = batch["first"].cpu(), batch["second"].cpu(), batch["first"].device
            seen = (t.to(device) for t in (s[a], i[a], change(i[a], i[b])))
            return terms(mapper(*seen), (s[b] - s[a]).to(device))

        fit = Fit(
            self.rate, min(self.batch, len(s)), self.passes, schedule=Schedule("constant"), optimizer="adam",
            betas=(0.9, 0.999), eps=1e-8, decay=0.0,
        )  # fmt: skip
        names = Texts(tuple(map(str, range(len(s)))))  # pictures of the bank are named by their number
        trainee = Step(mapper, lambda row, g: another(row, g, len(s)), loss)
        return train_parameters(trainee, Table(Vectors(s, names)), fit, run)


def embedded(
    generator: StyleGenerator,
    backbone: Backbone,
    styles: Styles,
    run: Run,
    vectors: Callable[[Encoder[Any], Tensor, Run], Tensor] = seen,
    *,
    clipped: bool = True,
) -> Tensor:
    """Return the (N, D) unit image vectors of N styles; one batch of pictures (``drawn``) is in memory at a time."""
    out = []
    with run.track("draw", len(styles)) as bar:
        for start in range(0, len(styles), run.batch):
            some = styles.take(slice(start, start + run.batch))
            out.append(vectors(backbone.image, drawn(generator, some, run, clipped=clipped), run))
            bar.advance(len(some))
    return torch.cat(out)


@dataclass(frozen=True)
class FittedDeltaEdit(FittedEditor):
    """Edits pictures with a trained mapper.

    Args:
        backbone: embeds pictures and phrases.
        generator: draws pictures from styles.
        inverter: gives the styles of photos; None: only pictures of the generator can be edited.
        relevance: F, (S, D).
        mapper: weights of the mapper.
    """

    backbone: Backbone
    method: DeltaEdit
    generator: StyleGenerator
    inverter: Inverter | None
    relevance: Tensor
    mapper: Mapping[str, Tensor]

    def edit(self, ask: EditAsk, run: Run) -> Edited:
        """Edit pictures from a source to a target phrase; see ``FittedEditor``."""
        self.method.takes.check(ask, self.method.card.name)
        d = self.difference(ask.source, ask.targets[0], run)
        with torch.no_grad():
            styles, photos = self._styles(ask)
            change = normalize(d, dim=0, eps=FLOOR)
            looked_at = photos if self.method.pixels == "pooled" else None
            return self.moved(styles, change, d, run, beta=ask.threshold, strength=ask.strength, photos=looked_at)

    def difference(self, source: str, target: str, run: Run) -> Tensor:
        """Return d, (D,): the unit vector of the target minus that of the source, each a mean over the frames."""
        ends = text_head(
            self.backbone, [[f.replace("{}", words) for f in self.method.frames] for words in (source, target)], run
        )
        return ends[1] - ends[0]

    def moved(
        self,
        styles: Styles,
        change: Tensor,
        d: Tensor,
        run: Run,
        *,
        beta: float | None = None,
        strength: float = 1.0,
        photos: Tensor | None = None,
    ) -> Edited:
        """Add the mapper's change to B styles, in the channels that ``kept`` allows.

        Args:
            styles: of B pictures.
            change: dt, (D,) for all pictures or (B, D).
            d: the difference itself, of the same size.
            run: device.
            beta: threshold in the place of the method's.
            strength: factor on the change.
            photos: (B, 3, h, w) in [0, 1], whose vectors the mapper gets; None: the pictures of the styles.
        """
        mapper = self.method.fresh_mapper(self.generator, self.backbone, run)
        load_tensors(mapper, self.mapper)
        mapper.to(run.device).eval()
        before = drawn(self.generator, styles, run, clipped=self.method.clips)
        i = self.method.vectors(self.backbone.image, before if photos is None else photos, run).to(run.device)
        s = styles.s.to(run.device)
        full = mapper(s, i, change.to(run.device).expand(len(s), -1)).cpu()
        threshold = self.method.beta if beta is None else beta
        added = torch.where(movable(self.relevance, d, threshold), strength * full, 0.0)
        return Edited(before.clamp(0, 1), drawn(self.generator, replace(styles, s=styles.s + added), run), added)

    def _styles(self, ask: EditAsk) -> tuple[Styles, Tensor | None]:
        """Return the styles of a request, and the photos of which they are."""
        if ask.styles is not None:
            return ask.styles, None
        assert ask.images is not None
        if self.inverter is None:
            raise MissingPart(
                "Photos can be edited only with an inverter for the generator, and the kit had none: give a file of "
                "e4e or pSp for it as {inverter}, or use the generator 'small'."
            )
        by = Image.Resampling.BILINEAR if self.method.pixels == "pooled" else Image.Resampling.BICUBIC
        photos = pictures_of(ask.images, photo_side(self.inverter, self.generator), by)
        return self.inverter.invert(photos), photos
