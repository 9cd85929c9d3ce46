"""Backbones on disk: open_clip's own format, transformers' own format, and a Space folder for everything else.

A space with a language model is a folder of three parts, each in its own format:

image/            the backbone, as ``save`` writes it alone
language/         the language model and its tokenizer, for transformers' ``from_pretrained``
adaptor.safetensors
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from diptych.backbones.causal import load_causal, quiet
from diptych.backbones.changes.apply import apply
from diptych.backbones.language_space import Adaptor, LanguageSpace
from diptych.backbones.language_text import LanguageText
from diptych.backbones.sources import openclip_sources, selftest
from diptych.backbones.sources.huggingface import HuggingFace
from diptych.backbones.sources.openclip import OpenClip
from diptych.backbones.spec import spec_from
from diptych.backbones.tokens import HubTokens
from diptych.backbones.weights import OPENCLIP_FILES, read_state
from diptych.core import Backbone, DataError, Space, UsageError
from diptych.data.files import drafted, read_json, write_json

SPACE = "space.json"
SCHEMA = 1
BASE = "base.json"
"""open_clip_config.json of the model before its architecture was changed."""
MODEL = "model.safetensors"
PARTS = "parts"


def save(space: Space, folder: Path, parts: Mapping[str, nn.Module] | None = None) -> None:
    """Write a space to a new or empty folder so that ``load("local:FOLDER")`` gives the same vectors; ``load_parts``
    reads the tensors of other trained ``parts``.

    - open_clip models become a folder for open_clip's ``local-dir:FOLDER``, also with a longer table of text positions.
    - transformers models become a folder for ``from_pretrained``.
    - A model whose architecture was changed becomes space.json with its tensors and changes, and the configuration of
      what it was before, where that is open_clip's.
    - A space with a language model becomes space.json beside folders of its parts.
    - Any other space that ``load`` has by name becomes space.json with its tensors.

    The vectors of a fixed picture and sentence are saved too, and ``load`` compares them.

    Raises:
        UsageError: the folder holds something, or the space can't be written.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty: name a new folder, nothing is overwritten.")
    space = _plain(space.unwrapped)
    if isinstance(space, LanguageSpace):
        _save_language(space, folder, parts)
        return
    config = _openclip_config(space) if isinstance(space, OpenClip) else None
    with drafted(folder, overwrite=True) as draft:
        draft.mkdir()
        if isinstance(space, Backbone):
            write_json(draft / selftest.FILE, selftest.probe(space))
        _save_parts(parts, draft)
        if isinstance(space, OpenClip):
            assert config is not None
            _save_text_tower(space, config["model_cfg"], draft, folder)
            if isinstance(space.tokens, HubTokens):
                space.tokens.tokenizer.save_pretrained(str(draft))
            if space.spec.changes:
                _tensors(space.module(), draft / MODEL)
                write_json(draft / BASE, config)
                write_json(draft / SPACE, {"schema": SCHEMA, "base": "", "spec": space.spec.as_dict()})
            else:
                _tensors(space.module(), draft / OPENCLIP_FILES[0])
                write_json(draft / openclip_sources.CONFIG, config)
        elif isinstance(space, HuggingFace) and not space.spec.changes:
            _save_transformers(space, draft)
        else:
            _tensors(space.module(), draft / MODEL)
            write_json(draft / SPACE, {"schema": SCHEMA, "base": _base(space.spec.name), "spec": space.spec.as_dict()})


def _plain(space: Space) -> Space:
    """Return a lengthened open_clip model as the plain model of a longer ``context_length`` that it is; other spaces as
    they are.
    """
    if not isinstance(space, OpenClip) or space.config is None or not space.spec.changes:
        return space
    if any(change.kind != "text-positions" for change in space.spec.changes):
        return space
    config = {**space.config, "text_cfg": {**space.config["text_cfg"], "context_length": space.spec.context}}
    return space.as_config(config)


