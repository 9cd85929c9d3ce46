"""CLIPInverter edits a picture in one pass: a text changes the feature maps of a frozen inversion encoder.

    w   = mean + heads(c_1, c_2, c_3)                   inversion of picture x;  c_1, c_2, c_3 = maps(x)
    w'  = w + 0.1 heads(A_1(c_1, e), A_2(c_2, e), A_3(c_3, e))
    w'' = w' pulled towards a(e), see ``nn.text_adapters``
    y   = G(w'')                                        colour layers and the first convolution keep w'

First training, of the adapters A; y = G(w'):

    L = 0.1 identity + 1 squared + 0.6 perceptual + 0.005 |w' - mean| + 1 direction
    direction = 1 - cos(I(y) - I(x), T(new) - T(old))

"new" is the caption of another picture for three batches in four, and the picture's own for the others, which have no
direction. The second half of each step goes back: y is edited by "old", and compared with x.

Second training, of the refinement alone:

    L = 0.15 identity + 0.15 [squared + 0.35 squared to G(w')] + 0.15 [the same, perceptual] + 1.75 direction

e: (D,) text vector, not normalised, of what shall be;  I, T: unit image and text vectors
identity, perceptual: see ``features.visual``;  squared: mean squared difference of pictures in [-1, 1]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import mse_loss, normalize

from diptych.core import (
    Backbone,
    ClassNames,
    Clock,
    EditAsk,
    Edited,
    Editor,
    Evidence,
    FittedEditor,
    Kit,
    LatentGenerator,
    MapInverter,
    ParamGroup,
    Row,
    Run,
    Styles,
    Takes,
    Texts,
    Trainee,
)
from diptych.core.ranges import above, at_least, between, check, wrong
from diptych.data.evidence import captioned_images
from diptych.features.embed import embed
from diptych.features.released_tensors import check_released, generator_apart
from diptych.features.strict_weights import load_tensors
from diptych.features.visual import early, unlike
from diptych.nn.style_space import PIXELS, direction_loss, photo_side, pooled, seen, square_of
from diptych.nn.text_adapters import MapAdapters, Refinement
from diptych.train.pair import drawn_caption
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit, Schedule

BY = Image.Resampling.BILINEAR
"""Filter by which photos come to the side that the encoder reads, as the authors' do."""


def added(w: Tensor, codes: Tensor, scale: float) -> Tensor:
    """Return w', (B, n, C): the inversion w plus ``scale`` times what the heads find in the changed maps."""
    return w + scale * codes


