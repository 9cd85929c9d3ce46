"""Results are of the code that their systems have now, or the difference was read; see results/code.toml."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from proofs.code import code_of

RESULTS = Path(__file__).parents[2] / "results"
TABLE = tomllib.loads((RESULTS / "code.toml").read_text(encoding="utf-8"))
WRITTEN = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
PROOFS: dict[str, dict[str, Any]] = {r["slug"]: r for r in WRITTEN if r.get("kind") == "proof"}


def measured(slug: str) -> str:
    """Return the digest of the code that a result was measured with."""
    return str(PROOFS[slug].get("code") or TABLE["measured"][slug])


@pytest.mark.parametrize("slug", PROOFS)
def test_a_result_is_of_the_code_that_its_system_has(slug: str) -> None:
    now, judged = code_of(slug), TABLE["read"].get(slug, {})
    assert now in (measured(slug), judged.get("code")), (
        f"The code of {slug} is {now}, and its result is of {measured(slug)}: run 'diptych prove {slug} --overwrite', "
        f"or read the difference and write into results/code.toml why no number changes, or which does."
    )


def test_the_table_lists_only_older_results_and_code_that_differs() -> None:
    assert set(TABLE["measured"]) == {slug for slug, result in PROOFS.items() if "code" not in result}
    assert set(TABLE["read"]) == {slug for slug in PROOFS if code_of(slug) != measured(slug)}
    for slug, judged in TABLE["read"].items():
        assert set(judged) in ({"code", "same"}, {"code", "changed"}), slug
        assert all(judged.values()), slug


SYSTEM = '''"""A system."""
from diptych.nn.alone import scaled
from diptych.nn.shared import moved


def fit(x: float, y: float = 2.0) -> float:
    """Return a number."""
    total = scaled(x) + moved(y)
    if total < 0:
        raise ValueError(f"{total} is negative.")
    return total
'''
ALONE = "def scaled(x):\n    return 3 * x\n"


def package(
    folder: Path, system: str = SYSTEM, alone: str = ALONE, shared: str = "def moved(x):\n    return x\n"
) -> Path:
    """Write a package of two systems, of which the second takes one of the two networks of the first."""
    files = {
        "methods/a/one.py": system,
        "methods/b/two.py": "from diptych.nn import shared\n",
        "nn/alone.py": alone,
        "nn/shared.py": shared,
    }
    for name, text in files.items():
        path = folder / "diptych" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "diptych"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Return a number."""', '"""Return another."""  # A remark.'),
        ("is negative.", "is below 0: give more."),
        ("total", "result"),
        ("(x: float, y: float = 2.0) -> float", "(a, y=2.0)"),
        ("import scaled", "import other as scaled"),
    ],
)
def test_words_and_names_inside_do_not_count(tmp_path: Path, old: str, new: str) -> None:
    changed = SYSTEM.replace(old, new)
    changed = changed.replace("scaled(x)", "scaled(a)") if "(a," in new else changed
    assert changed != SYSTEM
    before, after = package(tmp_path / "before"), package(tmp_path / "after", changed)
    assert code_of("one", before) == code_of("one:row", after)


@pytest.mark.parametrize("changes", [{"system": SYSTEM.replace("2.0", "2.5")}, {"alone": ALONE.replace("3", "4")}])
def test_numbers_count_also_in_networks_of_this_system_alone(tmp_path: Path, changes: dict[str, str]) -> None:
    before, after = package(tmp_path / "before"), package(tmp_path / "after", **changes)
    assert code_of("one", before) != code_of("one", after)
    assert code_of("two", before) == code_of("two", after)


def test_networks_that_systems_share_do_not_count(tmp_path: Path) -> None:
    before, after = package(tmp_path / "before"), package(tmp_path / "after", shared="def moved(x):\n    return -x\n")
    assert code_of("one", before) == code_of("one", after)
