"""The one door to every backbone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from diptych.backbones.hub import is_offline, repository
from diptych.backbones.lite_files import SHARES
from diptych.backbones.names import Name, nearest, parse, published
from diptych.backbones.sources.load_options import LoadOptions, Weights, split_name
from diptych.backbones.spec import NOTHING_STATED, Stated
from diptych.core import Backbone, DataError, NotAvailable, UsageError


def load(
    name: str = "lite",
    *,
    offline: bool | None = None,
    weights: Weights = "required",
    seed: int = 0,
    device: str = "cpu",
    stated: Stated = NOTHING_STATED,
    truncate: bool = False,
    allow_pickle: bool = False,
) -> Backbone:
    """Load a backbone, in eval mode and float32.

    Args:
        name: "lite", "lite:2026-11", "tiny", "ViT-B-32/laion2b_s34b_b79k" in any spelling, "hf:org/name",
            "hf-hub:org/name", "local:PATH"; see ``names.parse``. After a "?" it may have the options below:
            "local:w.safetensors?architecture=ViT-B-32", or "local:longclip-L.pt?released=long-clip-l" for a file that
            its authors have released; see ``load_options.split_name``.
        offline: whether to avoid the network; None: as in HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE.
        weights: "required", or "random" weights drawn from ``seed``: of an open_clip architecture, or of
            "local:CONFIG.json", a configuration as in open_clip's model_configs.
        seed: seed of random weights.
        device: torch device of the module.
        stated: facts that are missing or wrong in the source.
        truncate: whether to truncate texts that are longer than the context, instead of raising.
        allow_pickle: whether to run pickles and TorchScript archives, which must be trusted.

    Returns:
        The backbone. Its vectors and fingerprint depend on the checkpoint and ``truncate`` only.

    Raises:
        UsageError: the name is unknown or incomplete, nothing lies at its path, facts are missing or contradict each
            other, or a file would run code.
        NotAvailable: something is not on this machine, and may not or cannot be fetched.
        DataError: a file or folder is damaged, of another format, or lacks tensors.

    Example:
        >>> load("openclip:RN50", weights="random").spec.dim
        1024
    """
    name, options = split_name(name, LoadOptions(stated, truncate, allow_pickle, weights, seed))
    parsed = parse(name)
    if options.weights == "random" and parsed.kind not in ("openclip", "local"):
        raise UsageError(
            f"Random weights exist for open_clip architectures only, not for {parsed.canonical}: use "
            f"openclip:ViT-B-32?weights=random, or local:CONFIG.json?weights=random with a configuration of your own."
        )
    if options.stated.released and not (parsed.path and parsed.path.is_file()):
        raise UsageError(
            f"released={options.stated.released} is for a weight file, which {parsed.canonical} is not: give "
            f"local:FILE?released={options.stated.released}."
        )
    random_seed = options.seed if options.weights == "random" else None
    backbone = _load(parsed, is_offline(offline), random_seed, options.stated, options.truncate, options.allow_pickle)
    backbone.module().to(device)
    return backbone


def _load(
    name: Name, offline: bool, random_seed: int | None, stated: Stated, truncate: bool, allow_pickle: bool
) -> Backbone:
    from diptych.backbones.sources import openclip_sources

    if name.kind == "embedded":
        return _embedded(name.architecture, truncate)
    if name.kind == "openclip":
        if not name.tag and random_seed is None:
            tags = [n for n in published() if n.startswith(f"{name.architecture}/")] or nearest(name.architecture)
            raise UsageError(
                f"{name.canonical} names no weights: add a tag, such as {', '.join(tags[:3])}, or "
                f"take random ones: {name.canonical}?weights=random."
            )
        return openclip_sources.by_name(
            name.architecture, name.tag, offline=offline, random_seed=random_seed, stated=stated, truncate=truncate,
            allow_pickle=allow_pickle,
        )  # fmt: skip
    if name.kind == "local":
        assert name.path is not None
        if name.architecture:
            stated = replace(stated, architecture=stated.architecture or name.architecture)
        if random_seed is not None:
            return openclip_sources.from_config(
                name.path, name.canonical, random_seed, offline=offline, stated=stated, truncate=truncate
            )
        return _local(name.path, name.canonical, offline, stated, truncate, allow_pickle)
    return _local(
        _fetched(name, offline), name.canonical, offline, stated, truncate, allow_pickle,
        prefer_openclip=name.kind == "hf-hub",
    )  # fmt: skip


def _embedded(name: str, truncate: bool) -> Backbone:
    if name in SHARES:
        from diptych.backbones.lite import load_lite

        return load_lite(name, truncate=truncate)
    folder = Path(__file__).parents[2] / "assets" / "tiny"
    if not folder.is_dir():
        raise NotAvailable(
            "The weights of tiny are not part of this installation: use lite, or openclip:ViT-B-32?weights=random for "
            "its hooks."
        )
    from diptych.backbones.sources.openclip_sources import from_folder

    return from_folder(folder, "tiny", offline=True, truncate=truncate, licence="Apache-2.0")


def _fetched(name: Name, offline: bool) -> Path:
    """Return the folder of a hub repository with one format's files.

    Pickled weights are fetched only where there are no safetensors.
    """
    from diptych.backbones.sources import huggingface_sources, openclip_sources

    formats = [
        (openclip_sources.CONFIG, openclip_sources.HUB_FILES),
        (huggingface_sources.CONFIG, huggingface_sources.HUB_FILES),
    ]
    for config, files in formats if name.kind == "hf-hub" else reversed(formats):
        folder = repository(name.repository, [config], offline=offline, revision=name.revision)
        if not (folder / config).is_file():
            continue
        folder = repository(name.repository, files, offline=offline, revision=name.revision)
        if not any(folder.glob("*.safetensors")):
            folder = repository(
                name.repository, [*files, "*pytorch_model*.bin*"], offline=offline, revision=name.revision
            )
        return folder
    raise NotAvailable(
        f"The hub repository {name.repository} holds neither {openclip_sources.CONFIG} nor "
        f"{huggingface_sources.CONFIG}."
    )


def _local(
    path: Path,
    name: str,
    offline: bool,
    stated: Stated,
    truncate: bool,
    allow_pickle: bool,
    prefer_openclip: bool = True,
) -> Backbone:
    from diptych.backbones.sources import selftest
    from diptych.data.files import read_json

    backbone = _by_content(path, name, offline, stated, truncate, allow_pickle, prefer_openclip)
    if (path / selftest.FILE).is_file() and not stated.override:
        selftest.check(backbone, read_json(path / selftest.FILE))
    return backbone


def _by_content(
    path: Path, name: str, offline: bool, stated: Stated, truncate: bool, allow_pickle: bool, prefer_openclip: bool
) -> Backbone:
    """Load a folder or file by its contents; a repository may have both formats."""
    from diptych.backbones import weights
    from diptych.backbones.sources import huggingface_sources, openclip_files, openclip_sources, save

    if path.is_file():
        return openclip_files.from_file(
            path, offline=offline, stated=stated, truncate=truncate, allow_pickle=allow_pickle
        )
    if not path.is_dir():
        raise UsageError(f"There is no folder or file {path}: check the path.")
    if (path / save.SPACE).is_file():
        return save.load_space(path, name, lambda base: load(base, offline=offline))
    openclip = (path / openclip_sources.CONFIG).is_file()
    transformers = (path / huggingface_sources.CONFIG).is_file()
    if openclip and transformers:
        openclip_file = any((path / f).is_file() for f in weights.OPENCLIP_FILES)
        shared_file = any((path / f).is_file() for f in weights.SHARED_FILES)
        openclip = openclip_file if not (openclip_file and shared_file) else prefer_openclip
    if openclip:
        return openclip_sources.from_folder(
            path, name, offline=offline, stated=stated, truncate=truncate, allow_pickle=allow_pickle
        )
    if transformers:
        return huggingface_sources.from_folder(path, name, stated=stated, truncate=truncate, allow_pickle=allow_pickle)
    configs = (openclip_sources.CONFIG, huggingface_sources.CONFIG)
    inside = path / "model"  # of a training's folder
    if any((inside / config).is_file() for config in configs):
        remedy = f"name {inside}"
    elif (path / "model.json").is_file():
        remedy = "a classifier is loaded by diptych.load_classifier, or by 'diptych classify PHOTOS --model'"
    else:
        remedy = "name a folder in one of the two formats"
    raise DataError(f"{path} holds neither {' nor '.join(configs)}: {remedy}.")
