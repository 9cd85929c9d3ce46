"""A system is begun in a copy of this checkout, and what was written passes what every system must pass."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from diptych.core import Verb
from diptych.tasks import new_system
from tests.support.work.forked import pytest_in_fork

Cli = Callable[..., Any]
ROOT = Path(__file__).parents[2]
PLACES = ("src/diptych/methods/classify", "tests/methods/classify", "proofs")
SLUGS = {"classify": "my-idea2", "segment": "my-other-idea2"}
OTHERS = ("audit", "caption", "curate", "detect", "edit", "extend", "finetune", "pretrain", "retrieve", "rewrite")
EVERY = {**SLUGS, **{verb: f"my-{verb}2" for verb in OTHERS}}
"""Verb -> slug; the first two bring a proof."""


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
    """A copy of this checkout in which a system of each verb was begun."""
    root = tmp_path_factory.mktemp("checkout")
    for place in ("src", "tests", "proofs"):  # with their bytecode, but not what a worker writes right now
        shutil.copytree(ROOT / place, root / place, ignore=shutil.ignore_patterns(".*", "*.egg-info", "*.pyc.*"))
    shutil.copy(ROOT / "pyproject.toml", root)
    for verb, slug in EVERY.items():
        new_system.new_system(slug, verb, root, name="MyIdea²")
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
    (checkout / "tests/test_copy.py").write_text(FACTS)
    chosen = [f"tests/methods/{verb}/test_{slug.replace('-', '_')}.py" for verb, slug in SLUGS.items()]
    contracts = ("tests/contract/test_methods.py", "tests/contract/test_segmenters.py", "tests/test_copy.py")
    words = " or ".join((*SLUGS.values(), *(slug.replace("-", "_") for slug in SLUGS.values()), "test_copy"))
    code, output = pytest_in_fork(
        ["-q", "-p", "no:cacheprovider", *chosen, *contracts, "-k", words], checkout, [str(checkout / "src")]
    )
    assert code == 0, output
    assert int(output.split(" passed")[0].split()[-1]) >= 6 + 16 + 4 + 15 + 1


FACTS = f"""
import diptych
from diptych import catalog
from proofs.prove import _trial

def test_the_copy_holds_cards_and_proofs():
    assert diptych.__file__.startswith(__file__.partition("/tests/")[0]), "all this runs in the copy"
    for verb, slug in {SLUGS!r}.items():
        system = catalog.find(slug)
        assert (system.card.name, system.card.verb, system.__name__[-5:]) == ("MyIdea²", verb, "Idea2")
        assert _trial(slug)[0].claims
