"""Tests mirror the rooms: tests/<room>/test_<stem>.py stands beside src/diptych/<room>/<stem>.py, and those of proofs
and recipes beside the packages of these names.
"""

from __future__ import annotations

from pathlib import Path

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src" / "diptych"
BESIDE = ("proofs", "recipes")
"""Packages outside the wheel, whose tests stand in a folder of their name."""
WITHOUT = TESTS / "modules_without_tests.txt"
ELSEWHERE = ("contract", "docs", "tools")
"""Folders whose tests are of no single module."""
ACROSS = {
    "cli/test_faults.py",
    "cli/test_inputs.py",
    "data/formats/test_development_sets.py",
    "test_mirror.py",
}
"""Files whose tests cross several modules; the list may only shrink."""


def modules() -> set[str]:
    found = {p.relative_to(SOURCE).as_posix() for p in SOURCE.rglob("*.py") if not p.name.startswith("__")}
    paths = [p for name in BESIDE for p in (TESTS.parent / name).rglob("*.py")]
    return found | {p.relative_to(TESTS.parent).as_posix() for p in paths if p.name[0] != "_"}


def named_modules() -> dict[str, str]:
    """Return test file -> the module that its name says."""
    files = [p.relative_to(TESTS) for p in TESTS.rglob("test_*.py") if p.relative_to(TESTS).parts[0] not in ELSEWHERE]
    return {p.as_posix(): (p.parent / p.name.removeprefix("test_")).as_posix() for p in files}


def test_the_list_of_modules_without_a_test_file_only_shrinks() -> None:
    missing, listed = modules() - set(named_modules().values()), set(WITHOUT.read_text().split())
    assert not missing - listed, "write tests/<room>/test_<stem>.py for them"
    assert not listed - missing, f"strike them from {WITHOUT.name}"


def test_every_test_file_names_a_module_or_a_package() -> None:
    known = modules()
    packages = {f"{p.parent.relative_to(SOURCE).as_posix()}.py" for p in SOURCE.rglob("*/__init__.py")}
    verbs = SOURCE / "verbs"
    # Commands are derived from verbs, and tested as they are run; those of one word stand in cli/verbs.
    commands = {(Path("cli") / p.relative_to(verbs.parent)).as_posix() for p in verbs.glob("*.py")}
    commands |= {(Path("cli") / p.relative_to(verbs)).as_posix() for p in verbs.glob("*/*.py")}
    lost = {file for file, module in named_modules().items() if module not in known | packages | commands}
    assert lost == ACROSS
