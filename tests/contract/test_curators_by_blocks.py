"""Every curator decides on blocks of a pool as it does on its rows, whatever the cache knows of the pool."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diptych import catalog
from diptych.core import Curator, Kit, Plan, Run, Stream, Verdict
from diptych.data.formats.pairs import PairItem, open_pairs
from diptych.data.formats.parquet_columns import PlainFile
from diptych.data.formats.parquet_pairs import ParquetPair, open_parquet_pairs
from diptych.data.formats.tars import TarItem, open_tars
from diptych.nn.vector_head import VectorHead
from diptych.tasks.curate.plan import Kept, apply_plan
from diptych.tasks.curate.stream import readable
from tests.support.backbone import DIM, SmallBackbone
from tests.support.pictures import picture

PAIRS, BROKEN = 90, 17
KIT = Kit({"main": SmallBackbone()})
SLUGS = sorted(
    card["slug"]
    for card in catalog.cards()
    if card["verb"] == "curate" and not catalog.find(card["slug"], Curator)().by_rows
)


def jpeg(number: int) -> bytes:
    content = io.BytesIO()
    picture(number % 4, number % 30).resize((40, 40)).save(content, "PNG")
    return content.getvalue()


def write_pool(path: Path, *, broken: bool = False, empty: bool = False, blank: bool = False) -> Path:
    """Write a pool; ``broken``: with a picture that cannot be decoded, ``empty``: with a pair without text, ``blank``:
    with a text of a space."""
    pictures, texts = (
        [jpeg(i) for i in range(PAIRS)],
        [f"a dog and {i % 23} cats run, word{i % 7}" for i in range(PAIRS)],
    )
    texts[3], texts[8] = " " if blank else "a cat", "a cat"
    if broken:
        pictures[BROKEN] = b"no picture"
    named = [None if empty and i == BROKEN else text for i, text in enumerate(texts)]
    pq.write_table(pa.table({"image": pictures, "caption": named}), path, row_group_size=40)
    return path


def curator_of(slug: str, folder: Path) -> Any:
    (folder / "entries.txt").write_text("cat\ndog\nword3")
    weight = np.random.default_rng(0).normal(size=(1, DIM))
    VectorHead(((weight, np.zeros(1)),), low=-3, high=3).save(folder / "head", overwrite=True)
    settings: dict[str, Any] = {
        "biomedica": {"clusters": 4, "components": 3, "most": 40},
        "caption-checks": {"long": False},
        "metaclip": {"metadata": str(folder / "entries.txt"), "t": 20},
        "vector-head": {"head": str(folder / "head")},
    }
    return replace(catalog.find(slug, Curator)(), **settings.get(slug, {}))  # type: ignore[type-var]


def by_rows(curator: Any) -> Any:
    """Return a curator that was extended before there were blocks: it changes ``apply``, here in nothing."""

    class ByRows(type(curator)):  # type: ignore[misc]
        def apply(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdict]:
            yield from super().apply(kit, plan, stream, run)

    changed = ByRows(**{name: getattr(curator, name) for name in curator.__dataclass_fields__})
    assert changed.by_rows
    return changed


def rows_of(curator: Any, plan: Plan, stream: Any, run: Run, out: Path, part: int) -> tuple[Any, list[Any], str]:
    done = apply_plan(curator, KIT, plan, stream, run, out, about={}, part=part)
    rows = [row for path in sorted(out.glob("part-*")) for row in pq.read_table(path).to_pylist()]
    listed = out / "skipped.csv"
    return done, rows, listed.read_text() if listed.exists() else ""


@pytest.mark.parametrize("slug", SLUGS)
@pytest.mark.parametrize("trouble", ["", "broken", "empty"])
def test_blocks_and_rows_give_the_same(
    slug: str, trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diptych.data.formats.parquet_columns.ROWS", 32)
    monkeypatch.setattr("diptych.core.blocks.ROWS", 32)
    pool = write_pool(
        tmp_path / "pool.parquet", broken=trouble == "broken", empty=trouble == "empty", blank=slug == "biomedica"
    )
    stream, curator, run = open_parquet_pairs(pool), curator_of(slug, tmp_path), Run(seed=1)
    old = by_rows(curator)
    plan = old.plan(KIT, readable(stream), run)
    expected = rows_of(old, plan, stream, run, tmp_path / "rows", 25)
    assert expected[0].seen == PAIRS
    assert 0 < expected[0].kept < PAIRS
    cached = Run(seed=1, cache=tmp_path / "cache")
    for number in range(3):  # vectors are encoded, looked up by key, and read from where they lie
        plan = curator.plan(KIT, readable(stream), cached)
        done, rows, listed = rows_of(curator, plan, stream, cached, tmp_path / f"blocks-{number}", 25)
        assert (done, listed) == (expected[0], expected[2])
        assert rows == [{**row, "score": pytest.approx(row["score"], abs=1e-6)} for row in expected[1]]
    items = dict(stream.outcomes())
    kept = [(at, item) for at, item in Kept(curator, KIT, plan, stream, cached)]
    assert kept == [(row["position"], items[row["position"]]) for row in expected[1]]
    assert all(item.content for _, item in kept)
    middle = [row["position"] for row in expected[1]][4]
    rest = Kept(curator, KIT, plan, stream, cached).seek(middle)
    assert [at for at, _ in rest] == [at for at, _ in kept if at >= middle]


@pytest.mark.parametrize("slug", ["clip-score", "semdedup", "vector-head"])
def test_a_pool_that_was_seen_is_judged_without_its_pictures(
    slug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And without its texts, but for those that are written; a file that was written again is read again."""
    stream, curator = open_parquet_pairs(write_pool(tmp_path / "pool.parquet")), curator_of(slug, tmp_path)
    run = Run(cache=tmp_path / "cache")

    def verdicts() -> list[Verdict]:
        return list(curator.apply(KIT, curator.plan(KIT, stream, run), stream, run))

    first = verdicts()
    assert verdicts() == first
    monkeypatch.setattr(PlainFile, "take", None)
    monkeypatch.setattr(ParquetPair, "key", None)
    assert verdicts() == first
    monkeypatch.undo()
    pictures = [jpeg(i + 1) for i in range(PAIRS)]
    texts = pq.read_table(tmp_path / "pool.parquet").column("caption")
    pq.write_table(pa.table({"image": pictures, "caption": texts}), tmp_path / "pool.parquet")
    assert verdicts() != first
    assert verdicts() == list(curator.apply(KIT, curator.plan(KIT, stream, Run()), stream, Run()))


