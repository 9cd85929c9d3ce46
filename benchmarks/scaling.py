"""Photos a second and peak memory of ``diptych encode`` as the folder grows: what is kept for every photo must not add
up to a limit.

    python -m benchmarks.scaling [--counts 1000,4000,16000] [--backbone lite] [--json]

Every count is a process of its own with a cache of its own, on photos that all differ, small so that the run ends in
minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (96, 72)


def photos(folder: Path, count: int, size: tuple[int, int] = SIZE) -> None:
    """Write JPEG files of coarse noise, no two alike, a thousand a folder."""
    rng = np.random.default_rng(0)
    for i in range(count):
        place = folder / f"{i // 1000:04d}"
        place.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(place / f"{i:06d}.jpg", quality=85)


def encoded(folder: Path, cache: Path, backbone: str, options: Sequence[str] = ()) -> dict[str, float]:
    """Run ``diptych encode`` in a process of its own; return wall seconds, its photos a second, and its peak memory in
    MiB.

    The cache holds the engine already, so that no export is measured.
    """
    with tempfile.TemporaryDirectory() as out:
        words = [
            sys.executable,
            "-m",
            "diptych.cli",
            "encode",
            str(folder),
            "--out",
            out,
            "--backbone",
            backbone,
            "--json",
            *options,
        ]
        start = time.perf_counter()
        child = subprocess.Popen(
            words,
            env={**os.environ, "DIPTYCH_CACHE": str(cache)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert child.stdout is not None
        reply = json.load(child.stdout)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {child.returncode}")
    peak = used.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {"seconds": time.perf_counter() - start, "per_second": reply["encoded"] / reply["seconds"], "peak_mib": peak}


def scaling(counts: Sequence[int], backbone: str = "lite", options: Sequence[str] = ()) -> dict[int, dict[str, float]]:
    """Return count -> what ``encoded`` measured."""
    results = {}
    with tempfile.TemporaryDirectory() as work:
        warm = Path(work) / "warm"
        photos(warm, 1)
        for count in counts:
            folder, cache = Path(work) / f"{count}", Path(work) / f"cache-{count}"
            photos(folder, count)
            (Path(work) / "engines").mkdir(exist_ok=True)
            cache.mkdir()
            (cache / "engines").symlink_to(Path(work) / "engines", target_is_directory=True)
            encoded(warm, cache, backbone, options)
            results[count] = encoded(folder, cache, backbone, options)
    return results


def main() -> None:
    """Print a row a count."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__.partition("\n")[0])
    parser.add_argument("--counts", default="1000,4000,16000")
    parser.add_argument("--backbone", default="lite")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = scaling([int(c) for c in options.counts.split(",")], options.backbone)
    if options.json:
        print(json.dumps(result))
        return
    for count, row in result.items():
        print(f"{count:>8} photos {row['per_second']:>8.0f}/s {row['peak_mib']:>8.0f} MiB {row['seconds']:>7.1f} s")


if __name__ == "__main__":
    main()
