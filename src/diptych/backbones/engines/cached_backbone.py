"""Facts of a backbone cached beside its exports, for classification with cached heads without torch or weights.

    folder/<hash of the name>.json    spec, fingerprints, scale and bias, and size and date of every weight file they
                                      were read from

A cached backbone is valid while these files and the versions of diptych and torch are unchanged. Only backbones whose
files are known without the network are cached: ``lite`` and its other weights, ``tiny`` and local paths.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych import __version__
from diptych.backbones import lite_files
from diptych.backbones.engines.engine import Engines
from diptych.backbones.engines.runtimes.report import torch_version
from diptych.backbones.names import parse
from diptych.core import Backbone, DiptychError, PixelRecipe, Run, Spec
from diptych.data.files import write_json
from diptych.data.pixels import prepare


@dataclass(frozen=True)
class CachedEncoder:
    """An encoder without weights, which are in the graph of a runtime.

    Args:
        modality: "image" or "text".
        fingerprint: fingerprint of the encoder.
        dim: joint width D.
        pixels: recipe of the images; None for texts.
        reads: makes a runtime's inputs of texts; None for images, and where only the loaded backbone can read texts.
    """

    modality: str
    fingerprint: str
    dim: int
    pixels: PixelRecipe | None = None
    reads: Callable[[Sequence[str]], Mapping[str, NDArray[np.int64]]] | None = None

    @property
    def size(self) -> int | None:
        """Side of the square input in pixels."""
        return self.pixels.size if self.pixels else None

    def inputs(self, items: Sequence[Any], size: int | None = None) -> Any:
        """Return (B, 3, S, S) normalised pixels, or token ids by name: the same bits as the encoder itself gives."""
        if self.reads is not None:
            return self.reads(items)
        if self.pixels is None:
            raise DiptychError("This text encoder is remembered without its tokenizer: load the backbone.")
        return np.stack([prepare(item, self.pixels) for item in items])

    def encode(self, x: Any, /) -> Any:
        """Refuse: a runtime encodes."""
        raise DiptychError("A remembered encoder runs in ONNX Runtime only: load the backbone.")


@dataclass(frozen=True)
class CachedBackbone:
    """A backbone without weights.

    Args:
        device: what "auto" meant.
    """

    spec: Spec
    image: CachedEncoder
    text: CachedEncoder
    scale: float
    bias: float
    device: str

    @property
    def encoders(self) -> Mapping[str, CachedEncoder]:
        """The encoders by their modality."""
        return {"image": self.image, "text": self.text}

    @property
    def fingerprint(self) -> str:
        """Hash of both encoders' fingerprints, as the backbone's own."""
        parts = f"image:{self.image.fingerprint}/text:{self.text.fingerprint}"
        return hashlib.sha256(parts.encode()).hexdigest()[:16]

    def torchless(self, run: Run, modalities: Collection[str]) -> bool:
        """Say whether all these modalities, "image" and "text", are read and encoded here without torch."""
        if not isinstance(run.engine, Engines) or ("text" in modalities and self.text.reads is None):
            return False
        return all(run.engine.torchless(self.encoders[m], run) for m in modalities)


def remember(name: str, backbone: Backbone, folder: Path, device: str) -> None:
    """Write the facts of a backbone.

    Nothing happens where its files are not known, or where the folder cannot be written.

    Args:
        name: the name from the user.
        backbone: the backbone loaded by that name, without stated facts.
        folder: folder of the exports.
        device: the device that "auto" selected.
    """
    stamp = _stamp(name)
    if stamp is None or (_place(name, folder).exists() and recall(name, folder) is not None):
        return
    scale, bias = (t.detach() for t in backbone.scale("image", "text"))
    facts = {
        "stamp": stamp, "spec": backbone.spec.as_dict(), "device": device, "scale": float(scale), "bias": float(bias),
        "image": backbone.image.fingerprint, "text": backbone.text.fingerprint,
    }  # fmt: skip
    with contextlib.suppress(OSError):  # a cache that is only read: the next process loads torch as this one did
        write_json(_place(name, folder), facts, overwrite=True)


def recall(name: str, folder: Path) -> CachedBackbone | None:
    """Return a cached backbone; None where there is none, it is damaged, or a file or version has changed."""
    try:
        facts = json.loads(_place(name, folder).read_bytes())
        if facts["stamp"] != _stamp(name):
            return None
        spec = Spec.from_dict(facts["spec"])
        pixels = spec.pixels
        image = CachedEncoder("image", str(facts["image"]), spec.dim, pixels)
        reads = lite_files.packaged_token_arrays if parse(name).canonical in lite_files.SHARES else None
        text = CachedEncoder("text", str(facts["text"]), spec.dim, reads=reads)
        return CachedBackbone(spec, image, text, float(facts["scale"]), float(facts["bias"]), facts["device"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _place(name: str, folder: Path) -> Path:
    return folder / f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.json"


def _stamp(name: str) -> Mapping[str, Any] | None:
    """Return versions, fields of a spec, and path -> [size, mtime in ns] of a name's files; None where these are not
    known.
    """
    try:
        files = _files(name)
        states = {str(f): [f.stat().st_size, f.stat().st_mtime_ns] for f in files}
    except (OSError, DiptychError):
        return None
    versions = {"diptych": __version__, "torch": torch_version(), "spec": [*Spec.__dataclass_fields__]}
    return {**versions, "files": states} if states else None


def _files(name: str) -> list[Path]:
    parsed = parse(name)
    if parsed.architecture in lite_files.SHARES:
        return lite_files.files_of(parsed.architecture)
    root = Path(__file__).parents[2] / "assets" / "tiny" if parsed.kind == "embedded" else parsed.path
    if root is None:
        return []
    root = root.absolute()
    return [root] if root.is_file() else sorted(f for f in root.rglob("*") if f.is_file())
