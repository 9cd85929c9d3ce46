"""AstroM3 aligns three modalities of a star by CLIP's loss: its light curve, its spectrum and its metadata.

    p    = normalise(W_p curve(x))
    s    = normalise(W_s spectrum(x))
    m    = normalise(W_m facts(x))
    Z_ps = a_ps p s^T,   Z_sm = a_sm s m^T,   Z_mp = a_mp m p^T
    loss = sum over the three Z of CE(Z) + CE(Z^T)

x: B stars
curve, spectrum, facts: the three towers;  W: their projections to D
p, s, m: (B, D) unit embeddings of photometry, spectra and metadata
Z: (B, B) logits of a pair of modalities;  a: its learnt scale, in [1, 100]
CE: mean cross-entropy of the rows, whose right column is on the diagonal

A pair of modalities has a loss of 2 ln B where the towers tell no star from another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from diptych.core import (
    ClassNames,
    DataError,
    Evidence,
    Extender,
    Kit,
    MissingEvidence,
    Row,
    Run,
    Samples,
    Space,
    Table,
)
from diptych.core.ranges import at_least, check, one_of, wrong
from diptych.data.stars import CURVE_CHANNELS, Star
from diptych.features.released_tensors import check_released
from diptych.features.strict_weights import load_tensors
from diptych.nn.spaces.fused_stars import FusedStars
from diptych.nn.spaces.star_space import LabelNet, StarInputs, StarSpace, TunedStars, label_net, windowed
from diptych.nn.spaces.star_towers import CurveTower, FactsTower, SpectrumTower, StarModule
from diptych.nn.summed_pairs import SummedPairs
from diptych.train.pair import PairTrainee
from diptych.train.parameters import train_parameters
from diptych.train.schedule import Fit, Schedule
from diptych.train.step import Step

MODALITIES = ("photometry", "spectra", "metadata")
"""Names of the encoders."""
PAIRS = (("photometry", "spectra"), ("spectra", "metadata"), ("metadata", "photometry"))
"""Pairs of modalities that are aligned."""


@dataclass(frozen=True)
class AstroM3(Extender):
    """Train three towers without labels, so that the modalities of a star have near embeddings.

    Use it where many stars are unlabelled: a classifier on the ``features`` of one tower then needs few labels.

    Args:
        length: L, measurements of a light curve that enter the tower, >= 1; 200.
        grid: first wavelength, last wavelength and number of wavelengths of a spectrum, at least 234 of them;
            (3850, 8998, 2575), in angstroms.
        width: of the tower of light curves, an even multiple of ``heads``; 128.
        layers: blocks of that tower, >= 1; 8.
        heads: attention heads of each block, >= 1; 4.
        hidden: width of its feed-forward layers, >= 1; 512.
        facts: width of the tower of metadata, >= 1; 512.
        dim: D, >= 1; 512.
        dropouts: of the towers of photometry, spectra and metadata; (0.245, 0.339, 0.160).
        rate: highest learning rate of Adam, after 10 epochs of warm-up; 3.92e-3.
        epochs: at most so many, >= 1; 100. With ``evidence.val``, training stops 6 epochs after the best loss on val,
            and the best weights are used.
        batch: stars per step, >= 1; 512. Fewer stars make one batch.
        constants: numbers of a star, see ``Star``, that are channels of its light curve, >= 0; 0 (the authors' 4).
        attention: of the tower of light curves: "full" (default), or the authors' "sparse", which reads padding.

    Raises:
        UsageError: a number is out of its range.

    Source: Rizhko and Bloom 2024, sections 3 and 4; the defaults are those of the appendix of hyper-parameters.

    Example:
        The loss of four stars that no tower tells apart, and of four that are aligned:

        >>> def loss(p, s, m):
        ...     pairs = [(100 * a @ b.T, torch.arange(len(a))) for a, b in ((p, s), (s, m), (m, p))]
        ...     return sum(cross_entropy(z, y) + cross_entropy(z.T, y) for z, y in pairs).item()
        >>> alike, apart = torch.ones(4, 4) / 2, torch.eye(4)
        >>> round(loss(alike, alike, alike), 3), round(loss(apart, apart, apart), 3)
        (8.318, 0.0)
        >>> round(3 * 2 * np.log(4), 3).item()
        8.318
    """

    length: int = 200
    grid: tuple[float, float, int] = (3850.0, 8998.0, 2575)
    width: int = 128
    layers: int = 8
    heads: int = 4
    hidden: int = 512
    facts: int = 512
    dim: int = 512
    dropouts: tuple[float, float, float] = (0.245, 0.339, 0.160)
    rate: float = 3.92e-3
    epochs: int = 100
    batch: int = 512
    constants: int = 0
    attention: Literal["full", "sparse"] = "full"

    samples = "stars"
    quick = MappingProxyType(
        {
            "dropouts": (0.1, 0.1, 0.1), "length": 96, "grid": (-3.0, 1.0, 256), "width": 32, "layers": 2, "heads": 4,
            "hidden": 64, "facts": 64, "dim": 64, "epochs": 40, "batch": 64, "rate": 1e-3,
        }
    )  # fmt: skip

    def __post_init__(self) -> None:
        check(self, at_least(1), "length", "width", "layers", "heads", "hidden", "facts", "dim", "epochs", "batch")
        check(self, at_least(0), "constants")
        check(self, one_of("full", "sparse"), "attention")
        if self.width % self.heads or self.width % 2:
            raise wrong(self, "width", f"even, and a multiple of heads = {self.heads}")
        if self.grid[2] < 234 or not self.grid[0] < self.grid[1]:
            raise wrong(self, "grid", "an ascending range of at least 234 wavelengths")

    def fit(self, kit: Kit, evidence: Evidence[Any], run: Run) -> StarSpace:
        """Train on complete stars, without labels; the kit is not used.

        Raises:
            MissingEvidence: ``evidence.unlabelled`` is missing.
            DataError: a star lacks a modality, or there are fewer than 2 stars.
        """
        if evidence.unlabelled is None:
            raise MissingEvidence(
                "AstroM3 learns from stars without labels, and evidence.unlabelled is missing: give stars."
            )
        stars = evidence.unlabelled
        if len(stars) < 2:
            raise DataError(f"AstroM3 needs at least 2 stars, got {len(stars)}: give more.")
        for samples in (stars, evidence.val.items if evidence.val else None):
            _complete(samples)
        space = self.fresh(stars, run)
        trainee = PairTrainee(space, SummedPairs(PAIRS), run, read=dict.fromkeys(MODALITIES, windowed))
        batch = min(self.batch, len(stars))
        settings = Fit(
            self.rate, batch, self.epochs, optimizer="adam", betas=(0.926, 0.999), eps=1e-8, decay=4.67e-3, clip=45.0,
            schedule=Schedule(warmup=min(10, self.epochs // 2) * (len(stars) // batch)),
            patience=6 if evidence.val else None,
        )  # fmt: skip
        val = None if evidence.val is None else Table(evidence.val.items)
        train_parameters(trainee, Table(stars), settings, run, (), val=val)
        trained = trainee.trained()
        assert isinstance(trained, StarSpace)
        return trained

    @property
    def inputs(self) -> StarInputs:
        """What the towers read."""
        return StarInputs(self.length, self.grid, self.constants, self.attention == "sparse")

    def from_released(
        self, learnt: Mapping[str, Tensor], kit: Kit, classes: ClassNames | None, run: Run
    ) -> StarSpace | TunedStars | FusedStars:
        """Return the space of a released file, or the classifier of one modality, whose head is its projection too, or
        of all three where classes are given.

        Sizes are those of the tensors. Metadata are standardised before the tower, which the file does not know.
        """
        state = dict(learnt)
        present = [name for name in MODALITIES if any(key.startswith(f"towers.{name}.") for key in state)]
        single = present[0] if len(present) == 1 and "head.weight" in state else ""
        fused: dict[str, Tensor] = {}
        for kind in ("weight", "bias"):
            if classes is not None and not single and f"head.{kind}" in state:
                fused[kind] = state.pop(f"head.{kind}")
            if single and f"head.{kind}" in state:
                state[f"projections.{single}.{kind}"] = state.pop(f"head.{kind}")
        if "towers.metadata.net.0.weight" in state:
            count = state["towers.metadata.net.0.weight"].shape[-1]
            state |= {"towers.metadata.mean": torch.zeros(count), "towers.metadata.std": torch.ones(count)}
        for name in [key for key in state if key.startswith("scales.")]:
            state[name] = state[name].float().clamp(0.0, math.log(100.0))  # as the authors read them
        sized = self._sized(state)
        shapes = {name: sized.tower(name, state) for name in ([single] if single else MODALITIES)}
        with torch.random.fork_rng(devices=[]):
            module = StarModule(shapes, sized.dim, () if single else PAIRS)
        load_tensors(module, check_released(state, module.state_dict(), self.card.name))
        space = StarSpace(module.requires_grad_(False), sized.dim, sized.inputs)
        if not single:
            return FusedStars.of_released(space, fused, self.card.name) if fused else space
        with torch.random.fork_rng(devices=[]):
            net = label_net(space, single, sized.dim)
        net.head.load_state_dict(module.projections[single].state_dict())
        return TunedStars(space, net.requires_grad_(False).eval())

    def _sized(self, state: Mapping[str, Tensor]) -> AstroM3:
        """Return the settings with the sizes of these tensors, where they are there."""
        embed, wide = (state.get(f"towers.photometry.{n}.weight") for n in ("embed", "layers.0.linear1"))
        projection = next(
            (state[f"projections.{n}.weight"] for n in MODALITIES if f"projections.{n}.weight" in state), None
        )
        sizes: dict[str, Any] = {} if projection is None else {"dim": len(projection)}
        if embed is not None and embed.ndim == 3:
            rows = state.get("projections.photometry.weight", torch.zeros(1, 0)).shape[-1]
            layers = {n.split(".")[3] for n in state if n.startswith("towers.photometry.layers.")}
            sizes |= {"width": embed.shape[0], "constants": max(0, embed.shape[1] - CURVE_CHANNELS)}
            sizes |= {"layers": max(1, len(layers)), "length": rows // embed.shape[0] or self.length}
        if wide is not None:
            sizes["hidden"] = len(wide)
        if "towers.metadata.net.0.weight" in state:
            sizes["facts"] = len(state["towers.metadata.net.0.weight"])
        return replace(self, **sizes)

    def tower(self, name: str, state: Mapping[str, Tensor]) -> nn.Module:
        """Return an untrained tower of a modality for these tensors of a file."""
        p, s, m = self.dropouts
        if name == "photometry":
            return self._curve_tower(p)
        if name == "spectra":
            return SpectrumTower(self.grid[2], s)
        count = state.get("towers.metadata.net.0.weight", torch.zeros(1, 1)).shape[-1]
        return FactsTower(torch.zeros(count), torch.ones(count), self.facts, m)

    def _curve_tower(self, dropout: float) -> CurveTower:
        sizes = self.length, self.width, self.layers, self.heads, self.hidden, dropout
        return CurveTower(*sizes, CURVE_CHANNELS + self.constants, self.attention)

    def untrained(self, kit: Kit, evidence: Evidence[Any], run: Run) -> StarSpace | None:
        """Return a space of untrained towers."""
        return None if evidence.unlabelled is None else self.fresh(evidence.unlabelled, run)

    def with_labels(self, space: Space, labelled: Table[Any], classes: int, run: Run) -> TunedStars:
        """Return the stars of the tower of light curves, which is tuned together with a new head."""
        assert isinstance(space, StarSpace)
        with run.seeded("head"):
            net = label_net(space, MODALITIES[0], classes)
        settings = Fit(1e-3, min(64, len(labelled)), 50, optimizer="adam", betas=(0.9, 0.999), decay=0.0, clip=5.0)
        train_parameters(label_step(net), labelled, settings, run)
        return TunedStars(space, net.eval())

    def fresh(self, stars: Samples[Star], run: Run) -> StarSpace:
        """Return a space of untrained towers; the stars give the mean and the deviation of the metadata."""
        facts = np.stack([self.inputs.metadata(stars[i]) for i in range(len(stars))])
        known = np.isfinite(facts)
        mean = np.where(known, facts, 0).sum(0) / np.maximum(known.sum(0), 1)
        std = np.sqrt((np.where(known, facts - mean, 0) ** 2).sum(0) / np.maximum(known.sum(0), 1))
        scale = torch.tensor(np.where(std > 0, std, 1.0), dtype=torch.float32)
        p, s, m = self.dropouts
        with run.seeded("astrom3"):
            towers: dict[str, nn.Module] = {
                "photometry": self._curve_tower(p),
                "spectra": SpectrumTower(self.grid[2], s),
                "metadata": FactsTower(torch.tensor(mean, dtype=torch.float32), scale, self.facts, m),
            }
            return StarSpace(StarModule(towers, self.dim, PAIRS), self.dim, self.inputs)


def _complete(stars: Samples[Star] | None) -> None:
    for i in range(0 if stars is None else len(stars)):
        star = stars[i]  # type: ignore[index]
        if missing := [name for name in ("curve", "spectrum", "metadata") if getattr(star, name) is None]:
            raise DataError(f"{stars.name(i)} has no {missing[0]}: leave the star out.")  # type: ignore[union-attr]


SMALL = AstroM3(**AstroM3.quick)
"""A quarter of the paper's width and layers, for two cores; chosen by the loss on generated stars alone."""


def label_step(net: LabelNet) -> Step:
    """Return the training step of a net on labels, with random windows as in ``windowed``."""

    def view(row: Row, g: torch.Generator) -> dict[str, Any]:
        return {"x": net.encoder.inputs([windowed(row, g)])[0], "y": int(row.columns["label"])}

    return Step(net, view, lambda batch: {"labels": cross_entropy(net(batch["x"]), batch["y"])})