def write_rows(kind: str, folder: Path, shift: int = 0) -> Any:
    """Write pairs as a table or a tar that nobody has changed of late, and open it; ``shift``: other pictures."""
    folder.mkdir(exist_ok=True)
    pairs = [(f"{i:03d}", jpeg(i + shift), f"a dog and {i % 23} cats run, word{i % 7}") for i in range(PAIRS)]
    if kind == "csv":
        for name, picture_, _ in pairs:
            (folder / f"{name}.png").write_bytes(picture_)
        (folder / "pool.csv").write_text("filepath,title\n" + "".join(f'{n}.png,"{text}"\n' for n, _, text in pairs))
        return open_pairs(folder / "pool.csv")
    with tarfile.open(folder / "pool.tar", "w") as tar:
        for name, picture_, text in pairs:
            for member, content in ((f"{name}.png", picture_), (f"{name}.txt", text.encode())):
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    os.utime(folder / "pool.tar", (1, 1 + shift))
    return open_tars(str(folder / "pool.tar"))


@pytest.mark.parametrize("kind", ["csv", "tar"])
@pytest.mark.parametrize("slug", ["clip-score", "semdedup"])
def test_pictures_of_a_table_or_tar_that_was_seen_are_not_read(
    kind: str, slug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curator, run = curator_of(slug, tmp_path), Run(cache=tmp_path / "cache")

    def verdicts(stream: Any, run: Run) -> list[Verdict]:
        judged = readable(stream)
        return list(curator.apply(KIT, curator.plan(KIT, judged, run), judged, run))

    stream = write_rows(kind, tmp_path / "pool")
    first = verdicts(stream, run)
    assert len({verdict.keep for verdict in first}) == 2
    assert verdicts(stream, run) == first
    with monkeypatch.context() as blind:
        for item in (PairItem, TarItem):
            blind.setattr(item, "key", None)
            blind.setattr(item, "image", None)
        assert verdicts(stream, run) == first
    other = write_rows(kind, tmp_path / "pool", shift=1)
    assert verdicts(other, run) == verdicts(other, Run())
    assert verdicts(other, run) != first
