"""What curation writes: rows of kept items, their pictures where they have no file, and tables for people to label."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych.core import Clustered, Plan, UsageError, Verdict
from diptych.data.files import drafted, escaped, write_whole

QUALITY = 95
"""JPEG quality of pictures that are cut from slides."""


def looks_of(plan: Plan, count: int) -> Sequence[tuple[int, str]]:
    """Return (cluster, name of an item) of at most ``count`` items of each cluster.

    Raises:
        UsageError: the plan has no clusters.
    """
    if not isinstance(plan, Clustered):
        raise UsageError("This plan has no clusters to look at: plan with biomedica.")
    return plan.looks(count)


def write_looks(looks: Sequence[tuple[int, str]], path: Path, *, overwrite: bool = False) -> None:
    """Write a table (.csv) with columns cluster, filepath and an empty labels, a row for each look."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("cluster", "filepath", "labels"), *((cluster, name, "") for cluster, name in looks)])
    write_whole(path, text.getvalue(), overwrite=overwrite)


def row_of(item: Any, verdict: Verdict, out: Path) -> dict[str, Any]:
    """Return the row of a kept item; an item without a file is written to ``out``."""
    if isinstance(item, str):
        row: dict[str, Any] = {"position": verdict.position}
    else:
        cut = getattr(item, "cut", None)
        row = {"position": verdict.position, "filepath": escaped(item.name if cut is None else _picture(item, out))}
        row |= {**getattr(item, "facts", {}), **(cut or {})}
    text = verdict.texts[0].value if verdict.texts else item if isinstance(item, str) else item.text()
    row |= {"title": escaped(text), "score": verdict.score}
    if verdict.labels:
        row["labels"] = list(verdict.labels)
    if verdict.texts:
        row["written"] = [vars(text) for text in verdict.texts]
    return row


def _picture(item: Any, out: Path) -> str:
    """Write the picture of an item, and return its path in ``out``; a resumed pass writes it again."""
    stem = Path(item.name).name[:100].replace("@", "-").replace(",", "-")
    path = out / "pictures" / f"{stem}-{hashlib.sha256(item.name.encode()).hexdigest()[:8]}.jpg"
    with drafted(path, overwrite=True, sync=False) as draft:
        item.image().save(draft, format="JPEG", quality=QUALITY)
    return path.relative_to(out).as_posix()


def write_part(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as Parquet; a column that a row lacks is empty there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = dict.fromkeys(name for row in rows for name in row)
    table = pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
    write_whole(path, lambda draft: pq.write_table(table, draft), overwrite=True)
