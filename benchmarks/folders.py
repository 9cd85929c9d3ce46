"""A folder of photos to vectors: whole, decoding alone, encoding alone; larger folders; and one that has not changed
since.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from benchmarks.encoders import backbone_of, engines, no_grad
from benchmarks.measure import Row, Target, say
from benchmarks.pictures import photo_folder
from benchmarks.scaling import scaling
from benchmarks.scripted import ScriptedBackbone
from diptych.backbones.engines.engine import Engines
from diptych.backbones.engines.parity import rows
from diptych.core import Run
from diptych.data.folders import ImageFiles
from diptych.data.images import drafts
from diptych.data.keys import FileKeys
from diptych.data.load import open_records
from diptych.features.embed import embed
from diptych.tasks.search.index import index

BATCH, WORKERS = 32, 2
OURS, DRAFT, DECODE, ENCODE = "diptych", "diptych, draft decode", "decoding drafts alone", "encoding alone"


class Photos(torch.utils.data.Dataset[Any]):
    """What a script hands to a DataLoader: paths and a transform."""

    def __init__(self, paths: list[Path], transform: Any) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> Any:
        with Image.open(self.paths[i]) as image:
            return self.transform(image.convert("RGB"))


def _transform(name: str, encoder: Any) -> Any:
    """Return open_clip's transform of its model; for lite the same pixels by ours, as no library knows lite."""
    if name == "lite":
        return lambda image: encoder.inputs([image])[0]
    from open_clip import image_transform

    recipe = encoder.spec.pixels
    return image_transform(recipe.size, is_train=False, mean=recipe.mean, std=recipe.std, resize_mode=recipe.resize)


def overlap(rates: Mapping[str, float]) -> float:
    """Return our rate by the limit 1 / (1/d + 1/e) of decoding and encoding that share the same cores."""
    return rates[DRAFT] * (1 / rates[DECODE] + 1 / rates[ENCODE])


@contextlib.contextmanager
def vectors(name: str, count: int, size: tuple[int, int], precision: str = "fp32") -> Iterator[Row]:
    """A folder of JPEG files to vectors, nothing cached, beside a DataLoader script on the library's model."""
    backbone = backbone_of(name)
    model: Any = backbone.module()
    encoder: Any = backbone.image
    library = "timm" if name == "lite" else "open_clip"
    forward = no_grad((lambda x: model.image_head(model.image(x))) if name == "lite" else model.encode_image)
    with photo_folder(count, size) as folder:
        items = ImageFiles(sorted(folder.iterdir()))
        run = Run(engine=Engines(Path(engines().name), "auto", say), workers=WORKERS, batch=BATCH, precision=precision)
        runner = run.engine.runner(encoder, run) if run.engine else None
        encode = runner or partial(rows, encoder)
        loader = partial(
            torch.utils.data.DataLoader, Photos(list(items.paths), _transform(name, encoder)), batch_size=BATCH
        )

        def script() -> Any:
            return torch.cat([torch.from_numpy(forward(x)) for x in loader(num_workers=WORKERS)])

        def pixels(i: int) -> Any:
            with drafts(2 * encoder.size):  # as embed does
                return encoder.inputs([items[i]])

        def decode() -> Any:
            with ThreadPoolExecutor(WORKERS) as pool:
                return list(pool.map(pixels, range(len(items))))

        batches = torch.cat(decode()).split(BATCH)
        base = f"DataLoader + {library} script"
        results = {
            base: script,
            OURS: lambda: embed(encoder, items, run),
            DRAFT: lambda: embed(encoder, items, replace(run, decode="draft")),
            DECODE: decode,
            ENCODE: lambda: [encode(x) for x in batches],
        }
        yield Row(
            results,
            count,
            "images",
            same=lambda result: result if isinstance(result, torch.Tensor) else None,
            floors={DRAFT: 0.99},
            facts={"pixels": list(size), "runs": runner.name if runner else "torch, fp32", "workers": WORKERS},
            targets=(Target("diptych with drafts / limit 1/(1/decode + 1/encode)", overlap, 0.9),),
            rounds=3,
        )


@contextlib.contextmanager
def unchanged(count: int) -> Iterator[Row]:
    """An index over a folder of pictures, asked again: nothing has changed, so nothing may be read."""
    backbone = ScriptedBackbone(dim=64)
    with tempfile.TemporaryDirectory(prefix="bench-index-") as place:
        folder, out = Path(place) / "photos", Path(place) / "index"
        folder.mkdir()
        for i in range(count):
            Image.new("RGB", (2, 1), (i % 256, i // 256 % 256, i // 65536)).save(folder / f"{i:06d}.png")

        def again() -> Any:
            with FileKeys(Path(place) / "keys.sqlite") as keys:
                run = Run(workers=WORKERS, batch=1024)
                return index(open_records(str(folder), keys), backbone, run, out)

        start = time.perf_counter()
        first = again()
        facts: dict[str, Any] = {"first_seconds": time.perf_counter() - start, "first_encoded": first.encoded}
        second = again()
        facts |= {"again_encoded": second.encoded, "again_unchanged": second.unchanged}
        if second.encoded or second.unchanged != count:
            raise ValueError(f"an unchanged folder was read again: {second}")

        yield Row(
            {"diptych index, nothing changed": again},
            count,
            "files",
            same=None,
            facts=facts,
            targets=(
                Target(
                    f"seconds for {count:,} unchanged files",
                    lambda r: count / r["diptych index, nothing changed"],
                    2.0,
                    least=False,
                ),
            ),
        )


@contextlib.contextmanager
def growing(name: str, counts: tuple[int, ...]) -> Iterator[Row]:
    """``diptych encode`` on larger and larger folders, each by a process of its own: images a second and peak
    memory.
    """
    results = {f"{count:,} images": row for count, row in scaling(counts, name).items()}
    before, last = (row["peak_mib"] for row in list(results.values())[-2:])
    what = f"peak memory, {counts[-1]:,} / {counts[-2]:,} images"
    yield Row(
        {},
        unit="images",
        facts={"folders": results},
        targets=(Target(what, lambda _: last / before, 1.1, least=False),),
    )
