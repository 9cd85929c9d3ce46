"""Run the benchmarks and write one JSON: medians of interleaved runs, and their ratios.

    python -m benchmarks [--only images:lite,cold] [--rounds 5] [--out bench.json]

Contenders of one row take turns, so a busy machine slows all of them alike: read the ratios, not the rates, unless the machine was idle.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import rates
from diptych.tasks.record import now, versions


@contextmanager
def plain(make: Callable[[], tuple[rates.Contenders, int]]) -> Iterator[tuple[rates.Contenders, int]]:
    yield make()


@contextmanager
def on_folder(
    count: int, size: tuple[int, int], make: Callable[[Path], tuple[rates.Contenders, int]]
) -> Iterator[tuple[rates.Contenders, int]]:
    with rates.photo_folder(count, size) as folder:
        yield make(folder)


ROWS = {
    "images:lite": lambda: plain(partial(rates.image_rates, "lite", 32)),
    "images:ViT-B-32": lambda: plain(partial(rates.image_rates, "openclip:ViT-B-32", 32)),
    "texts:lite": lambda: plain(partial(rates.text_rates, 64)),
    "folder:800x600": lambda: on_folder(128, (800, 600), lambda f: rates.folder_rates(f, 128)),
    "folder:12MP": lambda: on_folder(16, (4000, 3000), lambda f: rates.folder_rates(f, 16)),
    "labels:10": lambda: on_folder(32, (320, 240), partial(rates.label_rates, 10)),
    "labels:100": lambda: on_folder(32, (320, 240), partial(rates.label_rates, 100)),
    "labels:1000": lambda: on_folder(32, (320, 240), partial(rates.label_rates, 1000)),
    "cold": lambda: plain(rates.cold_starts),
    "reindex:50000": lambda: plain(partial(rates.reindex, 50_000)),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(ROWS), help="rows, separated by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    asked = parser.parse_args()
    found = {}
    for name in asked.only.split(","):
        with ROWS[name]() as (contenders, count):
            taken = rates.interleaved(contenders, asked.rounds)
        medians = {who: statistics.median(seconds) for who, seconds in taken.items()}
        base = next(iter(medians))
        found[name] = {
            "items": count,
            "against": base,
            "rows": {
                who: {
                    "seconds": medians[who],
                    "per_second": count / medians[who],
                    "ratio": medians[base] / medians[who],
                    "runs": taken[who],
                }
                for who in medians
            },
        }
        print(name)
        for who, row in found[name]["rows"].items():
            print(f"  {who:<44}{row['per_second']:>10.1f}/s {row['seconds']:>9.3f} s {row['ratio']:>7.2f} x")
    load = os.getloadavg()
    about = {"date": now(), "versions": versions(), "machine": platform.machine(), "cores": os.cpu_count(), "load": load}
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(
        json.dumps({**about, "threads": os.environ.get("OMP_NUM_THREADS", ""), "rounds": asked.rounds, "benchmarks": found}, indent=1)
        + "\n"
    )
    print(f"{asked.out} (load {load[0]:.1f} on {os.cpu_count()} cores: {'ratios only' if load[0] > 1.5 else 'quiet'})")


if __name__ == "__main__":
    main()
