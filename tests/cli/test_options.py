"""What the verbs share: options that become one object, and a run that closes what it opened."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych import catalog
from diptych.cli import options
from diptych.core import MissingExtra, UnreadableItem, UsageError
from diptych.core.errors import EXTRAS

Cli = Callable[..., Any]
SOURCE = Path(options.__file__).parents[1]


def test_keys_are_closed_whatever_happens(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    opened = options.RunOptions(cache=tmp_path / "cache").open()
    with pytest.raises(UnreadableItem), opened:
        opened.keys.keys_of([tmp_path / "a.png", tmp_path / "none.png"])
    assert opened.keys._database is None
    assert (tmp_path / "cache" / options.KEYS).exists()


def test_what_runs_an_encoder_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with options.RunOptions(cache=tmp_path).open() as opened:
        for _ in range(2):
            opened._once("image encoder: torch, fp32")
    assert capsys.readouterr().err == "image encoder: torch, fp32\n"


def test_what_is_not_asked_for_is_not_opened(tmp_path: Path) -> None:
    with options.RunOptions(cache=tmp_path / "cache", device="toaster").open() as opened:
        assert opened.light.workers == 2
    assert not (tmp_path / "cache").exists()
    with pytest.raises(UsageError, match="no device 'toaster'"):
        _ = opened.run


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("lora", ["finetune", "PHOTOS", "--method", "lora"]),
        ("wandb", ["pretrain", "PHOTOS", "--log", "wandb"]),
        ("index", ["link", "PHOTOS", "PHOTOS", "--method", "string-matching"]),
        ("index", ["index", "PHOTOS", "--ann"]),
        ("scale", ["encode", "PHOTOS", "--cluster", "local:2"]),
        ("openvino", ["classify", "PHOTOS", "--names", "a", "--engine", "openvino"]),
        ("openvino", ["encode", "PHOTOS", "--precision", "int8"]),
        ("openvino", ["export", "tiny", "--to", "int8"]),
    ],
)
def test_an_absent_extra_is_told_before_any_work(
    diptych: Cli, monkeypatch: pytest.MonkeyPatch, extra: str, words: list[str]
) -> None:
    """The data named here do not exist: whoever opened them first would say so instead."""
    for module in EXTRAS[extra].values():
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(
        "diptych.backbones.sources.load.load", lambda *args, **more: pytest.fail("a backbone is loaded")
    )
    got = diptych(*words)
    assert got.code == MissingExtra.exit_code
    assert f"run pip install '.[{extra}]' in a checkout of diptych." in got.err


def test_linking_without_training_needs_no_extra(diptych: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidfuzz", None)
    for more in (
        [],
        ["--pairs", "p.csv", "--variant", "mean"],
        ["--method", "string-matching", "--variant", "jaccard"],
    ):
        assert "pip install" not in diptych("link", "nowhere", "nowhere", *more).err


def python_files(*rooms: str) -> list[Path]:
    return [path for room in rooms for path in sorted((SOURCE / room).rglob("*.py"))]


@pytest.mark.parametrize("path", python_files("core", "cli"), ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_core_and_cli_name_no_system(path: Path) -> None:
    words = {"full", "description", "zero-shot", *EXTRAS}  # systems that are called by plain words, or as an extra
    words |= {"coop", "mosaic", "mmvp", "MMVP"}  # a rule of --val, composed pictures, and a layout of files
    names = {name for card in catalog.cards() for name in (card["slug"], card["class"])} - words | {'"zero-shot"'}
    pattern = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, sorted(names)))})(?![\w-])")
    text = path.read_text(encoding="utf-8")
    assert not pattern.findall(text)


@pytest.mark.parametrize("path", python_files("cli"), ids=lambda p: p.name)
def test_no_function_of_the_command_line_takes_more_than_twelve_parameters(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            taken = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs) if a.arg != "self"]
            assert len(taken) <= 12, (node.name, taken)
