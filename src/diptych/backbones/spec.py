"""What identifies a checkpoint: hashes, fingerprints, and what a user states where a source is silent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from diptych.core import DataError, PixelRecipe, Spec, UsageError

T = TypeVar("T")

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Stated:
    """Facts from the user about a checkpoint, for a source where they are missing or wrong.

    Args:
        architecture: open_clip architecture, such as "ViT-B-32".
        activation: "gelu" or "quick_gelu".
        released: name of a released file of ``backbones.released``, whose table states the other facts.
        override: whether these facts replace the source's; otherwise a contradiction is an error.
    """

    architecture: str | None = None
    activation: str | None = None
    pixels: PixelRecipe | None = None
    override: bool = False
    released: str | None = None


NOTHING_STATED = Stated()


def agree(what: str, stated: T | None, claims: Mapping[str, T], *, override: bool, remedy: str = "") -> T:
    """Return the value on which all sources agree.

    Args:
        what: name of the fact, for the error.
        stated: value from the user; None: none.
        claims: source -> its value, without sources that have none. Not empty, unless ``stated`` is given.
        override: whether the user's value replaces the others.
        remedy: another remedy, for the error.

    Raises:
        UsageError: two sources differ and nothing overrides them.
    """
    if stated is not None and override:
        return stated
    statements = {**claims} if stated is None else {**claims, "you": stated}
    values = list(statements.values())
    if any(v != values[0] for v in values):
        voices = ", ".join(f"{source}: {value}" for source, value in statements.items())
        other = f"{remedy}, or state" if remedy else "state"
        raise UsageError(
            f"The sources differ on the {what} ({voices}): {other} the right one with override=True (NAME?override)."
        )
    return values[0]


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_hash(module: nn.Module) -> str:
    """Return the SHA-256 of a module's tensors with their names, types and shapes, hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}/{tensor.dtype}/{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def fingerprint(modality: str, spec: Spec, weights: str, **facts: Any) -> str:
    """Return 16 hexadecimal digits that differ wherever the vectors of this modality could.

    Args:
        modality: "image" or "text".
        spec: what the checkpoint is; its name and licence do not enter.
        weights: hash of the weights themselves.
        facts: whatever else decides on the vectors (tokenizer's hash, truncation).
    """
    parts: dict[str, Any] = {
        "modality": modality,
        "weights": weights,
        "architecture": spec.architecture,
        "activation": spec.activation,
        "dim": spec.dim,
    }
    if spec.changes:
        parts["changes"] = [asdict(change) for change in spec.changes]
    if modality == "image":
        parts["pixels"] = asdict(spec.pixels)
    else:
        parts |= {"context": spec.context, "pad": spec.pad, "pooling": spec.pooling, "tokenizer": spec.tokenizer}
    return hashlib.sha256(json.dumps({**parts, **facts}, sort_keys=True).encode()).hexdigest()[:16]


def spec_from(facts: Mapping[str, Any]) -> Spec:
    """Read a spec that ``Spec.as_dict`` wrote.

    Raises:
        KeyError, TypeError: a fact is missing or unknown.
    """
    recipe_from(facts["pixels"])  # a file that a user gives has its values checked
    return Spec.from_dict(facts)


def recipe_from(facts: Mapping[str, Any]) -> PixelRecipe:
    """Read a pixel recipe from plain data, such as a JSON file that a user gives or ``Spec.as_dict`` wrote.

    Raises:
        DataError: size, mean or std is missing, or a key or value is unknown.
    """
    try:
        recipe = PixelRecipe(**{**facts, "mean": triple(facts["mean"]), "std": triple(facts["std"])})
    except (KeyError, TypeError) as error:
        raise DataError(
            f"A pixel recipe needs size, mean and std, and knows interpolation, resize, crop and fill ({error})."
        ) from error
    if recipe.interpolation not in ("bilinear", "bicubic") or recipe.resize not in ("shortest", "squash", "longest"):
        raise DataError(
            f"A pixel recipe is bilinear or bicubic and shortest, squash or longest, not {recipe.interpolation} and "
            f"{recipe.resize}."
        )
    return recipe


def triple(value: Any) -> tuple[float, float, float]:
    """Return a mean or standard deviation of three channels; one number is for all three."""
    values = [float(value)] * 3 if isinstance(value, int | float) else [float(v) for v in value]
    if len(values) != 3:
        raise DataError(f"A pixel recipe needs one value for each of three channels, not {values}.")
    return values[0], values[1], values[2]