def _base(name: str) -> str:
    """Return the name of the backbone that a space is rebuilt from: of a Space folder, the one that it is rebuilt from
    itself, so that the new folder does not need the old one.
    """
    folder = Path(name.removeprefix("local:"))
    if name.startswith("local:") and (folder / SPACE).is_file():
        return str(read_json(folder / SPACE)["base"])
    return name


def _save_language(space: LanguageSpace, folder: Path, parts: Mapping[str, nn.Module] | None) -> None:
    with drafted(folder, overwrite=True) as draft:
        draft.mkdir()
        write_json(draft / selftest.FILE, selftest.probe(space))
        _save_parts(parts, draft)
        facts = save_language(space, draft, save)
        write_json(draft / SPACE, {"schema": SCHEMA, "language": facts})


def _save_parts(parts: Mapping[str, nn.Module] | None, draft: Path) -> None:
    for name, part in (parts or {}).items():
        (draft / PARTS).mkdir(exist_ok=True)
        _tensors(part, draft / PARTS / f"{name}.safetensors")


def load_space(folder: Path, name: str, load: Callable[[str], Backbone]) -> Backbone:
    """Load a Space folder: its base by name, rebuilt with the folder's tensors.

    Args:
        folder: a folder of ``save``.
        name: of the backbone from now on, which is not its base any more.
        load: function that loads the base by its name.

    Raises:
        NotAvailable: the folder has no tensors, or its base is not on this machine.
        DataError: the folder is damaged, of a newer schema, or its tensors do not fit the base.
    """
    facts = read_json(folder / SPACE)
    if facts.get("schema") != SCHEMA:
        raise DataError(
            f"{folder / SPACE} has schema {facts.get('schema')!r}, and this version reads {SCHEMA}: update diptych."
        )
    try:
        if "language" in facts:
            return load_language(folder, facts["language"], load)
        spec = replace(spec_from(facts["spec"]), name=name)
        base = load(str(facts["base"])) if facts["base"] else openclip_sources.untrained(folder, BASE, spec)
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder / SPACE} lacks facts ({error}): save the space again.") from error
    module = base.module()
    apply(module, base.spec, spec.changes[len(base.spec.changes) :])
    state = read_state(folder / MODEL)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(f"{folder / MODEL} does not fit {spec.name}: save the space again.") from error
    rebuilt = base.rebuild(module, spec)
    assert isinstance(rebuilt, Backbone)  # rebuild keeps the kind
    return rebuilt


