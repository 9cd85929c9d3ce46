"""A pass over tars in object storage by two workers, one of which is killed in both passes, in a process of its own.

The workers take the environment of the process that starts them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from diptych.core import Kit, Run
from diptych.data.addresses import fetched, published
from diptych.data.load import open_stream
from diptych.methods.curate.metaclip import MetaCLIP
from diptych.tasks.curate.plan import apply_plan
from diptych.tasks.curate.shards import apply_shards, cut, plan_in
from tests.support.work.cluster import DyingCurator, two_workers, write_tars


def rows(out: Path) -> list[dict[str, Any]]:
    """Return the rows of a result, without where their tars lie."""
    parts = (pq.read_table(part).to_pylist() for part in sorted(out.glob("part-*.parquet")))
    return [{**row, "filepath": row["filepath"].rpartition("/")[2]} for part in parts for row in part]


def main(folder: Path, address: str) -> None:
    """Print what was found: equal counts and rows, and how many workers died."""
    metadata = folder / "names.txt"
    metadata.write_text("cat\ndog")
    here = open_stream(write_tars(folder / "tars", 3, 20), pictures=False)
    with published(Path(f"{address}/tars")) as local:
        os.symlink(folder / "tars", local)
    there: Any = open_stream(f"{address}/tars", pictures=False)
    shards = cut(there)
    at = [position for position, _ in shards[1]][10]
    plain, fatal = MetaCLIP(str(metadata), t=20), DyingCurator(str(metadata), t=20, marks=str(folder), at=at)
    run = Run(seed=1)
    whole = plain.plan(Kit(), here, run)
    apply_plan(plain, Kit(), whole, here, run, folder / "one", about={})
    with two_workers() as pool:
        plan: Any
        with plan_in(folder / "parts", fatal, Kit, shards, run, {}, pool=pool) as plan:
            pass
        with published(Path(f"{address}/kept")) as out:
            apply_shards(fatal, Kit, plan, shards, run, out, pool, about={}, part=7)
    found = {
        "shards": len(shards),
        "streamed": there.shards[0].startswith("s3://"),
        "counts": (plan.counts == whole.counts).all().item(),
        "rows": rows(fetched(f"{address}/kept")) == rows(folder / "one"),
        "kept": len(rows(folder / "one")),
        "died": sum((folder / mark).exists() for mark in ("plan", "apply")),
    }
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
