"""The shared space of three modalities of stars, and a classifier on one of its towers."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from diptych.core import DataError, Encoder, Inputs, MissingHook, Parts, PixelRecipe, Row, Space, Spec
from diptych.data.stars import Star, curve_channels, spectrum_channels
from diptych.features.derived_space import LabelledTower, restored
from diptych.nn.spaces.star_towers import CurveTower, FactsTower, SpectrumTower, StarModule, pair_name

Array = NDArray[np.float64]


@dataclass(frozen=True)
class StarInputs:
    """Reads the inputs of the towers from a star.

    Args:
        length: L, measurements of a light curve that enter the tower.
        grid: first wavelength, last wavelength and number of wavelengths of a spectrum, in angstroms.
        constants: C, numbers of a star that are channels of its light curve too.
        padded: whether constants stand in the rows of padding too.
    """

    length: int
    grid: tuple[float, float, int]
    constants: int = 0
    padded: bool = False

    def of(self, modality: str) -> Callable[[Star], Array]:
        """Return the function from a star to the input of a modality's tower."""
        return {"photometry": self.curve, "spectra": self.spectrum, "metadata": self.metadata}[modality]

    def curve(self, star: Star) -> Array:
        """Return the (L, 6 + C) channels of a light curve, the last of which is 1 where there is a measurement."""
        if star.curve is None:
            raise DataError("A star has no light curve: leave it out, or use another modality.")
        constants = star.constants if self.constants else None
        if self.constants and (constants is None or constants.shape != (self.constants,)):
            raise DataError(
                f"This tower reads {self.constants} constants of a star with its light curve, and a star has "
                f"{'none' if constants is None else len(constants)}: give them in the order of the training."
            )
        channels, seen = curve_channels(star.curve, self.length, star.window, constants=constants, padded=self.padded)
        return np.column_stack([channels, seen])

    def spectrum(self, star: Star) -> Array:
        """Return the (3, W) channels of a spectrum."""
        if star.spectrum is None:
            raise DataError("A star has no spectrum: leave it out, or use another modality.")
        return spectrum_channels(star.spectrum, np.linspace(*self.grid))

    def metadata(self, star: Star) -> Array:
        """Return the (M,) metadata."""
        if star.metadata is None:
            raise DataError("A star has no metadata: leave it out, or use another modality.")
        return star.metadata