@dataclass(frozen=True)
class CLIPInverter(Editor):
    """Train adapters that let a text change an inversion, on pictures with captions.

    Use it to edit photos of the kind that a style-based generator draws, by a description of the result, in one pass
    each. ``EditAsk.source`` is not read.

    Args:
        steps: of the first training, >= 1; 200,000.
        refine: steps of the second, >= 0; 20,000. 0 leaves the refinement out.
        batch: pictures per step, >= 2; 8.
        rate: learning rate of RAdam, > 0; 5e-4.
        refine_rate: that of the second training, > 0; 1.5e-4.
        scale: factor on the heads of the changed maps, > 0; 0.1.
        mismatch: share of batches whose captions are those of other pictures, in [0, 1]; 0.75.
        cycle: weight of the way back, >= 0; 1.
        weights: of identity, squared, perceptual, latent and direction in the first training;
            (0.1, 1, 0.6, 0.005, 1).
        refine_weights: of identity, squared, perceptual and direction in the second; (0.15, 0.15, 0.15, 1.75).
        near: weight of the difference to the picture without refinement, >= 0; 0.35.
        groups: of the adapters' group norm, a divisor of the widths of all maps, >= 1; 32.
        width: of the refinement's inner layers, >= 1; 512.

    Raises:
        UsageError: a number is out of its range.

    Source: Baykal et al. 2023 (CLIPInverter), sections 3.1 to 3.4; numbers are those of the authors' code.

    Example:
        >>> w, codes = torch.zeros(1, 8, 4), torch.ones(1, 8, 4)
        >>> round(added(w, codes, 0.1).max().item(), 3)
        0.1
    """

    steps: int = 200_000
    refine: int = 20_000
    batch: int = 8
    rate: float = 5e-4
    refine_rate: float = 1.5e-4
    scale: float = 0.1
    mismatch: float = 0.75
    cycle: float = 1.0
    weights: tuple[float, ...] = (0.1, 1.0, 0.6, 0.005, 1.0)
    refine_weights: tuple[float, ...] = (0.15, 0.15, 0.15, 1.75)
    near: float = 0.35
    groups: int = 32
    width: int = 512

    takes: ClassVar[Takes] = Takes(("pictures",), source=False)

    def __post_init__(self) -> None:
        check(self, at_least(1), "steps", "groups", "width")
        check(self, at_least(2), "batch")
        check(self, at_least(0), "refine", "cycle", "near", "weights", "refine_weights")
        check(self, above(0), "rate", "refine_rate", "scale")
        check(self, between(0, 1, "[]"), "mismatch")
        for name, count in (("weights", 5), ("refine_weights", 4)):
            if len(getattr(self, name)) != count:
                raise wrong(self, name, f"{count} numbers")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> FittedCLIPInverter:
        """Train the adapters, then the refinement, on ``evidence.train``: pictures with captions.

        Raises:
            MissingPart: the kit has no backbone, no generator with w+, or no encoder through maps.
            MissingEvidence: there are no pictures with captions.
            MissingHook: the backbone has neither an image tower nor dense maps.
        """
        fitted = self.untrained(kit, run)
        table = captioned_images(evidence)
        texts = tuple(dict.fromkeys(str(t) for captions in table.columns["captions"].values for t in captions))
        vectors = embed(fitted.backbone.text, Texts(texts), run)
        vector_of = dict(zip(texts, vectors, strict=True))
        trainee = _Training(fitted, vector_of, run)
        for refining, steps, rate in ((False, self.steps, self.rate), (True, self.refine, self.refine_rate)):
            if steps:
                trainee.refining = refining
                settings = Fit(
                    rate, min(self.batch, len(table)), steps=steps, schedule=Schedule("constant"), optimizer="radam",
                    betas=(0.95, 0.999), eps=1e-8, decay=0.0,
                )  # fmt: skip
                weights = train_parameters(trainee, table, settings, run)
        return FittedCLIPInverter(fitted.backbone, self, fitted.generator, fitted.maps, weights)

    def untrained(self, kit: Kit, run: Run) -> FittedCLIPInverter:
        """Return an editor with fresh weights, whose edits are arbitrary.

        Raises:
            MissingPart, MissingHook: as ``fit``.
        """
        backbone, generator = kit.need(Backbone), kit.need(LatentGenerator, "generator")
        maps = kit.need(MapInverter, "maps")
        early(backbone, torch.zeros(1, 3, generator.size, generator.size))
        if any(width % self.groups for width in maps.widths):
            raise wrong(self, "groups", f"a divisor of the maps' widths {', '.join(map(str, maps.widths))}")
        nets = self.networks(backbone, generator, maps, run)
        return FittedCLIPInverter(backbone, self, generator, maps, nets.state_dict())

    def from_released(
        self, learnt: Mapping[str, Tensor], kit: Kit, classes: ClassNames | None, run: Run
    ) -> FittedCLIPInverter:
        """Return the adapters and the refinement of a released file, on the generator and the inverter of the kit.

        Raises:
            MissingPart: the kit lacks a part.
            DataError: the file was trained for another generator, or tensors are missing, unexpected or of another
                shape.
        """
        backbone, generator = kit.need(Backbone), kit.need(LatentGenerator, "generator")
        maps = kit.need(MapInverter, "maps")
        mine = generator_apart(learnt, generator, "The released file")
        with torch.device("meta"):
            wanted = self.networks(backbone, generator, maps, run).state_dict()
        return FittedCLIPInverter(backbone, self, generator, maps, check_released(mine, wanted, self.card.name))

    def networks(self, backbone: Backbone, generator: LatentGenerator, maps: MapInverter, run: Run) -> nn.ModuleDict:
        """Return "adapters" and "refinement", untrained."""
        dim = backbone.text.dim
        with run.seeded("clipinverter"):
            adapters = MapAdapters(maps.widths, dim, self.groups)
            refinement = Refinement(generator.latents, dim, self.width, generator.style_dim)
        return nn.ModuleDict({"adapters": adapters, "refinement": refinement})


