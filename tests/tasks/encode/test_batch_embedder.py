from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from diptych.core import Run, UsageError
from diptych.data.memory import InMemory
from diptych.features.embed import embed_arrays
from diptych.tasks.encode.batch_embedder import BatchEmbedder
from tests.support.backbone import SmallBackbone
from tests.support.pictures import picture

BACKBONE = SmallBackbone()
PICTURES = [picture(i % 4, i).resize((20, 16)) for i in range(6)]


def unit() -> np.ndarray:
    values = embed_arrays(BACKBONE.image, InMemory(PICTURES), Run()).values[:, 0]
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def encoded(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize("kind", ["array", "arrays", "bytes", "mappings", "paths", "pictures"])
def test_every_kind_of_cell_gives_the_vectors_of_embed(kind: str, tmp_path: Path) -> None:
    cells: Any = {
        "array": np.stack([np.asarray(p) for p in PICTURES]),
        "arrays": np.array([np.asarray(p) for p in PICTURES] + [None], dtype=object)[:6],
        "bytes": np.array([encoded(p) for p in PICTURES], dtype=object),
        "mappings": [{"bytes": encoded(p), "path": None} for p in PICTURES],
        "paths": [str(tmp_path / f"{i}.png") for i in range(6)],
        "pictures": PICTURES,
    }[kind]
    for i, image in enumerate(PICTURES):
        image.save(tmp_path / f"{i}.png")
    batch = BatchEmbedder(BACKBONE)({"id": list(range(6)), "image": cells})
    assert batch["id"] == list(range(6))
    np.testing.assert_allclose(batch["embedding"], unit(), atol=1e-6)
    assert batch["error"].tolist() == [""] * 6


def test_what_cannot_be_read_is_nan_and_says_why() -> None:
    batch = BatchEmbedder(BACKBONE)({"image": [encoded(PICTURES[0]), b"no picture", None]})
    assert np.isnan(batch["embedding"]).all(axis=1).tolist() == [False, True, True]
    assert batch["error"][0] == ""
    assert batch["error"][1]
    assert batch["error"][2] == "holds no picture"
    empty = BatchEmbedder(BACKBONE)({"image": []})
    assert empty["embedding"].shape == (0, BACKBONE.image.dim)


def test_texts_are_embedded_by_the_text_tower() -> None:
    batch = BatchEmbedder(BACKBONE, text="caption", vector="v")({"caption": np.array(["a cat", "a dog"])})
    assert batch["v"].shape == (2, BACKBONE.text.dim)
    assert np.linalg.norm(batch["v"], axis=1) == pytest.approx(1)
    with pytest.raises(UsageError, match="must have image and no embedding"):
        BatchEmbedder(BACKBONE)({"picture": []})
    with pytest.raises(UsageError, match="must have image and no embedding"):
        BatchEmbedder(BACKBONE)({"image": [], "embedding": []})


def test_it_stands_in_the_body_of_a_pandas_udf_of_spark() -> None:
    """Spark itself is not run: its Series of bytes go in, and what comes out must become its array<float>."""

    def vectors(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        embed = BatchEmbedder(BACKBONE)
        for series in batches:
            yield pd.Series(embed({"image": series.to_numpy()})["embedding"].tolist())

    cells = pd.Series([encoded(p) for p in PICTURES] + [None], index=range(10, 17))
    parts = list(vectors(iter((cells[:4], cells[4:]))))
    assert [len(part) for part in parts] == [4, 3]
    column = pa.concat_arrays([pa.Array.from_pandas(part, type=pa.list_(pa.float32())) for part in parts])
    found = np.array(column.to_pylist(), dtype=np.float32)
    np.testing.assert_allclose(found[:6], unit(), atol=1e-6)
    assert np.isnan(found[6]).all()


def script(words: str) -> str:
    """Run Python in a process of its own, and return its last line."""
    environment = {
        **os.environ,
        "RAY_worker_niceness": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
        "DO_NOT_TRACK": "1",
        "DAFT_PROGRESS_BAR": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", words], env=environment, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


DAFT = """
import io
import daft, numpy as np
from PIL import Image
from daft import DataType
from diptych.tasks.encode.batch_embedder import BatchEmbedder

def png(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()

own = BatchEmbedder("tiny")
dim = own.backbone.image.dim

@daft.cls
class Embed:
    def __init__(self, backbone):
        self.embed = BatchEmbedder(backbone)

    @daft.method.batch(return_dtype=DataType.embedding(DataType.float32(), dim), batch_size=7)
    def vectors(self, column):
        return self.embed({"image": column.to_pylist()})["embedding"]

pictures = np.random.default_rng(0).integers(0, 256, (20, 12, 12, 3), dtype=np.uint8)
table = daft.from_pydict({"id": list(range(20)), "image": [png(p) for p in pictures]})
found = table.select("id", Embed("tiny").vectors(table["image"]).alias("embedding")).sort("id").to_pydict()
expected = own({"image": pictures})["embedding"]
np.testing.assert_allclose(np.array(found["embedding"]), expected, atol=1e-5)
print("equal", len(found["id"]))
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("daft") is None, reason="daft is not installed: pip install daft")
def test_a_class_of_daft_calls_it() -> None:
    assert script(DAFT) == "equal 20"


SCRIPT = """
import numpy as np, ray
from diptych.tasks.encode.batch_embedder import BatchEmbedder
pictures = np.random.default_rng(0).integers(0, 256, (20, 12, 12, 3), dtype=np.uint8)
ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
data = ray.data.from_items([{"id": i, "image": pictures[i]} for i in range(20)])
settings = {"fn_constructor_kwargs": {"backbone": "tiny"}, "batch_size": 7, "concurrency": 1}
rows = sorted(data.map_batches(BatchEmbedder, **settings).take_all(), key=lambda row: row["id"])
own = BatchEmbedder("tiny")({"image": pictures})
np.testing.assert_allclose(np.stack([row["embedding"] for row in rows]), own["embedding"], atol=1e-5)
assert all(row["error"] == "" for row in rows)
print("equal", len(rows))
"""


@pytest.mark.slow
def test_ray_data_maps_batches_with_it() -> None:
    pytest.importorskip("ray.data")
    assert script(SCRIPT) == "equal 20"
