"""Interfaces of a CLIP-like model: encoders, the space they share, towers and dense maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar, runtime_checkable

from diptych.core.errors import MissingHook, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from diptych.core.spec import Spec

S_contra = TypeVar("S_contra", contravariant=True)

Inputs: TypeAlias = "Tensor | Mapping[str, Tensor]"


@runtime_checkable
class Encoder(Protocol[S_contra]):
    """Encoder of one modality into the joint space: image, text, clip, point cloud, light curve or record."""

    @property
    def modality(self) -> str:
        """Name of the modality: "image", "text", "clip", ..."""

    @property
    def dim(self) -> int:
        """Joint width D."""

    @property
    def fingerprint(self) -> str:
        """Hexadecimal hash of weights, architecture, tokenizer and pixel recipe: equal if and only if vectors are."""

    @property
    def size(self) -> int | None:
        """Side of the square input in pixels; None for modalities without pixels."""

    def inputs(self, items: Sequence[S_contra], size: int | None = None) -> Inputs:
        """Turn B items into model inputs, in the calling thread, without randomness.

        Images may be ``PIL.Image`` (any size: the pixel recipe applies) or float tensors (3, size, size) in [0, 1],
        which are only normalised and stay differentiable. ``size`` overrides the side where the tower allows it.
        """

    def encode(self, x: Inputs, /) -> Tensor:
        """Return (B, D) float32 embeddings, not normalised. The gradient mode stays as it is."""


@dataclass(frozen=True)
class Parts:
    """What a fitted space consists of, so that it can be written to a folder and put together again.

    Args:
        base: the space that it was fitted round, which whoever reads the folder brings; None: there is none.
        settings: plain values: numbers, texts, None, and lists, tuples or dictionaries of them.
        tensors: name -> trained tensor.
    """

    base: Space | None
    settings: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


class Space(ABC):
    """n encoders that share one space, with the scale and bias of each pair.

    A space that a system fits has ``parts`` and ``of_parts``, so that ``features.spaces`` can save and load it.
    """

    @property
    @abstractmethod
    def encoders(self) -> Mapping[str, Encoder[Any]]:
        """Modality -> encoder."""

    @property
    @abstractmethod
    def score(self) -> Literal["softmax", "sigmoid"]:
        """How scaled cosines become probabilities; who asks a space reads ``activation``."""

    @property
    def activation(self) -> Literal["softmax", "sigmoid"]:
        """How scaled cosines become probabilities."""
        return self.score

    @property
    @abstractmethod
    def spec(self) -> Spec:
        """Weights, architecture, tokenizer and pixel recipe of this space, as plain data."""

    @property
    def unwrapped(self) -> Space:
        """This space, or the one inside it where a class only adds to it; for what depends on the concrete class."""
        return self

    @abstractmethod
    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        """Return (scale, bias) of a pair of modalities, two scalars: logits = scale * cosine + bias."""

    @abstractmethod
    def module(self) -> nn.Module:
        """Return the module that holds all parameters."""

    @property
    def fingerprint(self) -> str:
        """Hash of all encoders' fingerprints."""
        import hashlib

        parts = "/".join(f"{m}:{e.fingerprint}" for m, e in sorted(self.encoders.items()))
        return hashlib.sha256(parts.encode()).hexdigest()[:16]

    def tower(self, modality: str) -> Tower:
        """Return the tower of a modality, cut in stem, blocks and head.

        Raises:
            MissingHook: this space has no such tower.
        """
        raise MissingHook(
            f"{self.spec.name} has no {modality} tower that can be cut in blocks: use a ViT or CLIP text backbone, "
            "such as tiny or openclip:ViT-B-32."
        )

    def dense(self) -> Dense:
        """Return the dense maps of the image encoder.

        Raises:
            MissingHook: this space has no dense maps.
        """
        raise MissingHook(
            f"{self.spec.name} has no dense maps: use lite, tiny or an openclip ViT, ConvNeXt or RN50 backbone."
        )

    def rebuild(self, module: nn.Module, spec: Spec) -> Space:
        """Return a space of the same kind with other weights.

        Raises:
            MissingHook: this space cannot be rebuilt.
        """
        raise MissingHook(f"{self.spec.name} cannot be rebuilt round new weights: use an openclip or tiny backbone.")

    def parts(self) -> Parts | None:
        """Return what this space consists of; None for a backbone, which is known by its name and fingerprint."""
        return None

    @classmethod
    def of_parts(cls, parts: Parts) -> Space:
        """Return the space of which ``parts`` are the parts; they may come from an untrusted folder.

        Raises:
            DataError: the tensors do not fit the settings.
            MissingHook: spaces of this class have no parts.
        """
        raise MissingHook(f"A {cls.__name__} is not put together from parts: load it by its name.")


class Backbone(Space):
    """A space with an "image" and a "text" encoder."""

    @property
    def image(self) -> Encoder[Any]:
        """The image encoder."""
        return self.encoders["image"]

    @property
    def text(self) -> Encoder[Any]:
        """The text encoder."""
        return self.encoders["text"]


class Around(Backbone):
    """A backbone round another one, whose score, specification, scale and module are its own too.

    Its tower, dense maps and rebuilding are not: those of the other do not fit other encoders.

    Args:
        encoders: modality -> encoder.
    """

    def __init__(self, base: Backbone, encoders: Mapping[str, Encoder[Any]]) -> None:
        self.base, self._encoders = base, encoders

    @property
    def encoders(self) -> Mapping[str, Encoder[Any]]:
        """The image and the text encoder."""
        return self._encoders

    @property
    def score(self) -> Literal["softmax", "sigmoid"]:
        """The score of the base."""
        return self.base.activation

    @property
    def spec(self) -> Spec:
        """The specification of the base."""
        return self.base.spec

    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        """Return (scale, bias) of the base."""
        return self.base.scale(a, b)

    def module(self) -> nn.Module:
        """Return the module of the base."""
        return self.base.module()


