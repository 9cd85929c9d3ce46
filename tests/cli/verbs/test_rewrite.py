from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych.methods.rewrite.uf_fgtg import UFFGTG
from tests.support.colours import coloured
from tests.support.diffusion import random_diffusion
from tests.support.small_clip import small_clip

Cli = Callable[..., Any]
QUICK = {"epochs": 1, "batch": 2, "width": 8, "layers": 1, "read": 16, "limit": 6, "warmup": 0}
WORDS = ("rewrite", "prompts.txt", "-b", "vit", "-n", "3")


@pytest.fixture(autouse=True)
def small(diptych: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A backbone and a denoiser with random weights, after the fixture of the command line has put in its own."""
    vit = small_clip(tmp_path / "vit")
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: vit)
    monkeypatch.setattr("diptych.backbones.diffusion.load.load_diffusion", lambda name, b: random_diffusion(b))
    monkeypatch.setitem(UFFGTG.card.variants, "small", QUICK)  # type: ignore[arg-type]
    for colour in ("red", "blue"):
        coloured(tmp_path / f"{colour}.png", colour, 1)
    rows = "red.png,a red cup,a large red cup on a table\nblue.png,a blue cup,a large blue cup on a table\n"
    (tmp_path / "captions.csv").write_text(f"image,caption_1,caption_2\n{rows}")
    (tmp_path / "prompts.txt").write_text("a red cup\na blue cup\n")


@pytest.mark.filterwarnings("ignore:.* long prompts have more than")
def test_prompts_are_rewritten_and_the_rewriter_is_kept(diptych: Cli, tmp_path: Path) -> None:
    got = diptych(*WORDS, "--like", "captions.csv", "--fitted", "kept", "--out", "out.json")
    assert got.code == 0, got.err
    assert got.out.splitlines()[0] == "a red cup"
    data = json.loads((tmp_path / "out.json").read_text())
    assert [row["prompt"] for row in data["prompts"]] == ["a red cup", "a blue cup"]
    assert all(1 <= len(row["rewrites"]) <= 3 for row in data["prompts"])
    again = diptych(*WORDS, "--fitted", "kept", "--json")
    assert again.data["prompts"] == data["prompts"]
    assert diptych(*WORDS, "--fitted", "kept", "--out", "out.json").code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "learns from photos with captions"),
        (("--like", "captions.csv", "-n", "9"), "9 rewrites are wanted"),
        (("--like", "captions.csv", "-m", "gda"), "gda is no rewriter"),
        (("--like", "captions.csv", "--variant", "huge"), "no variant 'huge'"),
    ],
)
def test_errors_name_the_remedy(diptych: Cli, words: tuple[str, ...], said: str) -> None:
    got = diptych(*WORDS[:4], *words)
    assert (got.code, said in got.err) == (2, True), got.err
