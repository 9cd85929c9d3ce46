"""A folder of small photos to a file of vectors, process and all: what a person waits for who types one command."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.encoders import backbone_of
from benchmarks.heads import write_openclip
from benchmarks.measure import Row
from benchmarks.pictures import photo_folder

SMALL = (400, 300)
SCRIPT = """
import sys
from pathlib import Path
import numpy as np, torch, open_clip
from PIL import Image
model, _, preprocess = open_clip.create_model_and_transforms("local-dir:" + sys.argv[1])
model.eval()
paths, batch, workers = sorted(Path(sys.argv[2]).iterdir()), int(sys.argv[4]), int(sys.argv[5])
class Photos(torch.utils.data.Dataset):
    def __len__(self): return len(paths)
    def __getitem__(self, i): return preprocess(Image.open(paths[i]).convert("RGB"))
rows = []
with torch.no_grad():
    for x in torch.utils.data.DataLoader(Photos(), batch_size=batch, num_workers=workers):
        rows.append(model.encode_image(x, normalize=True).numpy())
np.save(sys.argv[3], np.concatenate(rows))
"""
WAYS = {"rclip's way (batches of 8, no workers)": (8, 0), "clip-retrieval's way (batches of 256, 2 workers)": (256, 2)}
"""How two tools read a folder, by plain scripts with open_clip: batch size and decoding processes."""


@contextlib.contextmanager
def encode(name: str, count: int) -> Iterator[Row]:
    """Encode ``count`` small photos in a new process each time; the runtimes are prepared, and no vectors are stored.

    Args:
        name: of a backbone that open_clip can build, "ViT-B-32" or "tiny".
        count: of photos.
    """
    backbone: Any = backbone_of(name)
    with tempfile.TemporaryDirectory(prefix="bench-whole-") as work, photo_folder(count, SMALL) as photos:
        model = write_openclip(backbone.module(), backbone.config, Path(work) / "model")
        cache, out = Path(work) / "cache", Path(work) / "out"
        given = {**os.environ, "DIPTYCH_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}

        def shell(*words: str) -> None:
            subprocess.run([sys.executable, *words], env=given, capture_output=True, check=True)

        def theirs(batch: int, workers: int) -> Any:
            shell("-c", SCRIPT, str(model), str(photos), f"{work}/rows.npy", str(batch), str(workers))
            return np.load(f"{work}/rows.npy")

        def ours(name: str, engine: str) -> Any:
            for place in (cache / "embeddings", out):
                shutil.rmtree(place, ignore_errors=True)
            shell("-m", "diptych.cli", "encode", str(photos), "--backbone", name, "--engine", engine, "--out", str(out))
            return None if name == "lite" else np.load(out / "img_emb" / "img_emb_0.npy").astype(np.float32)

        weights = f"local:{model}"
        contenders = {way: lambda how=how: theirs(*how) for way, how in WAYS.items()}
        contenders |= {
            f"diptych encode --engine {engine}, {who}": lambda name=model, engine=engine: ours(name, engine)
            for who, model in (("same weights", weights), ("lite", "lite"))
            for engine in ("torch", "auto")
        }  # fmt: skip
        yield Row(
            contenders, items=count, unit="images", same=lambda rows: rows, floors=dict.fromkeys(contenders,
            0.99), rounds=3,
            facts={"size": SMALL, "photos": count},
        )  # fmt: skip
