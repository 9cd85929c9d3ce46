"""Python on the pages is run as it stands, and uses public names only."""

from __future__ import annotations

import contextlib
import doctest
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SESSION = "docs/python.md"
SCRIPTS = {
    "README.md": "cat",
    "docs/explanations.md": "condition: cool              0.233\ncondition: unspecified       0.205",
    "docs/scikit-learn.md": "0.82 of the test photos are right",
}
"""Page -> what its blocks print, among other things."""


def blocks(page: str, kind: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def at_home(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start in an empty folder; torch encodes, since preparing an engine takes longer than a page."""
    monkeypatch.setenv("DIPTYCH_CACHE", str(cache))
    monkeypatch.setattr("diptych.backbones.engines.engine.Engines.runner", lambda self, encoder, run: None)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("at_home")
def test_the_session_prints_what_the_page_says() -> None:
    test = doctest.DocTestParser().get_doctest("\n".join(blocks(SESSION, "pycon")), {}, SESSION, SESSION, 0)
    assert len(test.examples) > 25
    said = io.StringIO()
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE).run(test, out=said.write)
    assert not said.getvalue(), said.getvalue()


@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize("page", SCRIPTS)
def test_a_script_runs(page: str) -> None:
    code = "\n".join(blocks(page, "python"))
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, page, "exec"), {})
    assert SCRIPTS[page] in out.getvalue()


@pytest.mark.parametrize("page", [SESSION, *SCRIPTS])
def test_public_names_only(page: str) -> None:
    code = "\n".join(blocks(page, "(?:python|pycon)"))
    assert set(re.findall(r"(?:from|import) (diptych[\w.]*)", code)) <= {"diptych", "diptych.sklearn"}
