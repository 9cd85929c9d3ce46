from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diptych.core import DataError, Samples, UnreadableItem
from diptych.data.formats.lightcurves import LightCurves, read_light_curves
from diptych.data.formats.typed import Typed, read_typed

RNG = np.random.default_rng(0)
NAMES = [f"s{n}" for n in range(5)]
ROWS = [
    (str(RNG.choice(NAMES)), float(t), float(RNG.normal()), float(RNG.random()), str(RNG.choice(["g", "r"])))
    for t in RNG.integers(0, 60, 200)
]


def long(folder: Path, suffix: str) -> LightCurves:
    place = folder / f"t{suffix}"
    head = ("star", "t", "mag", "err", "band")
    if suffix == ".parquet":
        pq.write_table(pa.table({h: [r[i] for r in ROWS] for i, h in enumerate(head)}), place)
    else:
        place.write_text("\n".join(",".join(map(str, r)) for r in [head, *ROWS]))
    return read_light_curves(place, "star", "t", "mag", "err", "band")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_long_tables_by_a_plain_loop(tmp_path: Path, suffix: str) -> None:
    curves = long(tmp_path, suffix)
    assert isinstance(curves, Samples)
    assert list(curves.ids) == list(dict.fromkeys(r[0] for r in ROWS))
    for i, name in enumerate(curves.ids):
        rows = sorted((r for r in ROWS if r[0] == name), key=lambda r: r[1])  # stable, as ours
        curve = curves[i]
        assert curve.error is not None
        assert curve.band is not None
        assert list(
            zip(curve.time.tolist(), curve.value.tolist(), curve.error.tolist(), curve.band.tolist(), strict=True)
        ) == [r[1:] for r in rows]
    assert len({curves.key(i) for i in range(5)}) == 5


def test_keys_do_not_depend_on_the_order_or_the_file(tmp_path: Path) -> None:
    a, b = long(tmp_path, ".csv"), long(tmp_path, ".parquet")
    assert [a.key(i) for i in range(5)] == [b.key(i) for i in range(5)]
    c = b.rows("", [b.ids[3], b.ids[0]])
    assert (c.ids, c.key(0), c.key(1)) == ((b.ids[3], b.ids[0]), b.key(3), b.key(0))


def test_with_a_table_of_objects(tmp_path: Path) -> None:
    curves = long(tmp_path, ".csv")
    (tmp_path / "objects.csv").write_text(
        "star,kind,split\n" + "\n".join(f"{n},{'ab'[i % 2]},{('train', 'test')[i > 2]}" for i, n in enumerate(NAMES))
    )
    data = read_typed(tmp_path / "objects.csv", {"label": Typed("label", "kind")}, "star", curves.rows)
    assert {s: len(t) for s, t in data.splits.items()} == {"train": 3, "test": 2}
    assert np.array_equal(data.splits["test"].items[1].value, curves[curves.ids.index("s4")].value)
    (tmp_path / "objects.csv").write_text("star,kind\nabsent,a\n")
    with pytest.raises(DataError, match="'absent' has no measurements"):
        read_typed(tmp_path / "objects.csv", {}, "star", curves.rows)


def test_one_curve_a_row(tmp_path: Path) -> None:
    cells = {"name": ["a", "b", "a"], "w": [[3.0, 1.0, 2.0], [], [5.0]], "f": [[30.0, 10.0, 20.0], [], [50.0]]}
    pq.write_table(pa.table(cells), tmp_path / "t.parquet")
    spectra = read_light_curves(tmp_path / "t.parquet", "name", "w", "f")
    assert spectra.ids == ("a", "b", "a")
    assert [spectra[i].value.tolist() for i in range(3)] == [[10, 20, 30], [], [50]]
    assert spectra[0].error is spectra[0].band is None
    with pytest.raises(DataError, match="several curves"):
        spectra.rows("", ["a"])
    cells["f"][2] = []
    pq.write_table(pa.table(cells), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="differ in length"):
        read_light_curves(tmp_path / "t.parquet", "name", "w", "f")


def test_a_curve_with_a_hole_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("n,t,v,e\na,1,2,\nb,1,,3\n")
    curves = read_light_curves(tmp_path / "t.csv", "n", "t", "v", "e")
    assert curves[0].error is not None
    assert np.isnan(curves[0].error).all()
    for call in (curves.__getitem__, curves.key):
        with pytest.raises(UnreadableItem, match="b: holds times or values that are not finite"):
            call(1)


@pytest.mark.parametrize(
    ("text", "message"),
    [("n,t\na,1\n", "no column 'v'"), ("n,t,v\n,1,1\n", "Row 1 .* has no n"), ("n,t,v\na,1,x\n", "cannot be read")],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_light_curves(tmp_path / "t.csv", "n", "t", "v")