"""


@pytest.mark.slow
def test_what_is_written_is_clean(checkout: Path) -> None:
    """Types are checked by ``make rules``, which knows those of the rest already."""
    pytest.importorskip("ruff")
    stems = [slug.replace("-", "_") for slug in EVERY.values()]
    files = [str(p) for stem in stems for p in (checkout / "src", checkout / "tests") for p in p.rglob(f"*{stem}.py")]
    proofs = [f"{PLACES[2]}/{verb}.py" for verb in SLUGS]
    assert len(files) == 2 * len(EVERY)
    for words in (("check",), ("format", "--check")):
        within(checkout, "-m", "ruff", *words, *files, *proofs)


def test_it_tells_what_comes_next(diptych: Cli, bare: Path) -> None:
    got = diptych("new-system", "my-idea")
    assert got.code == 0
    assert "python -m pytest" in got.out
    card = (bare / PLACES[0] / "my_idea.toml").read_text()
    assert tomllib.loads(card)["name"] == "my idea"
    assert "$" not in card + (bare / PLACES[0] / "my_idea.py").read_text()
    assert diptych("new-system", "other-idea", "--root", bare).code == 0
    table = (bare / PLACES[2] / "classify.py").read_text()
    assert table.index('"my-idea"') < table.index('"other-idea"') < table.rindex("    }")
    written = diptych("new-system", "third-idea", "--json").data
    assert written["test"] == f"{PLACES[1]}/test_third_idea.py"
    assert written["card"] == f"{PLACES[0]}/third_idea.toml"


def test_a_verb_without_an_entry_of_a_proof_says_where_it_goes(diptych: Cli, bare: Path) -> None:
    for place in ("src/diptych/methods/audit", "tests/methods/audit"):
        (bare / place).mkdir(parents=True)
    got = diptych("new-system", "my-idea", "--verb", "audit")
    assert got.code == 0
    assert "write it after a neighbour among the proofs of audit" in got.out
    assert "from diptych.methods.audit.my_idea import" in (bare / "tests/methods/audit/test_my_idea.py").read_text()


@pytest.mark.slow
def test_outside_a_checkout_packages_of_their_own_are_written_whose_tests_pass(diptych: Cli, tmp_path: Path) -> None:
    for verb, slug in EVERY.items():
        got = diptych("new-system", slug, "--verb", verb, "--name", "MyIdea")
        assert got.code == 0
        assert f"pip install -e {slug}" in got.out
        folder, stem = tmp_path / slug, slug.replace("-", "_")
        project = (folder / "pyproject.toml").read_text(encoding="utf-8")
        points = tomllib.loads(project)["project"]["entry-points"]["diptych.methods"]
        assert list(points) == [slug]
        packed = tomllib.loads(project)["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
        assert all((folder / name).is_file() for name in packed)
        assert {f"{stem}.py", f"{stem}.toml"} == set(packed)
        about = folder / f"{stem}-0.dist-info"  # what an installation would write
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: diptych-{slug}\nVersion: 0.1.0\n")
        (about / "entry_points.txt").write_text(f"[diptych.methods]\n{slug} = {points[slug]}\n")
    folders = [str(tmp_path / slug) for slug in EVERY.values()]
    code, output = pytest_in_fork(
        ["-q", "-p", "no:cacheprovider", "-p", "no:zarr", "."], tmp_path, [*folders, str(ROOT / "src")]
    )
    assert code == 0, output
    assert "40 passed" in output
    again = diptych("new-system", "my-idea2")
    assert again.code == 2
    assert "my-idea2 exists" in again.err


@pytest.mark.parametrize("slug", ["random", "torch"])
def test_a_package_hides_no_module_that_others_import(slug: str, diptych: Cli, tmp_path: Path) -> None:
    got = diptych("new-system", slug)
    assert got.code == 2
    assert f"There is a module {slug} already, which {slug}.py would hide: choose another slug" in got.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gda"], "There is a system 'gda' already"),
        (["my_idea"], "is not a slug"),
        (["MyIdea"], "such as my-idea, and no word of Python"),
        (["My Great Idea"], "such as my-great-idea, and no word of Python"),
        (["../evil"], "is not a slug"),
        (["my--idea"], "is not a slug"),
        (["2clip"], "is not a slug"),
        (["lambda"], "such as my-system, and no word of Python"),
        (["a" * 61], "is not a slug"),
        ([""], "is not a slug"),
        (["fine", "--name", 'a"; import os; "'], "is not a name"),
        (["fine", "--name", "a\nb"], "is not a name"),
        (["fine", "--name", "\\"], "is not a name"),
        (["fine", "--verb", "cook"], "no skeleton for the verb 'cook': choose one of audit, caption, classify"),
        (["fine", "--verb", "../classify"], "no skeleton for the verb"),
        (["fine", "--root", "/"], "is not a checkout of diptych"),
        (["taken"], r"exists: choose another slug"),
        (["tested"], r"exists: choose another slug"),
        (["carded"], r"carded.toml exists: choose another slug"),
    ],
)
def test_what_it_refuses_leaves_no_trace(words: list[str], message: str, diptych: Cli, bare: Path) -> None:
    (bare / PLACES[0] / "taken.py").write_text("x")
    (bare / PLACES[0] / "carded.toml").write_text("x")
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


def test_there_is_a_skeleton_of_every_verb_and_each_is_whole() -> None:
    assert set(EVERY) == set(get_args(Verb))
    assert {p.name for p in new_system.TEMPLATES.iterdir()} == {*EVERY, "package.toml.txt"}
    for verb in EVERY:
        parts = {p.name for p in (new_system.TEMPLATES / verb).iterdir()}
        more = {"proof.py.txt", "package_test.py.txt"} if verb in SLUGS else set()
        assert parts == {"system.py.txt", "card.toml.txt", "test.py.txt"} | more