@dataclass(frozen=True, eq=False)
class StarEncoder:
    """Embeds one modality of stars.

    Args:
        modality: "photometry", "spectra" or "metadata".
        dim: D.
        module: towers and projections of all three modalities.
        arrays: from a star to the tower's input.
        fingerprint: of weights and input settings.
    """

    modality: str
    dim: int
    module: StarModule
    arrays: Callable[[Star], Array]
    fingerprint: str
    size: int | None = None

    def inputs(self, items: Sequence[Star], size: int | None = None) -> Tensor:
        """Return the tower's input for B stars: (B, L, 6) light curves, (B, 3, W) spectra or (B, M) metadata, float32.

        Raises:
            DataError: a star lacks this modality.
        """
        return torch.tensor(np.stack([self.arrays(star) for star in items]), dtype=torch.float32)

    def features(self, x: Tensor) -> Tensor:
        """Return the (B, C) output of the tower, which is the input of a classifier of labels."""
        out: Tensor = self.module.towers[self.modality](x.to(next(self.module.parameters()).device))
        return out

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) embeddings, not normalised."""
        assert isinstance(x, Tensor)
        out: Tensor = self.module.projections[self.modality](self.features(x))
        return out


def _settings(inputs: StarInputs) -> tuple[Any, ...]:
    """Return what enters the hash as plain numbers, whose text is the same wherever they come from."""
    low, high, count = inputs.grid
    more = (inputs.constants, inputs.padded) if inputs.constants or inputs.padded else ()
    return int(inputs.length), (float(low), float(high), int(count)), *more


def hash_of(settings: object, state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the settings of a reader and of tensors with their names, in their order."""
    digest = hashlib.sha256(repr(settings).encode())
    for name, tensor in state.items():
        digest.update(name.encode() + tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


class StarSpace(Space):
    """The shared space of the three modalities.

    Args:
        module: towers, projections and scales.
        dim: D.
        inputs: what the towers read.
    """

    def __init__(self, module: StarModule, dim: int, inputs: StarInputs) -> None:
        self._module, self.dim, self.inputs = module.eval(), dim, inputs
        weights = hash_of(_settings(inputs), module.state_dict())
        kind, pixels = "informer + galspecnet + mlp", PixelRecipe(1, (0, 0, 0), (1, 1, 1))
        self._spec = Spec("astrom3", "stars", kind, weights, "gelu+relu", "", 0, 0, "", dim, pixels)
        self._encoders = {m: StarEncoder(m, dim, module, inputs.of(m), f"{m}-{weights[:16]}") for m in module.towers}

    score: Literal["softmax", "sigmoid"] = "softmax"

    @property
    def encoders(self) -> Mapping[str, Encoder[Any]]:
        """Modality -> its encoder, which takes whole stars."""
        return self._encoders

    @property
    def spec(self) -> Spec:
        """Name, sizes and hash of the weights; the fields about pixels and texts have no meaning here."""
        return self._spec

    def scale(self, a: str = "photometry", b: str = "spectra") -> tuple[Tensor, Tensor]:
        """Return the learnt scale of a pair of modalities, and a bias of 0."""
        holder: Any = self._module.scales[pair_name(a, b)]
        scale: Tensor = holder.logit_scale.exp()
        return scale, torch.zeros_like(scale)

    def module(self) -> StarModule:
        """Return towers, projections and scales."""
        return self._module

    def parts(self) -> Parts:
        """Return the sizes and the tensors of the towers, projections and scales."""
        towers: dict[str, Any] = dict(self._module.towers)
        settings = {
            "dim": self.dim,
            "length": self.inputs.length,
            "grid": list(self.inputs.grid),
            "constants": self.inputs.constants,
            "padded": self.inputs.padded,
            "pairs": [list(pair) for pair in self._module.pairs],
            "towers": {name: list(tower.sizes) for name, tower in towers.items()},
        }
        return Parts(None, settings, {f"own/{name}": t for name, t in self._module.state_dict().items()})

    @classmethod
    def of_parts(cls, parts: Parts) -> StarSpace:
        """Return the space of these parts."""
        settings = parts.settings
        low, high, count = settings["grid"]
        more = int(settings.get("constants", 0)), bool(settings.get("padded", False))  # not in earlier folders
        inputs = StarInputs(int(settings["length"]), (float(low), float(high), int(count)), *more)
        dim, pairs = int(settings["dim"]), tuple((str(a), str(b)) for a, b in settings["pairs"])

        def build() -> StarModule:
            towers = {str(name): _tower(str(name), sizes) for name, sizes in settings["towers"].items()}
            return StarModule(towers, dim, pairs)

        return cls(restored(build, parts), dim, inputs)

    def rebuild(self, module: nn.Module, spec: Spec) -> StarSpace:
        """Return a space with other weights of the same sizes.

        Raises:
            MissingHook: the module is not a StarModule.
        """
        if not isinstance(module, StarModule):
            raise MissingHook(
                f"astrom3 needs a StarModule to rebuild, got a {type(module).__name__}: start from space.module()."
            )
        return StarSpace(module, self.dim, self.inputs)


def windowed(row: Row, g: torch.Generator) -> Star:
    """Return a training view of a star, with a random window of its light curve."""
    star: Star = row.item
    return replace(star, window=float(torch.rand((), generator=g)))


def _tower(name: str, sizes: Sequence[Any]) -> nn.Module:
    """Return a tower of a modality from its ``sizes``."""
    if name == "photometry":
        return CurveTower(*sizes)
    if name == "spectra":
        return SpectrumTower(*sizes)
    count, hidden, dropout = sizes
    return FactsTower(torch.zeros(count), torch.ones(count), hidden, dropout)


class LabelNet(nn.Module):
    """The tower of one modality with a linear head for K classes; it shares the tower's weights with the encoder.

    Args:
        encoder: of the modality.
        classes: K.
    """

    def __init__(self, encoder: StarEncoder, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.tower = encoder.module.towers[encoder.modality]
        self.head = nn.Linear(int(self.tower.out), classes)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, K) logits of the encoder's inputs."""
        out: Tensor = self.head(self.tower(x))
        return out


class TunedStarEncoder(StarEncoder):
    """Embeds stars by a tower that was tuned on labels: its output before the head, of width C."""

    def encode(self, x: Inputs, /) -> Tensor:
        """Return the (B, C) outputs of the tower, not normalised."""
        assert isinstance(x, Tensor)
        return self.features(x)


class TunedStars(LabelledTower):
    """Stars by a tower of a space, tuned on labels, and the head of their classes.

    Args:
        base: the space as it was before.
        net: tower and head, in eval mode; its tower is a copy.
    """

    def __init__(self, base: StarSpace, net: LabelNet) -> None:
        self.base, self.net = base, net
        labelled = net.encoder.modality
        weights = hash_of((*_settings(base.inputs), labelled), net.state_dict())
        encoder = TunedStarEncoder(
            labelled, net.head.in_features, net.encoder.module, net.encoder.arrays, f"curves-{weights[:16]}"
        )
        spec = replace(base.spec, name=f"{base.spec.name}+labels", weights=weights, dim=encoder.dim)
        super().__init__(spec, encoder, labelled)

    def module(self) -> LabelNet:
        """Return tower and head."""
        return self.net

    def class_logits(self, vectors: Tensor) -> Tensor:
        """Return the (N, K) logits for (N, D) outputs of the tower."""
        with torch.no_grad():
            logits: Tensor = self.net.head(vectors.to(self.net.head.weight.device))
        return logits.cpu()

    def parts(self) -> Parts:
        """Return the number of classes, and the tensors of tower and head."""
        settings = {"modality": self.labelled, "classes": self.net.head.out_features}
        return Parts(self.base, settings, {f"own/{name}": t for name, t in self.net.state_dict().items()})

    @classmethod
    def of_parts(cls, parts: Parts) -> TunedStars:
        """Return the space of these parts."""
        if not isinstance(parts.base, StarSpace):
            raise DataError("These stars were tuned in a space that is missing: fit them again.")
        base, modality, classes = parts.base, str(parts.settings["modality"]), int(parts.settings["classes"])
        return cls(base, restored(lambda: label_net(base, modality, classes), parts))


def label_net(space: StarSpace, modality: str, classes: int) -> LabelNet:
    """Return a copy of the tower of one modality with a new head, drawn from torch's global generator."""
    encoder = space.rebuild(copy.deepcopy(space.module()), space.spec).encoders[modality]
    assert isinstance(encoder, StarEncoder)
    return LabelNet(encoder, classes).requires_grad_(True)