@dataclass(frozen=True)
class State:
    """Tokens between two steps of a tower, with the masks and sizes that the next step needs.

    Args:
        h: (B, T, C) tokens.
        bias: (B or 1, 1 or heads, T, T) added to attention logits: padding, causal or bidirectional mask; None: every
            token attends to all.
        pool: (B, T) pooling weights: end token, CLS, masked mean; None: the tower pools by attention.
        prefix: number of tokens before the patches (CLS, registers, prompts).
        grid: (h, w) of the patch tokens; None for text.
        kept: (B, t) positions of the patches that remain where some were dropped; None: all.
        valid: (B, T) True for text tokens from the start to the end token, whether or not padding is attended to; None
            for images, and where soft prompts alone were given.
    """

    h: Tensor
    bias: Tensor | None = None
    pool: Tensor | None = None
    prefix: int = 0
    grid: tuple[int, int] | None = None
    kept: Tensor | None = None
    valid: Tensor | None = None


@dataclass(frozen=True)
class Resampling:
    """How a table of positions is resized to the grid of an image of another size; half-pixel centres throughout.

    Libraries differ: open_clip and timm resize with antialias, transformers' models and the dense papers without. So
    the same weights would give other patches through another library, and the caller chooses instead.

    Args:
        mode: "bicubic" or "bilinear".
        antialias: whether the filter widens where the grid shrinks; with it torch also takes another cubic kernel, so
            that growing grids differ too.

    Raises:
        UsageError: another mode.
    """

    mode: Literal["bicubic", "bilinear"] = "bicubic"
    antialias: bool = True

    def __post_init__(self) -> None:
        if self.mode not in ("bicubic", "bilinear"):
            raise UsageError(f"Positions are resized by 'bicubic' or 'bilinear', not {self.mode!r}.")


ANTIALIASED = Resampling()
"""Of every tower, whatever its library: as open_clip and timm load a checkpoint at another size."""
PLAIN = Resampling(antialias=False)
"""Of many dense methods, and of transformers' ``interpolate_pos_encoding``."""
BILINEAR = Resampling("bilinear", antialias=False)
"""Of anomaly detectors that follow CLIP's prompts."""

Stage = Literal["patches", "positioned", "ready", "before", "after"]
Edit: TypeAlias = "Callable[[Stage, int, State], State]"
Kernel: TypeAlias = "Callable[[int, Tensor, Tensor, Tensor, Tensor | None], Tensor]"
Tap: TypeAlias = "Callable[[int, str, Tensor], None]"


@runtime_checkable
class Tower(Protocol):
    """A transformer cut into stem, blocks and head.

    ``project(pooled(blocks(start(x))))`` equals ``encode(x)``.
    """

    @property
    def width(self) -> int:
        """Token width C."""

    @property
    def depth(self) -> int:
        """Number of blocks."""

    @property
    def heads(self) -> int:
        """Attention heads a block."""

    def embed(self, ids: Tensor, /) -> Tensor:
        """Return the (B, T, C) token embeddings of (B, T) ids, before positions are added.

        Raises:
            MissingHook: the tower is not a text tower.
        """

    def start(self, x: Inputs, /, *, edit: Edit | None = None, positions: Resampling = ANTIALIASED) -> State:
        """Run the stem, on the device of the tower, wherever the inputs lie.

        Args:
            x: text: ids, or {"ids"|"embeds", "mask", ...}; image: (B, 3, H, W) pixels, H and W multiples of the patch
                size.
            edit: called at "patches" (before CLS), "positioned" (positions added) and "ready" (after the stem's norm).
            positions: how the position table of an image tower is resized to a grid that is not its own. Texts and
                rotary positions have no such table.
        """

    def blocks(
        self,
        s: State,
        /,
        first: int = 0,
        stop: int | None = None,
        *,
        edit: Edit | None = None,
        kernel: Kernel | None = None,
        tap: Tap | None = None,
    ) -> State:
        """Run blocks ``first`` to ``stop - 1``.

        ``edit`` is called "before" and "after" each block. ``tap(i, "mlp_in" | "out", h)`` reads tokens and changes
        nothing.
        """

    def attend(self, s: State, i: int, kernel: Kernel | None = None, /) -> Tensor:
        """Return block i's (B, T, C) attention output, after the output projection and before the residual."""

    def rest(self, s: State, i: int, attended: Tensor, /) -> State:
        """Return the state after the residual and the MLP of block i, pre- or post-norm."""

    def norm(self, h: Tensor, /) -> Tensor:
        """Apply the final norm (identity where the tower has none)."""

    def project(self, h: Tensor, /) -> Tensor:
        """Map (..., C) to (..., D): tokens, pooled masks and single vectors alike."""

    def pooled(self, s: State, /) -> Tensor:
        """Return (B, C), normed and pooled, before the projection."""


@runtime_checkable
class Dense(Protocol):
    """Feature maps of an image encoder, such as ViT, ConvNeXt, ResNet, Lite0, DINO or SAM."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Stride of each map, in pixels a cell, finest first."""

    def maps(self, x: Tensor, /) -> list[Tensor]:
        """Return (B, C, h, w) per stride of (B, 3, H, W) normalised pixels, which may lie on any device."""

    def pool(self, m: Tensor, weights: Tensor | None = None, /) -> Tensor:
        """Pool the last map with (B, Q, h, w) weights to (B, Q, C); None: the encoder's own pooling, Q = 1."""

    def project(self, pooled: Tensor, /) -> Tensor:
        """Map (..., C) to (..., D) in the joint space."""
