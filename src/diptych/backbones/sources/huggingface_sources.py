"""Loading of transformers models from a folder, whose files must agree with each other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import nn

from diptych.backbones.file_kinds import check_folder
from diptych.backbones.sources.huggingface import FAMILIES, Family, HuggingFace
from diptych.backbones.spec import NOTHING_STATED, Stated, agree, file_hash, triple
from diptych.backbones.tokens import TOKENIZER_FILES, HubTokens, load_tokenizer
from diptych.backbones.transformers_weights import read_model
from diptych.core import DataError, NotAvailable, PixelRecipe, Spec, UsageError
from diptych.data.files import read_json

CONFIG = "config.json"
HUB_FILES = (CONFIG, "model*.safetensors", "model.safetensors.index.json", "preprocessor_config.json", *TOKENIZER_FILES)
_FILTERS: dict[int, Literal["bilinear", "bicubic"]] = {2: "bilinear", 3: "bicubic"}
_ACTIVATIONS = {"gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh"}


def from_folder(
    folder: Path, name: str = "", *, stated: Stated = NOTHING_STATED, truncate: bool = False, allow_pickle: bool = False
) -> HuggingFace:
    """Load a folder in transformers' format, without the network.

    Args:
        folder: folder with config.json, weights, preprocessor_config.json and the tokenizer's files.
        name: canonical name; "": "local:" and the folder.
        stated: facts to compare with the folder's.
        truncate: whether to truncate texts that are too long, instead of raising.
        allow_pickle: whether to read pytorch_model.bin too (tensors only, with pickle's reader).

    Raises:
        NotAvailable: weights or tokenizer are missing.
        UsageError: the model type is not supported, or the activation or pixel recipe is not stated or contradicts
            ``stated``.
        DataError: tensors are missing, unexpected or of another shape, or the tokenizer does not belong to the model.
    """
    check_folder(folder)
    raw = read_json(folder / CONFIG)
    kind = str(raw.get("model_type", ""))
    if kind not in FAMILIES:
        extra = (
            ": its NaFlex grids vary; fixed-size SigLIP 2 checkpoints have model_type siglip and work"
            if kind == "siglip2"
            else ""
        )
        raise UsageError(
            f"{folder} holds a transformers model of type {kind or 'unknown'!r}, supported are "
            f"{', '.join(FAMILIES)}{extra}."
        )
    agree("architecture", stated.architecture, {CONFIG: kind}, override=False)
    family = FAMILIES[kind]
    activation = _activation(raw, folder, stated)
    pixels = _pixels(raw, folder, stated)
    files = _weight_files(folder, allow_pickle)
    tokens = HubTokens(load_tokenizer(folder), family.tokenizer)
    model = _model(folder, activation, safe=files[0].suffix == ".safetensors")
    config: Any = model.config
    _belongs(tokens, config.text_config, family, folder)
    end = getattr(config.text_config, "eos_token_id", None)
    hashes = [file_hash(f) for f in files]
    digest = hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
    context = _context(config)
    spec = Spec(
        name=name or f"local:{folder}",
        family="huggingface",
        architecture=kind,
        weights=digest,
        activation=activation,
        tokenizer=tokens.name,
        context=context,
        pad=tokens.pad,
        pooling=family.pooling or ("argmax" if end == 2 else "eos"),
        dim=_width(config),
        pixels=pixels,
        score=family.score,
    )
    return HuggingFace(model, spec, tokens, truncate=truncate, weights=digest)


def _width(config: Any) -> int:
    # SigLIP has no projection: its towers' own width is the joint one.
    return int(config.vision_config.hidden_size if config.model_type == "siglip" else config.projection_dim)


def _context(config: Any) -> int:
    # XLM-R, AltCLIP's text model, counts positions from the padding id + 1.
    offset = config.text_config.pad_token_id + 1 if config.model_type == "altclip" else 0
    return int(config.text_config.max_position_embeddings) - offset


def _activation(raw: Mapping[str, Any], folder: Path, stated: Stated) -> str:
    """Read ``hidden_act`` of both towers.

    Without it, transformers would use QuickGELU, which is wrong for converted LAION weights.
    """
    if stated.activation is not None and stated.override:
        return stated.activation
    values = {part: (raw.get(f"{part}_config") or {}).get("hidden_act") for part in ("vision", "text")}
    silent = [f"{part}_config.hidden_act" for part, value in values.items() if value is None]
    if silent and stated.activation is None:
        raise UsageError(
            f"{folder / CONFIG} does not state {' and '.join(silent)}: give activation='gelu' or 'quick_gelu' "
            f"(NAME?activation=gelu)."
        )
    names = {part: _ACTIVATIONS.get(str(v), str(v)) for part, v in values.items() if v is not None}
    if len(names) == 2 and names["vision"] != names["text"]:  # two towers may differ, as ALIGN's do
        joint = f"{names['vision']}+{names['text']}"
        return agree("activation", stated.activation, {CONFIG: joint}, override=False)
    return agree("activation", stated.activation, {f"{CONFIG} ({p})": v for p, v in names.items()}, override=False)


def _pixels(raw: Mapping[str, Any], folder: Path, stated: Stated) -> PixelRecipe:
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        if stated.pixels is None:
            raise UsageError(
                f"{folder} holds no {path.name}, so its pixels are unknown: put it there, or pixels=PixelRecipe(...) "
                f"(NAME?pixels=FILE)."
            )
        return stated.pixels
    facts = read_json(path)
    recipe = agree("pixel recipe", stated.pixels, {path.name: recipe_of(facts, path)}, override=stated.override)
    side = (raw.get("vision_config") or {}).get("image_size", recipe.size)
    if side != recipe.size and raw.get("model_type") != "align":  # ALIGN crops below its EfficientNet's nominal side
        raise DataError(
            f"{path} makes {recipe.size} pixels and {CONFIG} wants {side}: one of the two belongs to another model."
        )
    return recipe


def recipe_of(facts: Mapping[str, Any], path: Path) -> PixelRecipe:
    """Read a preprocessor_config.json.

    Raises:
        DataError: a fact is missing, or has no equivalent in PixelRecipe.
    """
    absent = [k for k in ("size", "image_mean", "image_std", "resample") if k not in facts]
    if absent:
        raise DataError(f"{path} does not state {', '.join(absent)}: write it again with save_pretrained.")
    if (
        not all(facts.get(k, True) for k in ("do_resize", "do_rescale", "do_normalize"))
        or abs(facts.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-6
    ):
        raise DataError(
            f"{path} leaves out resizing, rescaling by 1/255 or normalisation: diptych always does the three."
        )
    if facts["resample"] not in _FILTERS:
        raise DataError(
            f"{path} resizes with PIL filter {facts['resample']}: only 2 (bilinear) and 3 (bicubic) are supported."
        )
    crops = facts.get("do_center_crop", False)
    size = _sides(facts["size"], path)
    cropped = _sides(facts.get("crop_size", facts["size"]), path) if crops else size
    shortest = isinstance(facts["size"], int) or "shortest_edge" in facts["size"]
    if shortest and not crops:
        raise DataError(
            f"{path} resizes the shortest edge without a crop, which gives pictures of any shape: set do_center_crop."
        )
    return PixelRecipe(
        cropped,
        triple(facts["image_mean"]),
        triple(facts["image_std"]),
        interpolation=_FILTERS[facts["resample"]],
        resize="shortest" if shortest else "squash",
        crop=cropped / size,
    )


def _sides(size: Any, path: Path) -> int:
    values = {int(v) for v in size.values() if v is not None} if isinstance(size, dict) else {int(size)}
    if len(values) != 1:
        raise DataError(f"{path} states the size {size}, and only square inputs are supported.")
    return values.pop()


def _weight_files(folder: Path, allow_pickle: bool) -> list[Path]:
    safe, pickled = sorted(folder.glob("model*.safetensors")), sorted(folder.glob("pytorch_model*.bin"))
    if not safe and not pickled:
        raise NotAvailable(f"{folder} holds no weights: put model.safetensors there.")
    if not safe and not allow_pickle:
        raise UsageError(
            f"{folder} holds pickled weights only: convert them to safetensors, or trust them with allow_pickle=True "
            f"(NAME?allow-pickle)."
        )
    return safe or pickled


def _model(folder: Path, activation: str, *, safe: bool) -> nn.Module:
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
    if "+" not in activation:
        for part in (config.vision_config, config.text_config):
            name = str(getattr(part, "hidden_act", activation))
            if _ACTIVATIONS.get(name, name) != activation:
                part.hidden_act = {"gelu_tanh": "gelu_pytorch_tanh"}.get(activation, activation)
    options = {"config": config, "trust_remote_code": False, "use_safetensors": safe}
    return read_model(AutoModel, folder, exact=True, **options).float().eval()


def _belongs(tokens: HubTokens, config: Any, family: Family, folder: Path) -> None:
    """Check that pooling finds the tokenizer's end token; a wrong pair would pool the start token silently."""
    ids = tokens.ids(["a"])[0]
    if max(ids) >= config.vocab_size:
        raise DataError(
            f"The tokenizer in {folder} has ids beyond the {config.vocab_size} of {CONFIG}: it belongs to another "
            f"model."
        )
    if family.pooling not in ("", "eos"):
        return
    end = getattr(config, "eos_token_id", None)
    largest = max(tokens.tokenizer.get_vocab().values())
    if end == 2 and not family.pooling:
        if ids[-1] != largest:
            raise DataError(
                f"{CONFIG} in {folder} pools at the largest id, but its tokenizer ends with {ids[-1]} of {largest}: "
                f"remove added tokens."
            )
    elif ids[-1] != end:
        raise DataError(
            f"{CONFIG} in {folder} pools at token {end}, but its tokenizer ends texts with {ids[-1]}: one belongs to "
            f"another model."
        )
