"""Where open_clip models come from: a published name, a folder, a built module, random weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from diptych.backbones import hub
from diptych.backbones.file_kinds import check_folder
from diptych.backbones.sources import openclip_config
from diptych.backbones.sources.openclip import OpenClip
from diptych.backbones.spec import NOTHING_STATED, OPENAI_MEAN, OPENAI_STD, Stated, agree, file_hash, state_hash
from diptych.backbones.tokens import TOKENIZER_FILES, ClipBpe, Tokens, openclip_tokens
from diptych.backbones.weights import find_weights, load_openclip, read_state
from diptych.core import DataError, NotAvailable, Spec, UsageError
from diptych.data.files import read_json

CONFIG = "open_clip_config.json"
HUB_FILES = (CONFIG, "open_clip_model.safetensors", *TOKENIZER_FILES)


def by_name(
    architecture: str,
    tag: str,
    *,
    offline: bool,
    random_seed: int | None = None,
    stated: Stated = NOTHING_STATED,
    truncate: bool = False,
    allow_pickle: bool = False,
) -> OpenClip:
    """Load a published open_clip model.

    Args:
        architecture: open_clip architecture, "-quickgelu" included where the weights were trained so.
        tag: published weights; "" only with ``random_seed``.
        offline: whether to avoid the network.
        random_seed: draw random weights from this seed instead of loading any; None: load.
        stated: facts to compare with the library's tables.
        truncate: whether to truncate texts that are too long, instead of raising.
        allow_pickle: whether to run pickles and TorchScript archives, which must be trusted.

    Raises:
        UsageError: the name's activation contradicts the weights' or ``stated``.
        NotAvailable: weights, tokenizer or text-tower configuration are not on this machine and may not be fetched.
        DataError: the weights do not fit.
    """
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    agree("architecture", stated.architecture, {"the name": architecture}, override=False)
    config = open_clip.get_model_config(architecture)
    published = get_pretrained_cfg(
        architecture, tag or next(iter(open_clip.list_pretrained_tags_by_model(architecture)), "")
    )
    claims = {f"the architecture {architecture}": openclip_config.activation(config)}
    if tag:
        claims[f"the weights {tag}"] = "quick_gelu" if published.get("quick_gelu") else "gelu"
    twin = f"{architecture}-quickgelu/{tag}"
    remedy = (
        f"use openclip:{twin}"
        if tag and tag in open_clip.list_pretrained_tags_by_model(f"{architecture}-quickgelu")
        else ""
    )
    config["quick_gelu"] = (
        agree("activation", stated.activation, claims, override=stated.override, remedy=remedy) == "quick_gelu"
    )
    recipe = openclip_config.recipe(published or {"mean": OPENAI_MEAN, "std": OPENAI_STD}, config)
    pixels = agree("pixel recipe", stated.pixels, {"open_clip's table": recipe}, override=stated.override)
    config = openclip_config.text_config_on_disk(config, None, offline)
    tokens = openclip_tokens(config, None, offline=offline, optional=random_seed is not None)
    name = f"openclip:{architecture}/{tag}" if tag else f"openclip:{architecture}"
    if random_seed is not None:
        name += "?weights=random" + (f"&seed={random_seed}" if random_seed else "")
    if random_seed is not None:
        model = openclip_config.build(config, random_seed)
        digest, weights = state_hash(model), f"random:{random_seed}"
    else:
        path = hub.published_weights(published, offline=offline)
        model = openclip_config.build(config, 0)
        load_openclip(model, read_state(path, allow_pickle=allow_pickle), path)
        digest = weights = file_hash(path)
    spec = openclip_config.spec(name, architecture, weights, config, pixels, tokens, model)
    return OpenClip(model, spec, tokens, config=config, truncate=truncate, weights=digest)


def from_folder(
    folder: Path,
    name: str = "",
    *,
    offline: bool,
    stated: Stated = NOTHING_STATED,
    truncate: bool = False,
    allow_pickle: bool = False,
    licence: str = "",
) -> OpenClip:
    """Load a folder in open_clip's format (its ``local-dir:``).

    Args:
        folder: folder with open_clip_config.json, a weight file and, for other than CLIP's BPE, the tokenizer's files.
        name: canonical name; "": "local:" and the folder.
        offline: never touch the network (only a text tower whose configuration is not in the folder would).
        stated: facts to compare with the folder's.
        truncate: as for ``by_name``.
        allow_pickle: as for ``by_name``.
        licence: licence of the weights.

    Raises:
        NotAvailable: the folder, its configuration, weights or tokenizer are missing.
        UsageError: the configuration contradicts the folder's name or ``stated``.
        DataError: the configuration is damaged or has no pixel recipe, or the weights do not fit.
    """
    if not (folder / CONFIG).is_file():
        raise NotAvailable(
            f"{folder} holds no {CONFIG}: save the model with diptych.backbones.sources.save or open_clip's own tools."
        )
    check_folder(folder)
    raw = read_json(folder / CONFIG)
    config, pixel_facts = raw.get("model_cfg"), raw.get("preprocess_cfg") or {}
    if not isinstance(config, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= config.keys():
        raise DataError(
            f"{folder / CONFIG} states no model_cfg with embed_dim, vision_cfg and text_cfg: write it again."
        )
    weights_path = find_weights(folder)
    claims = {CONFIG: openclip_config.activation(config)}
    label = (name.rpartition("/")[2] or folder.name).lower()
    if "quickgelu" in label or "openai" in label:
        claims["the folder's name"] = "quick_gelu"
    config["quick_gelu"] = agree("activation", stated.activation, claims, override=stated.override) == "quick_gelu"
    recipes = {CONFIG: openclip_config.recipe(pixel_facts, config)} if {"mean", "std"} <= pixel_facts.keys() else {}
    if not recipes and stated.pixels is None:
        raise UsageError(
            f"{folder / CONFIG} does not state the mean and std of its pixels: give pixels=PixelRecipe(...) "
            f"(NAME?pixels=FILE.json)."
        )
    pixels = agree("pixel recipe", stated.pixels, recipes, override=stated.override)
    architecture = agree(
        "architecture", stated.architecture, {CONFIG: openclip_config.architecture(config)}, override=stated.override
    )
    config = openclip_config.text_config_on_disk(config, folder, offline)
    tokens = openclip_tokens(config, folder, offline=offline)
    model = openclip_config.build(config, 0)
    state = read_state(weights_path, allow_pickle=allow_pickle)
    load_openclip(model, state, weights_path, otherwise=f"get it and {CONFIG} from the same place again")
    digest = file_hash(weights_path)
    spec = replace(
        openclip_config.spec(name or f"local:{folder}", architecture, digest, config, pixels, tokens, model),
        licence=licence,
    )
    return OpenClip(model, spec, tokens, config=config, truncate=truncate, weights=digest)


def from_config(
    path: Path, name: str, seed: int, *, offline: bool, stated: Stated = NOTHING_STATED, truncate: bool = False
) -> OpenClip:
    """Build a model with random weights from its configuration, to train it from scratch.

    Args:
        path: a .json file as in open_clip's model_configs (embed_dim, vision_cfg, text_cfg), or as ``save`` writes it
            (the same under model_cfg); or a folder with such a file, see ``CONFIG``, whose weights are not read.
        name: canonical name.
        seed: of the weights.
        offline: as in ``by_name``.
        stated: facts to compare with the file's. Pixels that neither states have the mean and std of CLIP's.
        truncate: as for ``by_name``.

    Raises:
        UsageError: there is no such file.
        DataError: it is no configuration, or open_clip cannot build it.
    """
    file = path / CONFIG if path.is_dir() else path
    if not file.is_file():
        raise UsageError(
            f"There is no configuration {file}: give a .json file as in open_clip's model_configs, or a folder with "
            f"{CONFIG}."
        )
    raw = read_json(file)
    config, facts = raw.get("model_cfg", raw), raw.get("preprocess_cfg") or {}
    if not isinstance(config, dict) or not {"embed_dim", "vision_cfg", "text_cfg"} <= config.keys():
        raise DataError(f"{file} has no embed_dim, vision_cfg and text_cfg: write it as in open_clip's model_configs.")
    claims = {file.name: openclip_config.activation(config)}
    config["quick_gelu"] = agree("activation", stated.activation, claims, override=stated.override) == "quick_gelu"
    recipe = openclip_config.recipe({"mean": OPENAI_MEAN, "std": OPENAI_STD, **facts}, config)
    pixels = agree("pixel recipe", stated.pixels, {file.name: recipe}, override=stated.override)
    shape = {file.name: openclip_config.architecture(config)}
    architecture = agree("architecture", stated.architecture, shape, override=stated.override)
    config = openclip_config.text_config_on_disk(config, file.parent, offline)
    tokens = openclip_tokens(config, file.parent, offline=offline, optional=True)
    model = openclip_config.build(config, seed)
    full = f"{name}?weights=random" + (f"&seed={seed}" if seed else "")
    spec = openclip_config.spec(full, architecture, f"random:{seed}", config, pixels, tokens, model)
    return OpenClip(model, spec, tokens, config=config, truncate=truncate, weights=state_hash(model))


def untrained(folder: Path, config_file: str, spec: Spec) -> OpenClip:
    """Build the model of a saved configuration with random weights, for what loads its own tensors into it.

    Args:
        folder: has the configuration and, for other than CLIP's BPE, the tokenizer's files.
        config_file: name of the configuration.
        spec: name, pixel recipe and licence.

    Raises:
        DataError: the configuration is damaged.
    """
    facts = read_json(folder / config_file)
    try:
        config = openclip_config.text_config_on_disk(facts["model_cfg"], folder, offline=True)
        tokens = openclip_tokens(config, folder, offline=True)
        model = openclip_config.build(config, 0)
        architecture = openclip_config.architecture(config)
        before = openclip_config.spec(spec.name, architecture, "", config, spec.pixels, tokens, model)
    except KeyError as error:
        raise DataError(f"{folder / config_file} lacks {error}: save the space again.") from error
    return OpenClip(model, replace(before, licence=spec.licence), tokens, config=config, weights="")


def from_model(
    model: nn.Module,
    spec: Spec,
    tokens: Tokens | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    truncate: bool = False,
) -> OpenClip:
    """Wrap a model that you built with open_clip.

    Args:
        model: CLIP, CustomTextCLIP or CoCa; put in eval mode.
        spec: what it is; its ``weights`` is replaced by a hash of the tensors.
        tokens: its tokenizer; None: CLIP's BPE.
        config: its ``model_cfg``, for saving.
        truncate: whether to truncate texts that are too long, instead of raising.
    """
    digest = state_hash(model)
    return OpenClip(
        model, replace(spec, weights=f"state:{digest}"), tokens or ClipBpe(), config=config, truncate=truncate,
        weights=digest,
    )  # fmt: skip
