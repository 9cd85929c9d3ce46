"""What an open_clip ``model_cfg`` says: the module that it builds, its activation, pixel recipe, name and spec."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from diptych.backbones import hub
from diptych.backbones.spec import triple
from diptych.backbones.tokens import Tokens
from diptych.core import DataError, PixelRecipe, Spec


def build(config: Mapping[str, Any], seed: int) -> nn.Module:
    """Build the module of an open_clip ``model_cfg`` with random weights drawn from ``seed``; nothing is downloaded.

    Raises:
        DataError: open_clip does not understand the configuration.
    """
    from open_clip import CLIP, CoCa, CustomTextCLIP

    facts = copy.deepcopy(dict(config))
    facts["vision_cfg"].pop("timm_model_pretrained", None)
    if facts["text_cfg"].get("hf_model_name"):
        facts["text_cfg"]["hf_model_pretrained"] = False
    custom = facts.pop("custom_text", False) or bool(facts["text_cfg"].get("hf_model_name"))
    kind = CLIP if not custom else CoCa if "multimodal_cfg" in facts else CustomTextCLIP
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model: nn.Module = kind(**facts)
        except (TypeError, AssertionError, KeyError) as error:
            raise DataError(
                f"open_clip cannot build this model_cfg ({error}): write it as in open_clip's model_configs folder."
            ) from error
        if kind is CoCa:  # the library leaves this output layer as it finds the memory
            projection: Any = model.text_decoder.text_projection  # type: ignore[union-attr]
            nn.init.normal_(projection, std=len(projection) ** -0.5)
    return model.eval()


def activation(config: Mapping[str, Any]) -> str:
    """Return the activation of an open_clip ``model_cfg``: "gelu" or "quick_gelu"."""
    return "quick_gelu" if config.get("quick_gelu", False) else "gelu"


def recipe(facts: Mapping[str, Any], config: Mapping[str, Any]) -> PixelRecipe:
    """Read a pixel recipe; what open_clip's format leaves out means bicubic, shortest edge."""
    size = config["vision_cfg"].get("image_size", 224)
    if not isinstance(size, int):
        if len(set(size)) != 1:
            raise DataError(f"This model reads {size} pixels, and only square inputs are supported.")
        size = int(size[0])
    return PixelRecipe(
        size, triple(facts["mean"]), triple(facts["std"]), interpolation=facts.get("interpolation") or "bicubic",
        resize=facts.get("resize_mode") or "shortest", fill=int(facts.get("fill_color") or 0),
    )  # fmt: skip


def architecture(config: Mapping[str, Any]) -> str:
    """Return open_clip's name of a configuration, or "custom-" and its hash."""
    import open_clip

    shape = {k: v for k, v in config.items() if k != "quick_gelu"}
    for name in open_clip.list_models():
        known = open_clip.get_model_config(name)
        if activation(known) == activation(config) and {k: v for k, v in known.items() if k != "quick_gelu"} == shape:
            return str(name)
    return "custom-" + hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:8]


def merged(config: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration with another's values in the place of its own, in tables within it too.

    Example:
        >>> merged({"vision_cfg": {"width": 8, "layers": 2}}, {"vision_cfg": {"layers": 3}})
        {'vision_cfg': {'width': 8, 'layers': 3}}
    """
    out = dict(config)
    for name, value in other.items():
        inside = isinstance(value, Mapping) and isinstance(out.get(name), Mapping)
        out[name] = merged(out[name], value) if inside else value
    return out


def with_context_of(state: Mapping[str, torch.Tensor], config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration whose context is that of the table of text positions of some weights, where that is longer
    than the named architecture's, as Long-CLIP's is.
    """
    table = next((state[n] for n in ("positional_embedding", "text.positional_embedding") if n in state), None)
    text = config["text_cfg"]
    if table is None or "multimodal_cfg" in config or len(table) <= int(text.get("context_length", 77)):
        return dict(config)
    return {**config, "text_cfg": {**text, "context_length": len(table)}}


def text_config_on_disk(config: Mapping[str, Any], folder: Path | None, offline: bool) -> dict[str, Any]:
    """Set the folder of a transformers text tower, for which open_clip would otherwise request the hub."""
    facts = copy.deepcopy(dict(config))
    name = facts["text_cfg"].get("hf_model_name")
    if not name:
        return facts
    inside = [folder / name, folder] if folder is not None else []
    local = next((p for p in (*inside, Path(name)) if (p / "config.json").is_file()), None)
    facts["text_cfg"]["hf_model_name"] = str(local or hub.repository(name, ["config.json"], offline=offline))
    return facts


def spec(
    name: str,
    architecture: str,
    weights: str,
    config: Mapping[str, Any],
    pixels: PixelRecipe,
    tokens: Tokens,
    model: nn.Module,
) -> Spec:
    """Return the facts of a loaded model; see ``Spec``."""
    text = config["text_cfg"]
    of_text = "gelu_tanh" if (text.get("act_kwargs") or {}).get("approximate") == "tanh" else activation(config)
    trunk = config["vision_cfg"].get("timm_model_name")
    pooling = (
        text.get("hf_pooler_type", "mean_pooler").removesuffix("_pooler")
        if text.get("hf_model_name")
        else text.get("pool_type", "argmax")
    )
    return Spec(
        name=name,
        family="openclip",
        architecture=architecture,
        weights=weights,
        activation=f"{trunk}+{of_text}" if trunk else of_text,
        tokenizer=tokens.name,
        context=int(text.get("context_length", 77)),
        pad=tokens.pad,
        pooling=pooling,
        dim=int(config["embed_dim"]),
        pixels=pixels,
        score="sigmoid" if getattr(model, "logit_bias", None) is not None else "softmax",
    )
