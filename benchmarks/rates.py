"""What is measured: each contender is a name and a function without arguments that does the same work; see ``__main__``."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Contenders = dict[str, Callable[[], object]]

PHOTO = Path(__file__).parents[1] / "src" / "diptych" / "assets" / "photos"


def pictures(count: int, size: tuple[int, int], seed: int = 0) -> list[Image.Image]:
    """Return photographs of the demo, cropped at random, so that no two are alike and JPEG has its usual work."""
    rng = np.random.default_rng(seed)
    sources = [Image.open(p).convert("RGB") for p in sorted(PHOTO.iterdir()) if p.suffix in (".jpg", ".png")]
    out = []
    for i in range(count):
        source = sources[i % len(sources)]
        left, top = (int(rng.integers(0, max(1, n // 5))) for n in source.size)
        out.append(source.crop((left, top, source.width - left, source.height - top)).resize(size))
    return out


@contextlib.contextmanager
def photo_folder(count: int, size: tuple[int, int]) -> Iterator[Path]:
    """Write JPEG files of a size into a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        for i, picture in enumerate(pictures(count, size)):
            picture.save(Path(folder) / f"{i:05d}.jpg", quality=90)
        yield Path(folder)


def image_rates(name: str, batch: int) -> tuple[Contenders, int]:
    """A batch of prepared images through ``name``'s image tower: our engine at both precisions, the library's forward, its autocast."""
    import torch

    from diptych.backbones.engine import Engines
    from diptych.backbones.load import load
    from diptych.core.run import Run

    backbone = load(name, weights="random" if name.startswith("openclip:") else "required")
    encoder = backbone.image
    x: Any = encoder.inputs(pictures(batch, (256, 256)))
    folder = Path(tempfile.mkdtemp(prefix="bench-engines-"))
    exact, fast = (Engines(folder, "auto", say).runner(encoder, Run(precision=p)) for p in ("fp32", "bf16"))

    def eager(autocast: bool) -> object:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return encoder.encode(x)

    found: Contenders = {"eager fp32": lambda: eager(False), "eager bf16 autocast": lambda: eager(True)}
    if exact is not None:
        found[f"diptych exact ({exact.facts.get('engine', 'torch')})"] = lambda: exact(x)
    if fast is not None and fast.precision == "bf16":
        found[f"diptych fast ({fast.facts.get('engine', 'torch')})"] = lambda: fast(x)
    return found, batch


def text_rates(batch: int) -> tuple[Contenders, int]:
    """A batch of captions through MiniLM: our engine and torch."""
    import torch

    from diptych.backbones.engine import Engines
    from diptych.backbones.export import TEXTS
    from diptych.backbones.load import load
    from diptych.core.run import Run

    encoder = load("lite").text
    x: Any = encoder.inputs([TEXTS[i % len(TEXTS)] for i in range(batch)])
    exact = Engines(Path(tempfile.mkdtemp(prefix="bench-engines-")), "auto", say).runner(encoder, Run())

    def eager() -> object:
        with torch.no_grad():
            return encoder.encode(x)

    return {"eager fp32": eager} | ({"diptych exact (onnxruntime)": lambda: exact(x)} if exact else {}), batch


