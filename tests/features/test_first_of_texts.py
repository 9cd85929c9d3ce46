from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from diptych.core import DataError, UsageError
from diptych.data.sorted_runs import RunWriter
from diptych.features.first_of_texts import LAYOUT, FirstOfTexts, read_first

U = np.uint64


def part(hashes: list[int], ids: list[int]) -> FirstOfTexts:
    writer = RunWriter(LAYOUT)
    writer.add({"hash": np.array(hashes, U), "id": np.array(ids, U)})
    return FirstOfTexts({"a": 1}, writer.finished(), {"texts": len(hashes)})


def test_the_least_id_of_each_hash_stays_whatever_the_order() -> None:
    rng = np.random.default_rng(0)
    hashes, ids = rng.integers(0, 40, 300).tolist(), rng.permutation(300).tolist()
    expected = {h: min(i for g, i in zip(hashes, ids, strict=True) if g == h) for h in hashes}
    one, two = part(hashes[:120], ids[:120]), part(hashes[120:], ids[120:])
    for plan in (part(hashes, ids), one.merge(two), two.merge(one)):
        rows = plan.rows.whole()
        assert dict(zip(rows["hash"].tolist(), rows["id"].tolist(), strict=True)) == expected
        assert plan.counts == {"texts": 300}
    first = one.merge(two).first(np.array(hashes, U)[:, None], np.array(ids, U))
    assert first.tolist() == [expected[h] == i for h, i in zip(hashes, ids, strict=True)]


def test_a_pair_is_first_only_if_it_is_under_all_its_hashes() -> None:
    plan = part([2, 3, 2, 5], [7, 7, 9, 1])
    assert plan.first(np.array([[2, 3], [2, 9], [2, 5]], U), np.array([7, 9, 7], U)).tolist() == [True, False, False]
    assert FirstOfTexts({}).first(np.array([[2]], U), np.array([1], U)).tolist() == [True]


def test_it_comes_back_and_other_settings_or_files_are_refused(tmp_path: Path) -> None:
    plan = part([4, 2, 2], [5, 2**63 + 1, 2**63])
    plan.write(tmp_path / "p")
    again = read_first(tmp_path / "p", "x")
    assert {n: c.tolist() for n, c in again.rows.whole().items()} == {"hash": [2, 4], "id": [2**63, 5]}
    assert again.report() == {"texts": 3, "repeat_another": 1}
    with pytest.raises(UsageError, match="cannot be merged"):
        plan.merge(FirstOfTexts({"a": 2}))
    (tmp_path / "bad").write_text("x")
    with pytest.raises(DataError, match="is no plan of x"):
        read_first(tmp_path / "bad", "x")
