"""What a checkpoint is, as plain data: weights, architecture, tokenizer and pixel recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal

Interpolation = Literal["bilinear", "bicubic"]
ResizeMode = Literal["shortest", "squash", "longest"]


@dataclass(frozen=True)
class PixelRecipe:
    """How an image becomes the input of a tower.

    Args:
        size: side of the square input, in pixels.
        mean: per channel, on values in [0, 1].
        std: per channel.
        interpolation: PIL filter of the resize.
        resize: "shortest" edge then centre crop, "squash" to a square, or "longest" edge then padding with ``fill``.
        crop: share of the resized side that the centre crop keeps (1.0: the resize goes to ``size`` itself).
        fill: padding grey for "longest", in [0, 255].
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation = "bicubic"
    resize: ResizeMode = "shortest"
    crop: float = 1.0
    fill: int = 0


@dataclass(frozen=True)
class Change:
    """A change of an architecture after it was loaded, such as a longer position table.

    Args:
        kind: name of the change, see ``backbones.changes``.
        settings: of the change, of types that JSON holds.
    """

    kind: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Spec:
    """What a checkpoint is: its weights, architecture, activation, tokenizer and pixel recipe.

    Args:
        name: canonical name, such as "openclip:ViT-B-32/laion2b_s34b_b79k", "lite", "local:/models/mine".
        family: "openclip", "huggingface", "lite", "tiny".
        architecture: open_clip or transformers architecture name.
        weights: SHA-256 of the weight file(s), or "random:<seed>".
        activation: "gelu", "quick_gelu", "gelu_tanh", or the trunk's own name.
        tokenizer: "clip-bpe", "siglip-sentencepiece", "bert-wordpiece", ...
        context: longest text in tokens.
        pad: id that fills short texts.
        pooling: text pooling: "argmax", "eos", "last", "mean", "cls".
        dim: joint width D.
        pixels: pixel recipe of the image encoder.
        score: "softmax" or "sigmoid".
        licence: of the weights, as stated by their source; "" if unknown.
        changes: changes of the architecture since, in order.
        languages: ISO 639-1 codes of all languages that the text encoder learnt, such as "en"; () if unknown.
    """

    name: str
    family: str
    architecture: str
    weights: str
    activation: str
    tokenizer: str
    context: int
    pad: int
    pooling: str
    dim: int
    pixels: PixelRecipe
    score: Literal["softmax", "sigmoid"] = "softmax"
    licence: str = ""
    changes: tuple[Change, ...] = ()
    languages: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Spec:
        """Return the spec that ``as_dict`` wrote.

        Raises:
            KeyError, TypeError: a fact is missing or unknown.
        """
        given = facts["pixels"]
        pixels = PixelRecipe(**{**given, "mean": tuple(given["mean"]), "std": tuple(given["std"])})
        changes = tuple(Change(c["kind"], c["settings"]) for c in facts.get("changes", ()))
        languages = tuple(facts.get("languages", ()))
        return cls(**{**facts, "pixels": pixels, "changes": changes, "languages": languages})


EARLIER: Mapping[str, tuple[str, str]] = MappingProxyType({"6aa0b9a39ec2ff42": ("lite", "lite:2026-11")})
"""Fingerprint of a backbone -> its name when its vectors were stored, and its name since others took that one."""


def name_today(name: str, fingerprint: str) -> str:
    """Return the name by which a backbone loads today, of which something was stored.

    Args:
        name: of the backbone, as it was stored.
        fingerprint: of the backbone; what follows a "-" says how it ran.

    Example:
        >>> name_today("lite", "6aa0b9a39ec2ff42-fp32"), name_today("lite", "another-fp32")
        ('lite:2026-11', 'lite')
    """
    then, since = EARLIER.get(fingerprint.partition("-")[0], (name, name))
    return since if name == then else name
