"""Entry points of other packages: broken ones are reported once, each with its package."""

from __future__ import annotations

import warnings
from importlib.metadata import EntryPoint, version
from pathlib import Path

import pytest

from diptych.core import UsageError, entry_points
from diptych.core.entry_points import COMMANDS, MODALITIES, SYSTEMS, PluginWarning, declared, sentence, warn_once

POINT = EntryPoint("echo", "echo_package:Echo", MODALITIES)


def test_only_those_of_the_group_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "echo-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: echo\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text(f"[{SYSTEMS}]\none = echo:One\n[{COMMANDS}]\ntwo = echo:two\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "one" in {p.name for p in declared(SYSTEMS)}
    assert "two" not in {p.name for p in declared(SYSTEMS)}
    (point,) = (p for p in declared(COMMANDS) if p.name == "two")
    assert sentence(point, "why").startswith("The command 'two' of echo 1.2 cannot be used: why; mend or uninstall")


def test_a_list_that_cannot_be_read_is_reported_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (
        ("broken", f"[{SYSTEMS}]\nno line of a table"),
        ("whole", f"[{SYSTEMS}]\nwhole-system = whole:Whole\n"),
    ):
        about = tmp_path / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    reported: list[str] = []
    names = {p.name for p in declared(SYSTEMS, lambda point, reason: reported.append(point.value))}
    assert "whole-system" in names
    assert reported == ["broken"]


def test_a_reason_is_said_once_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_points, "_warned", set())
    with pytest.warns(
        PluginWarning, match="The modality 'echo' of a package without a name cannot be used: OSError: a b"
    ):
        warn_once(POINT, OSError("a\nb"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_once(POINT, OSError("a\nb"))
    with pytest.warns(PluginWarning, match="^A whole sentence[.]$"):
        warn_once(POINT, UsageError("A whole sentence."))
    assert len(sentence(POINT, OSError("x" * 1000))) < 500
    assert "UsageError: no such key; mend or" in sentence(POINT, UsageError("no such key."))
    assert " of the checkout /x cannot" in sentence(POINT, "why", "the checkout /x")


def test_the_version_of_what_is_not_installed_is_empty() -> None:
    assert entry_points.installed_version("torch") == version("torch")
    assert entry_points.installed_version("no-such-package-of-diptych") == ""
