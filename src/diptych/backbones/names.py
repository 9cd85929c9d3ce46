"""One parser for every spelling of a backbone's name, and one canonical form."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from diptych.core import UsageError

SPACE = "space:"
"""Begins the name of the backbone of an index of a fitted space; its folder follows."""
_EARLIER = "stars:"
"""What it was in indexes of earlier versions."""
_BACKBONES = ("open_clip_config.json", "config.json", "space.json", "model.json")  # files of folders of other kinds
Kind = Literal["embedded", "openclip", "hf", "hf-hub", "local"]

EMBEDDED = ("lite", "lite:512", "lite:views", "lite:2026-11", "tiny")
OPENAI = {
    "RN50": "RN50",
    "RN101": "RN101",
    "RN50x4": "RN50x4",
    "RN50x16": "RN50x16",
    "RN50x64": "RN50x64",
    "ViT-B/32": "ViT-B-32",
    "ViT-B/16": "ViT-B-16",
    "ViT-L/14": "ViT-L-14",
    "ViT-L/14@336px": "ViT-L-14-336",
}
_PREFIXES: dict[str, Kind] = {
    "openclip": "openclip",
    "open_clip": "openclip",
    "hf": "hf",
    "hf_clip": "hf",
    "hf-hub": "hf-hub",
    "local": "local",
    "local-dir": "local",
}
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_ARCHITECTURE = re.compile(r"(ViT-|RN\d|EVA\d|convnext_|coca_|MobileCLIP)[\w@.-]*([/,][\w.-]+)?")
_WEIGHT_SUFFIXES = {".safetensors", ".bin", ".pt", ".pth"}


@dataclass(frozen=True)
class Name:
    """The source of a backbone.

    Args:
        kind: "embedded" (lite, its earlier weights, tiny), "openclip" (architecture and tag), "hf" (a hub repository,
            transformers format preferred), "hf-hub" (a hub repository, open_clip format preferred) or "local" (a
            folder or weight file).
        architecture: open_clip architecture, or the embedded model; "" where the source has it.
        tag: open_clip's name of the published weights; "" for none.
        repository: "org/name" on the hub.
        revision: branch, tag or commit of the repository; "" for its main branch.
        path: folder or file.
    """

    kind: Kind
    architecture: str = ""
    tag: str = ""
    repository: str = ""
    revision: str = ""
    path: Path | None = None

    @property
    def canonical(self) -> str:
        """Spelling in results: "openclip:ViT-B-32/laion2b_s34b_b79k", "hf:org/name", "local:/models/mine"."""
        if self.kind == "embedded":
            return self.architecture
        if self.kind == "openclip":
            return f"openclip:{self.architecture}/{self.tag}" if self.tag else f"openclip:{self.architecture}"
        if self.kind == "local":
            return f"local:{self.path}"
        return f"{self.kind}:{self.repository}" + (f"@{self.revision}" if self.revision else "")


def parse(text: str) -> Name:
    """Parse the spellings of several CLIP libraries.

    Args:
        text: "lite", "lite:2026-11", "tiny", "ViT-B-32/laion2b_s34b_b79k", the same pair with "," or "::", with or
            without "openclip:", OpenAI's own "ViT-B/32" (QuickGELU included), "hf:org/name",
            "hf-hub:org/name@revision", "local:PATH", "local-dir:PATH", a path, or
            "ARCH,PATH" for a weight file without its architecture.

    Returns:
        The parsed name; ``parse(text).canonical`` parses to itself.

    Raises:
        UsageError: the name is empty, or names no architecture, weights or repository (the three nearest names are
            listed).
    """
    text = text.strip()
    if not text:
        raise UsageError("The backbone's name is empty: give lite, ARCH/TAG, hf:org/name or local:PATH.")
    if text in EMBEDDED:
        return Name("embedded", architecture=text)
    if text in OPENAI:
        return Name("openclip", architecture=f"{OPENAI[text]}-quickgelu", tag="openai")
    prefix, colon, rest = text.partition(":")
    kind = _PREFIXES.get(prefix) if colon and not rest.startswith(":") else None
    if kind is None:
        return _bare(text)
    if not rest:
        raise UsageError(
            f"{text!r} names nothing after the colon: give {prefix}:" + ("PATH." if kind == "local" else "NAME.")
        )
    if kind == "openclip":
        return _published(rest)
    if kind == "local":
        return Name("local", path=Path(rest).expanduser().absolute())
    repository, _, revision = rest.partition("@")
    if not _REPOSITORY.fullmatch(repository):
        raise UsageError(f"{repository!r} is no hub repository: write {prefix}:org/name.")
    return Name(kind, repository=repository, revision=revision)


def reads_as_name(text: str) -> bool:
    """Return whether a word is meant as a model's name and not as a path. No library is loaded, so architectures that
    are rarely used are missed.

    Example:
        >>> [reads_as_name(text) for text in ("tiny", "hf:org/name", "ViT-B-32/openai", "./tiny", "vectors")]
        [True, True, True, False, False]
    """
    prefix, colon, rest = text.partition(":")
    if colon and rest and not rest.startswith((":", "/")):
        return prefix in _PREFIXES
    return text in EMBEDDED or text in OPENAI or _ARCHITECTURE.fullmatch(text) is not None


def _bare(text: str) -> Name:
    path = Path(text).expanduser()
    separated = "::" in text or "," in text
    looks_like_path = text.startswith((".", "/", "~")) or path.suffix in _WEIGHT_SUFFIXES
    if looks_like_path and not separated:
        return Name("local", path=path.absolute())
    if not separated and path.exists() and not _known(text):
        return Name("local", path=path.absolute())
    return _published(text)


def _known(text: str) -> bool:
    import open_clip

    architecture = text.rpartition("/")[0] or text
    return architecture.replace("/", "-") in open_clip.list_models()


def _published(text: str) -> Name:
    """Parse an architecture and a tag, or an architecture alone, of open_clip's own lists."""
    import open_clip

    architectures = set(open_clip.list_models())
    for separator in ("::", ","):
        architecture, present, tag = text.partition(separator)
        if present:
            break
    else:
        architecture, _, tag = ("", "", "") if text.replace("/", "-") in architectures else text.rpartition("/")
        architecture, tag = (architecture, tag) if architecture else (text, "")
    architecture = OPENAI.get(architecture.strip(), architecture.strip()).replace("/", "-")
    tag = tag.strip()
    if tag and architecture in architectures and (Path(tag).suffix in _WEIGHT_SUFFIXES or "/" in tag):
        return Name("local", architecture=architecture, path=Path(tag).expanduser().absolute())
    tag = tag.lower().replace("-", "_")
    if architecture in architectures and (not tag or tag in open_clip.list_pretrained_tags_by_model(architecture)):
        return Name("openclip", architecture=_as_trained(architecture, tag), tag=tag)
    hint = f"; a hub repository is written hf:{text}" if _REPOSITORY.fullmatch(text) else ""
    near = ", ".join(nearest(f"{architecture}/{tag}".rstrip("/")))
    raise UsageError(f"No backbone is called {text!r}: the nearest names are {near}{hint}.")