def load_parts(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Return name -> tensors of the parts that ``save`` wrote beside a space; empty if there are none.

    Raises:
        DataError: a file is damaged.
    """
    return {path.stem: read_state(path) for path in sorted((folder / PARTS).glob("*.safetensors"))}


def _openclip_config(backbone: OpenClip) -> dict[str, Any]:
    """Return the open_clip_config.json of a backbone.

    Raises:
        UsageError: the backbone has no model_cfg, or its pixel recipe has a crop, which the format does not have.
    """
    if backbone.config is None:
        raise UsageError(
            "This backbone was wrapped without its model_cfg: pass config=... to from_model, so that open_clip can "
            "rebuild it."
        )
    recipe = backbone.spec.pixels
    if recipe.crop != 1.0:
        raise UsageError(f"open_clip's format cannot say a crop of {recipe.crop}: use a recipe with crop 1.0.")
    facts = asdict(recipe)
    facts["resize_mode"], facts["fill_color"] = facts.pop("resize"), facts.pop("fill")
    del facts["crop"]
    return {"model_cfg": dict(backbone.config), "preprocess_cfg": {**facts, "mode": "RGB"}}


def _tensors(module: nn.Module, path: Path) -> None:
    from safetensors.torch import save_file

    # Tied tensors are written twice: strict loading needs a tensor for every name.
    save_file({k: v.detach().cpu().clone().contiguous() for k, v in module.state_dict().items()}, path)


def _save_text_tower(space: OpenClip, config: dict[str, Any], draft: Path, folder: Path) -> None:
    """Give a transformers text tower its configuration inside the folder, so that loading never asks the hub."""
    source = config["text_cfg"].get("hf_model_name")
    if source:
        text: Any = space.module().text
        text.config.save_pretrained(str(draft))
        config["text_cfg"] = {**config["text_cfg"], "hf_model_name": str(folder.absolute())}


def _save_transformers(space: HuggingFace, folder: Path) -> None:
    recipe = space.spec.pixels
    if recipe.resize == "longest" or (recipe.resize == "squash" and recipe.crop != 1.0):
        raise UsageError(
            "transformers' processors cannot say this pixel recipe: use 'shortest', or 'squash' without crop."
        )
    side = round(recipe.size / recipe.crop)
    squash = recipe.resize == "squash"
    model: Any = space.module()
    model.save_pretrained(str(folder), safe_serialization=True)
    assert isinstance(space.tokens, HubTokens)
    space.tokens.tokenizer.save_pretrained(str(folder))
    processor = {"siglip": "SiglipImageProcessor"}.get(space.spec.architecture, "CLIPImageProcessor")
    facts = {
        "image_processor_type": processor,
        "do_resize": True,
        "size": {"height": side, "width": side} if squash else {"shortest_edge": side},
        "do_center_crop": not squash,
        "crop_size": {"height": recipe.size, "width": recipe.size},
        "resample": {"bilinear": 2, "bicubic": 3}[recipe.interpolation],
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(recipe.mean),
        "image_std": list(recipe.std),
        "do_convert_rgb": True,
    }
    write_json(folder / "preprocessor_config.json", facts)


IMAGE, LANGUAGE, ADAPTOR = "image", "language", "adaptor.safetensors"


def save_language(space: LanguageSpace, folder: Path, save: Callable[[Backbone, Path], None]) -> dict[str, Any]:
    """Write the three parts of a space, and return the facts that ``load_language`` needs.

    Args:
        space: the space.
        folder: exists, and has none of the parts.
        save: writes a backbone to a new folder.

    Raises:
        UsageError: the language model is not one of transformers, or the backbone can't be written.
    """
    from safetensors.torch import save_file

    language = space.language
    network: Any = language.network
    if language.tokenizer is None or not hasattr(network, "save_pretrained"):
        raise UsageError("This language model is not one of transformers and has no format on disk: give one that is.")
    save(space.base, folder / IMAGE)
    with quiet():
        network.save_pretrained(str(folder / LANGUAGE), safe_serialization=True)
    language.tokenizer.save_pretrained(str(folder / LANGUAGE))
    tensors = {n: t.detach().cpu().clone().contiguous() for n, t in space.adaptor.state_dict().items()}
    save_file(tensors, folder / ADAPTOR)
    adaptor: Any = space.adaptor
    return {"bidirectional": language.bidirectional, "limit": language.limit, "blocks": len(adaptor.blocks)}


def load_language(folder: Path, facts: Mapping[str, Any], load: Callable[[str], Backbone]) -> LanguageSpace:
    """Load the three parts of a space.

    Raises:
        DataError: the adaptor is damaged, or does not fit the others.
    """
    base = load(f"local:{folder / IMAGE}")
    model, tokenizer = load_causal(str(folder / LANGUAGE), offline=True)
    language = LanguageText.of(model, tokenizer, bidirectional=facts["bidirectional"], limit=facts["limit"])
    adaptor = Adaptor(language.dim, base.spec.dim, facts["blocks"])
    try:
        adaptor.load_state_dict(read_state(folder / ADAPTOR))
    except RuntimeError as error:
        raise DataError(f"{folder / ADAPTOR} does not fit the other parts: save the space again.") from error
    return LanguageSpace(base, language, adaptor, name=f"local:{folder}")
