"""open_clip models from a bare weight file, which states nothing but tensors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from diptych.backbones import released
from diptych.backbones.changes.apply import apply
from diptych.backbones.released import Released
from diptych.backbones.sources import openclip_config
from diptych.backbones.sources.openclip import OpenClip
from diptych.backbones.spec import NOTHING_STATED, Stated, agree, file_hash, recipe_from
from diptych.backbones.tokens import openclip_tokens
from diptych.backbones.weights import layout, load_openclip, read_state
from diptych.core import DataError, UsageError


def from_file(
    path: Path,
    *,
    offline: bool,
    stated: Stated = NOTHING_STATED,
    truncate: bool = False,
    allow_pickle: bool | None = False,
) -> OpenClip:
    """Load a bare weight file, which states nothing but tensors.

    Args:
        path: .safetensors, or a torch file.
        stated: architecture, activation and pixels: all three are demanded, since wrong ones give plausible vectors; or
            the name of a released file, whose table states them.
        offline: as in ``by_name``.
        truncate: as for ``by_name``.
        allow_pickle: as for ``weights.read_state``.

    Raises:
        UsageError: there is no such file, something is not stated, or the architecture is unknown or contradicts the
            activation.
        DataError: the weights do not fit.
    """
    import open_clip

    if not path.is_file():
        raise UsageError(f"There is no weight file {path}: check the path.")
    row = _released(stated)
    stated = _with_facts_of(row, stated)
    demanded = {
        "architecture": (stated.architecture, "architecture='ViT-B-32' (NAME?architecture=ViT-B-32)"),
        "activation": (stated.activation, "activation='gelu' or 'quick_gelu' (NAME?activation=gelu)"),
        "pixel recipe": (
            stated.pixels,
            "pixels=PixelRecipe(size, mean, std, interpolation, resize) (NAME?pixels=FILE.json)",
        ),
    }
    missing = {what: flag for what, (value, flag) in demanded.items() if value is None}
    if missing:
        raise UsageError(
            f"{path} does not state its {', '.join(missing)}: give {', '.join(missing.values())}; or, for a file "
            f"that the authors of a system have released, its name (NAME?released=long-clip-l)."
        )
    architecture, pixels = str(stated.architecture).replace("/", "-"), stated.pixels
    config = open_clip.get_model_config(architecture)
    if config is None:
        raise UsageError(f"open_clip knows no architecture {architecture!r}: see open_clip.list_models().")
    claims = {f"the name {architecture}": "quick_gelu"} if architecture.endswith("-quickgelu") else {}
    config["quick_gelu"] = agree("activation", stated.activation, claims, override=stated.override) == "quick_gelu"
    if row.model:
        config = openclip_config.merged(config, row.model)
        architecture = openclip_config.architecture(config)
    state = read_state(path, allow_pickle=allow_pickle)
    if layout(state) == "transformers":
        raise DataError(
            f"{path} holds transformers weights: load the folder with its config.json by local:{path.parent}."
        )
    config = openclip_config.with_context_of(state, openclip_config.text_config_on_disk(config, None, offline))
    tokens = openclip_tokens(config, None, offline=offline)
    model = openclip_config.build(config, 0)
    digest = file_hash(path)
    assert pixels is not None
    spec = openclip_config.spec(f"local:{path}", architecture, digest, config, pixels, tokens, model)
    spec = apply(model, spec, row.architecture_changes())
    load_openclip(model, state, path, halved=row.halved)
    return OpenClip(model, spec, tokens, config=config, truncate=truncate, weights=digest)


def _released(stated: Stated) -> Released:
    return released.row(stated.released)[1] if stated.released else Released("")


def _with_facts_of(row: Released, stated: Stated) -> Stated:
    """Return what is stated, and what the table of a released file states beside it.

    Raises:
        UsageError: the two differ, and nothing overrides.
    """
    if not row.architecture:
        return stated
    table = f"the table of {row.name}"
    return replace(
        stated,
        architecture=agree("architecture", stated.architecture, {table: row.architecture}, override=stated.override),
        activation=agree("activation", stated.activation, {table: row.activation}, override=stated.override),
        pixels=agree("pixel recipe", stated.pixels, {table: recipe_from(row.pixels or {})}, override=stated.override),
    )
