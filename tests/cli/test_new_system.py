"""A system is begun in a copy of this checkout, and what was written passes what every system must pass."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych.tasks import new_system

Cli = Callable[..., Any]
ROOT = Path(__file__).parents[2]
PLACES = ("src/diptych/methods/classify", "tests/methods/classify", "src/diptych/evaluation/proofs")
WRITTEN = {
    "system": "src/diptych/methods/classify/my_idea2.py",
    "test": "tests/methods/classify/test_my_idea2.py",
    "proof": "src/diptych/evaluation/proofs/classify.py",
}


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """The folders that are written to, without a system."""
    for place in PLACES:
        (tmp_path / place).mkdir(parents=True)
    shutil.copy(ROOT / PLACES[2] / "classify.py", tmp_path / PLACES[2])
    return tmp_path


def files(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): p.read_text(encoding="utf-8") for p in root.rglob("*.*") if p.is_file()}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout in which my-idea2 was begun."""
    root = tmp_path_factory.mktemp("checkout")
    for place in ("src", "tests"):
        shutil.copytree(ROOT / place, root / place, ignore=shutil.ignore_patterns("__pycache__", ".*", "*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", root)
    out = within(
        root, "-m", "diptych.cli", "new-system", "my-idea2", "--verb", "classify", "--name", "MyIdea²", "--json"
    )
    assert json.loads(out) == WRITTEN
    return root


def within(root: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_what_is_written_passes_what_every_system_must_pass(checkout: Path) -> None:
    within(checkout, "-m", "diptych.catalog", "--write")
    card = json.loads(within(checkout, "-m", "diptych.cli", "systems", "my-idea2", "--json"))
    assert (card["name"], card["class"], card["verb"]) == ("MyIdea²", "MyIdea2", "classify")
    chosen = (WRITTEN["test"], "tests/contract/test_methods.py", "-k", "my_idea2 or my-idea2")
    found = within(checkout, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen)
    assert int(found.split(" passed")[0].split()[-1]) >= 6 + 14
    code = "from diptych.evaluation.proofs.classify import TRIALS; print(TRIALS['my-idea2'].claims[1].shots)"
    assert within(checkout, "-c", code) == "16\n"
    assert within(checkout, "-c", "import diptych; print(diptych.__file__)").startswith(str(checkout)), (
        "all this ran in the copy"
    )


@pytest.mark.slow
def test_what_is_written_is_clean(checkout: Path) -> None:
    for tool in ("ruff", "mypy"):
        pytest.importorskip(tool)
    for words in (("check",), ("format", "--check")):
        within(checkout, "-m", "ruff", *words, *WRITTEN.values())
    within(checkout, "-m", "mypy", "--no-incremental", "--follow-imports=silent", WRITTEN["system"], WRITTEN["proof"])


def test_it_tells_what_comes_next(diptych: Cli, bare: Path) -> None:
    got = diptych("new-system", "my-idea")
    assert got.code == 0
    assert "diptych.catalog --write" in got.out
    text = (bare / PLACES[0] / "my_idea.py").read_text()
    assert 'name="my idea"' in text
    assert "$" not in text
    assert diptych("new-system", "other-idea", "--root", bare).code == 0
    table = (bare / PLACES[2] / "classify.py").read_text()
    assert table.index('"my-idea"') < table.index('"other-idea"') < table.rindex("    }")


def test_outside_a_checkout_a_package_of_its_own_is_written_whose_tests_pass(diptych: Cli, tmp_path: Path) -> None:
    got = diptych("new-system", "my-idea2", "--name", "MyIdea")
    assert got.code == 0
    assert "pip install -e my-idea2" in got.out
    folder = tmp_path / "my-idea2"
    points = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    assert points == {"diptych.methods": {"my-idea2": "my_idea2:MyIdea2"}}
    about = folder / "my_idea2-0.dist-info"  # what an installation would write
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: diptych-my-idea2\nVersion: 0.1.0\n")
    (about / "entry_points.txt").write_text("[diptych.methods]\nmy-idea2 = my_idea2:MyIdea2\n")
    path = os.pathsep.join([str(folder), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."], cwd=folder,
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "4 passed" in done.stdout, done.stdout + done.stderr
    again = diptych("new-system", "my-idea2")
    assert again.code == 2
    assert "my-idea2 exists" in again.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gda"], "There is a system 'gda' already"),
        (["my_idea"], "is no slug"),
        (["MyIdea"], "is no slug"),
        (["../evil"], "is no slug"),
        (["my--idea"], "is no slug"),
        (["2clip"], "is no slug"),
        (["lambda"], "is no slug"),
        (["a" * 61], "is no slug"),
        ([""], "is no slug"),
        (["fine", "--name", 'a"; import os; "'], "is no name"),
        (["fine", "--name", "a\nb"], "is no name"),
        (["fine", "--name", "\\"], "is no name"),
        (["fine", "--verb", "cook"], "no skeleton for the verb 'cook': choose one of classify"),
        (["fine", "--verb", "../classify"], "no skeleton for the verb"),
        (["fine", "--root", "/"], "is no checkout of diptych"),
        (["taken"], r"exists: choose another slug"),
        (["tested"], r"exists: choose another slug"),
    ],
)
def test_what_it_refuses_leaves_no_trace(words: list[str], message: str, diptych: Cli, bare: Path) -> None:
    (bare / PLACES[0] / "taken.py").write_text("x")
    (bare / PLACES[1] / "test_tested.py").write_text("x")
    before = files(bare)
    got = diptych("new-system", *words)
    assert got.code == 2
    assert message in got.err
    assert files(bare) == before


@pytest.mark.parametrize(
    "text", [None, "", "TRIALS = {}\n", 'x = {\n    "fine": 1\n    }\n)\n', "    }\n)\n    }\n)\n"]
)
def test_an_unknown_table_of_proofs_is_not_guessed_at(text: str | None, diptych: Cli, bare: Path) -> None:
    table = bare / PLACES[2] / "classify.py"
    table.unlink() if text is None else table.write_text(text)
    before = files(bare)
    got = diptych("new-system", "fine")
    assert got.code == 1
    assert "not the table of proofs" in got.err
    assert files(bare) == before


def test_every_skeleton_is_whole() -> None:
    for folder in new_system.TEMPLATES.iterdir():
        assert {p.name for p in folder.iterdir()} == {
            "system.py.txt", "test.py.txt", "proof.py.txt", "package_test.py.txt", "package.toml.txt",
        }  # fmt: skip