def _as_trained(architecture: str, tag: str) -> str:
    """Return the twin with QuickGELU where open_clip's table says that the weights were trained with it, and lists them
    under the plain architecture too: "ViT-B-32/openai" is "ViT-B-32-quickgelu/openai".
    """
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    twin = f"{architecture}-quickgelu"
    quick = bool(tag) and bool(get_pretrained_cfg(architecture, tag).get("quick_gelu"))
    return twin if quick and tag in open_clip.list_pretrained_tags_by_model(twin) else architecture


def activation_remark(text: str) -> str:
    """Return a line for a name whose weights were trained with QuickGELU though it does not say so; "" for others, and
    for what is no name, which loading refuses.

    Example:
        >>> activation_remark("ViT-B-32/openai")
        'ViT-B-32/openai was trained with QuickGELU: openclip:ViT-B-32-quickgelu/openai is loaded.'
    """
    try:
        name = parse(text)
    except UsageError:
        return ""
    if name.kind != "openclip" or "quickgelu" in text.lower() or not name.architecture.endswith("-quickgelu"):
        return ""
    return f"{text} was trained with QuickGELU: {name.canonical} is loaded."


def published() -> list[str]:
    """Return the ARCH/TAG names of open_clip whose weights and architecture have one activation."""
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    quick = {a: bool((open_clip.get_model_config(a) or {}).get("quick_gelu")) for a, _ in open_clip.list_pretrained()}
    return [
        f"{a}/{t}"
        for a, t in open_clip.list_pretrained()
        if bool(get_pretrained_cfg(a, t).get("quick_gelu")) == quick[a]
    ]


def nearest(text: str, count: int = 3) -> list[str]:
    """Return the ``count`` names, embedded or published as ARCH/TAG, that are spelled most like ``text``."""
    names = {name.lower(): name for name in published()}
    close = difflib.get_close_matches(text.lower(), names, n=count, cutoff=0.0)
    return [*difflib.get_close_matches(text.lower(), EMBEDDED, n=1), *(names[m] for m in close)][:count]


def space_folder(name: str) -> Path | None:
    """Return the folder of a fitted space that a backbone's name says; None for the name of a backbone.

    A folder alone is one too, where it holds a fitted space and no backbone.
    """
    for start in (SPACE, _EARLIER):
        if name.startswith(start):
            return Path(name.removeprefix(start))
    path = Path(name)
    if name.startswith("local:") or not (path / "fitted.json").is_file():
        return None
    return None if any((path / other).is_file() for other in _BACKBONES) else path