@dataclass(frozen=True)
class FittedCLIPInverter(FittedEditor):
    """Edits pictures with trained adapters.

    Args:
        backbone: embeds texts.
        generator: draws pictures from w+.
        maps: finds w+ through feature maps.
        weights: of the adapters and the refinement.
    """

    backbone: Backbone
    method: CLIPInverter
    generator: LatentGenerator
    maps: MapInverter
    weights: Mapping[str, Tensor]

    def edit(self, ask: EditAsk, run: Run) -> Edited:
        """Edit photos by a description of the result; see ``FittedEditor``. Facts: how well the photo was inverted."""
        self.method.takes.check(ask, self.method.card.name)
        assert ask.images is not None
        e = embed(self.backbone.text, Texts(ask.targets), run)
        side = photo_side(self.maps, self.generator)
        photos = [square_of(ask.images[i], side, BY) for i in range(len(ask.images))]
        return self.edited(torch.stack(photos) if photos else torch.zeros(0, 3, side, side), e, run, ask.strength)

    @torch.no_grad()
    def edited(self, x: Tensor, e: Tensor, run: Run, strength: float = 1.0) -> Edited:
        """Edit (N, 3, h, h) pictures by (N, D) or (1, D) text vectors, ``run.batch`` at a time, or fewer large ones.

        h is the side that the maps read, see ``nn.style_space.photo_side``, or the generator's.
        """
        nets = self.networks(run).to(run.device).eval()
        e = e.to(run.device).expand(len(x), -1)
        empty = x.new_zeros(0, 3, self.generator.size, self.generator.size)
        before, after, change = [empty], [empty], []
        batch = max(1, min(run.batch, PIXELS // self.generator.size**2))
        for start in range(0, len(x), batch):
            some = slice(start, start + batch)
            photos = x[some].to(run.device)
            w, changed = inverted(self, nets, photos, e[some], strength)
            plain, new = self.generator.styles(w), self.styles(nets, changed, e[some], strength)
            before.append(self.generator.synthesise(plain).cpu())
            after.append(self.generator.synthesise(new).cpu())
            change.append((new.s - plain.s).cpu())
        latents = torch.cat(before)
        errors = (pooled(latents, x.shape[-1]) - x).square().mean((1, 2, 3)).tolist()
        moved = torch.cat(change) if change else x.new_zeros(0, sum(self.generator.channels))
        return Edited(latents, torch.cat(after), moved, tuple({"inversion_error": round(v, 6)} for v in errors))

    def networks(self, run: Run) -> nn.ModuleDict:
        """Return the adapters and the refinement with their weights."""
        nets = self.method.networks(self.backbone, self.generator, self.maps, run)
        load_tensors(nets, self.weights)
        return nets

    def styles(self, nets: nn.ModuleDict, w: Tensor, e: Tensor, strength: float = 1.0) -> Styles:
        """Return the styles of (B, n, C) w', refined by a text where the method refines."""
        plain = self.generator.styles(w)
        if not self.method.refine:
            return plain
        return Styles(self.generator.styles(nets["refinement"](w, e, strength)).s, plain.rest)


def inverted(
    fitted: FittedCLIPInverter, nets: nn.ModuleDict, x: Tensor, e: Tensor, strength: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return w and w', (B, n, C) each, of (B, 3, size, size) pictures and (B, D) texts."""
    with torch.no_grad():
        maps = fitted.maps.maps(x)
        w = fitted.maps.mean.to(x) + fitted.maps.codes(maps)
    return w, added(w, fitted.maps.codes(nets["adapters"](maps, e)), strength * fitted.method.scale)


class _Training(Trainee):
    """Both trainings, one after the other; ``refining`` says which.

    Args:
        fitted: its networks are trained.
        vectors: caption -> text vector.
        run: device.
    """

    phases = ("there", "back")

    def __init__(self, fitted: FittedCLIPInverter, vectors: Mapping[str, Tensor], run: Run) -> None:
        self.fitted, self.vectors, self.run, self.nets = fitted, vectors, run, fitted.networks(run)
        self.refining = False
        self.edited: tuple[Tensor, Tensor, Tensor, bool] | None = None

    def module(self) -> nn.Module:
        return self.nets

    def groups(self) -> list[ParamGroup]:
        kind = "refinement." if self.refining else "adapters."
        return [ParamGroup(tuple(n for n, _ in self.nets.named_parameters() if n.startswith(kind)))]

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        return {"x": square_of(row.item, self.fitted.generator.size, BY), "e": self.vectors[drawn_caption(row, g)]}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        x, old = batch["x"], batch["e"]
        if phase == "there":
            other = bool(torch.rand((), generator=clock.generator) < self.fitted.method.mismatch)
            new = old.roll(1, 0) if other else old
            with torch.no_grad():
                origin = self._seen(x)
            y, after, terms = self._terms(x, x, origin, old, new, differ=other)
            self.edited = y.detach(), after.detach(), new, other
            return terms
        assert self.edited is not None
        start, origin, new, other = self.edited
        weight = self.fitted.method.cycle
        terms = self._terms(x, start, origin, new, old, differ=other)[2]
        return {f"back_{n}": weight * t for n, t in terms.items()}

    def _seen(self, pictures: Tensor) -> Tensor:
        """Return (B, D) unit vectors."""
        return seen(self.fitted.backbone.image, pictures, self.run).to(pictures)

    def _terms(
        self, x: Tensor, start: Tensor, origin: Tensor, old: Tensor, new: Tensor, *, differ: bool
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Edit ``start``, whose unit vectors are ``origin``, from "old" to "new", and compare it with x; return the
        result, its unit vectors and the losses. ``differ``: the two are of different captions.
        """
        f, m = self.fitted, self.fitted.method
        _, w = inverted(f, self.nets, start, new)
        plain = f.generator.styles(w)
        y = f.generator.synthesise(f.styles(self.nets, w, new) if self.refining else plain)
        with torch.no_grad():
            layer = early(f.backbone, x)
        seen_y = early(f.backbone, y)
        local, whole = (t.mean() for t in unlike(layer, seen_y))
        squared = mse_loss(2 * y, 2 * x)
        if self.refining:
            with torch.no_grad():
                unrefined = f.generator.synthesise(plain)
                layer = early(f.backbone, unrefined)
            squared = squared + m.near * mse_loss(2 * y, 2 * unrefined)
            local = local + m.near * unlike(layer, seen_y)[0].mean()
        wanted = {"identity": whole, "squared": squared, "perceptual": local}
        if not self.refining:
            wanted["latent"] = (w - f.maps.mean.to(w)).flatten(1).norm(dim=1).mean()
        weights = m.refine_weights if self.refining else m.weights
        out = {name: weight * t for weight, (name, t) in zip(weights, wanted.items(), strict=False)}
        after = self._seen(y)
        if differ:
            d = normalize(new, dim=1) - normalize(old, dim=1)
            out["direction"] = weights[-1] * direction_loss(after, origin, d).mean()
        return y, after, out
