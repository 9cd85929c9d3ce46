"""Which tests make test leaves out: only those that nothing concerns that differs from the merge base."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tools import changed

FILES = {
    "src/diptych/__init__.py": "",
    "src/diptych/methods/gda.py": "def fit():\n    from diptych import solvers\n",
    "src/diptych/solvers.py": "",
    "src/diptych/serve.py": "",
    "proofs/__init__.py": "",
    "proofs/shapes.py": "import numpy, diptych.methods.gda\n",
    "tools/site.py": "import diptych.methods.gda\n",
    "recipes/heads.py": "import diptych.solvers\n",
    "tests/conftest.py": "from tests.support.colours import folder\n",
    "tests/support/colours.py": "",
    "tests/proofs/conftest.py": "",
    "tests/proofs/test_shapes.py": "from proofs import shapes\n",
    "tests/proofs/test_stars.py": "from .writers import write\n",
    "tests/proofs/writers.py": "",
    "tests/docs/test_pages.py": "PAGE = 'index.md'\n",
    "tests/recipes/test_heads.py": "from recipes import heads\n",
    "tests/tools/test_site.py": "from tools import site\n",
    "tests/tools/test_script.py": "NAME = 'site'\n",
}
PROOFS = ["tests/proofs/test_shapes.py", "tests/proofs/test_stars.py"]
PAGES, RECIPES = ["tests/docs/test_pages.py"], ["tests/recipes/test_heads.py"]
TOOLS = ["tests/tools/test_script.py", "tests/tools/test_site.py"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("src/diptych/serve.py", PROOFS + RECIPES + TOOLS),  # pages run commands
        ("src/diptych/solvers.py", [PROOFS[1], TOOLS[0]]),  # imported inside a function, two modules away
        ("src/diptych/methods/gda.py", [PROOFS[1], *RECIPES]),  # the site is made of its docstring
        ("src/diptych/__init__.py", [PROOFS[1], TOOLS[0]]),
        ("src/diptych/gda.toml", []),  # data, which no import names
        ("proofs/card.toml", PAGES + RECIPES),  # tools read it too
        ("docs/index.md", PROOFS + RECIPES),
        ("recipes/heads.py", PAGES + PROOFS + TOOLS),
        ("tests/proofs/conftest.py", PAGES + RECIPES + TOOLS),
        ("tests/proofs/writers.py", [*PAGES, PROOFS[0], *RECIPES, *TOOLS]),
        ("tests/proofs/test_stars.py", [*PAGES, PROOFS[0], *RECIPES, *TOOLS]),
        ("tests/support/colours.py", []),
        ("pyproject.toml", []),
        ("README.md", PROOFS + RECIPES + TOOLS),
        ("CONTRIBUTING.md", PAGES + PROOFS + RECIPES + TOOLS),
    ],
)
def test_what_a_change_does_not_concern_is_left_out(root: Path, name: str, left_out: list[str]) -> None:
    assert changed.unconcerned(root, [name]) == left_out


def test_all_are_left_out_where_nothing_differs(root: Path) -> None:
    assert changed.unconcerned(root, []) == PAGES + PROOFS + RECIPES + TOOLS


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_what_differs_is_committed_or_not(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    assert changed.differing(root) is None, "no repository"

    def git(*words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True)

    git("init", "--initial-branch=main")
    git("add", ".")
    git("commit", "--message=one")
    assert changed.differing(root) == []
    git("checkout", "-b", "work")
    (root / "src/diptych/serve.py").write_text("X = 1\n")
    git("commit", "--all", "--message=two")
    git("checkout", "main")
    (root / "README.md").write_text("main alone\n")
    git("add", ".")
    git("commit", "--message=three")
    git("checkout", "work")
    (root / "proofs/shapes.py").unlink()
    (root / "tests/new.py").write_text("")
    assert changed.differing(root) == ["proofs/shapes.py", "src/diptych/serve.py", "tests/new.py"]
    assert changed.differing(root, "HEAD") == ["proofs/shapes.py", "tests/new.py"]
    assert changed.differing(root, "nowhere") is None


def test_each_file_that_is_left_out_is_an_option_of_pytest(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(changed, "ROOT", root)
    monkeypatch.setattr(changed, "differing", lambda root, base: None if base == "unknown" else ["docs/index.md"])
    assert changed.main(["--base", "unknown"]) == 0
    assert capsys.readouterr().out == ""
    assert changed.main([]) == 0
    printed = capsys.readouterr()
    assert printed.out.split() == [f"--ignore={name}" for name in PROOFS + RECIPES]
    assert "3 test files" in printed.err