def folder_rates(folder: Path, count: int) -> tuple[Contenders, int]:
    """A folder of JPEG files to vectors with ``lite``: ours without cache, a DataLoader script on the same weights, decoding alone."""
    import torch

    from diptych.backbones.engine import Engines
    from diptych.backbones.load import load
    from diptych.core.run import Run
    from diptych.data.folders import ImageFiles
    from diptych.features.embed import embed

    backbone = load("lite")
    items = ImageFiles(sorted(folder.iterdir()))
    engine = Engines(Path(tempfile.mkdtemp(prefix="bench-engines-")), "auto", say)
    engine.runner(backbone.image, Run())

    def script() -> object:
        class Photos(torch.utils.data.Dataset[Any]):
            def __len__(self) -> int:
                return len(items)

            def __getitem__(self, i: int) -> Any:
                with Image.open(items.paths[i]) as image:
                    return backbone.image.inputs([image.convert("RGB")])[0]

        with torch.no_grad():
            loader = torch.utils.data.DataLoader(Photos(), batch_size=32, num_workers=1)
            return [backbone.image.encode(x) for x in loader]

    return {
        "DataLoader script, eager fp32": script,
        "diptych": lambda: embed(backbone.image, items, Run(engine=engine, workers=2)),
        "decode and resize alone": lambda: [backbone.image.inputs([items[i]]) for i in range(len(items))],
    }, count


def label_rates(labels: int, photos: Path) -> tuple[Contenders, int]:
    """One more call of ``classify`` on cached photos after the first with these labels: its cost must not follow their number."""
    from diptych.backbones.engine import Engines
    from diptych.backbones.load import load
    from diptych.core.data import ClassNames
    from diptych.core.run import Run
    from diptych.data.folders import ImageFiles
    from diptych.tasks.classify import classify

    work = Path(tempfile.mkdtemp(prefix="bench-labels-"))
    backbone, items = load("lite"), ImageFiles(sorted(photos.iterdir()))
    engine = Engines(work / "engines", "auto", say)
    names = {n: ClassNames(tuple(f"thing {i}" for i in range(n))) for n in {1, labels}}

    def call(n: int) -> object:
        return classify(items, names[n], backbone, Run(cache=work / "embeddings", engine=engine))

    for n in names:
        call(n)
    return {"1 label": lambda: call(1), f"{labels} labels": lambda: call(labels)}, len(items)


def cold_starts() -> tuple[Contenders, int]:
    """One photo, one process: ``diptych classify`` with cached heads, and the shortest torch and open_clip script's imports."""
    work = Path(tempfile.mkdtemp(prefix="bench-cold-"))
    photo = work / "photo.jpg"
    pictures(1, (800, 600))[0].save(photo)
    given = {**os.environ, "DIPTYCH_CACHE": str(work), "HF_HUB_OFFLINE": "1"}
    ours = [sys.executable, "-m", "diptych.cli", "classify", str(photo), "--names", "cat, dog, bicycle"]
    peer = [sys.executable, "-c", "import torch, open_clip; open_clip.create_model_and_transforms('RN50')"]

    def shell(words: list[str]) -> object:
        return subprocess.run(words, env=given, capture_output=True, check=True)

    shell(ours)
    return {"open_clip script (RN50, random weights)": lambda: shell(peer), "diptych classify": lambda: shell(ours)}, 1


def reindex(count: int) -> tuple[Contenders, int]:
    """The content keys of an unchanged folder, asked again by a new process's eyes, against hashing it again."""
    from diptych.data.folders import ImageFiles
    from diptych.data.keys import FileKeys

    folder = Path(tempfile.mkdtemp(prefix="bench-keys-"))
    for i in range(count):
        (folder / f"{i:06d}.jpg").write_bytes(i.to_bytes(4, "big") * 2048)
    database = folder / "keys.sqlite"
    paths = sorted(folder.glob("*.jpg"))

    def ask(verify: bool) -> object:
        with FileKeys(database, verify=verify) as keys:
            items = ImageFiles(paths, keys)
            return [items.key(i) for i in range(len(items))]

    ask(False)
    return {"hash again": lambda: ask(True), "unchanged": lambda: ask(False)}, count


def interleaved(contenders: Contenders, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each contender, one run of each a round, after one round that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, action in contenders.items():
            start = time.perf_counter()
            with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
                warnings.simplefilter("ignore")
                action()
            if turn:
                taken[name].append(time.perf_counter() - start)
    return taken


def say(line: str) -> None:
    """Print a remark."""
    sys.stderr.write(line + "\n")
