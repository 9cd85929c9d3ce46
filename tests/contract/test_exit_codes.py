"""One rule of exit codes for all verbs: 2 where nothing is at a path, 1 where what is there cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diptych.cli.added_commands import PROOFS
from diptych.cli.commands import VERBS
from tests.cli import conftest
from tests.support.colours import coloured

diptych = conftest.diptych
Cli = Callable[..., Any]
FOLDERS = {
    "classify": "classify {} --names red,green",
    "segment": "segment {} --names red,green",
    "caption": "caption {} --texts said.txt",
    "edit": "edit {} --source red --target green -b tiny",
    "index": "index {} --out made",
    "link": "link {} {}",
    "detect photos": "detect {} --object nut",
    "detect normal": "detect photo.png --normal {}",
    "encode": "encode {} --out made",
    "encode regions": "encode {} --regions boxes.csv --out made",
    "extend": "extend {} --out made",
    "serve project": "serve --project {}",
    "serve index": "serve --index {}",
    "serve classifier": "serve --classifier {}",
    "serve normal": "serve --normal nut={}",
    "finetune": "finetune {} -b tiny --out made",
    "pretrain": "pretrain {} -b tiny --out made",
    "recommend": "recommend {}",
    "board classify": "board classify {} --out made",
    "board detect": "board detect {} --out made",
    "board segment": "board segment {} --out made",
    "board caption": "board caption {} --out made",
    "board retrieve": "board retrieve {} --out made",
    "board curate": "board curate {} --out made",
    "board extend": "board extend {} --out made",
    "board finetune": "board finetune {} --out made",
    "board pretrain": "board pretrain {} --out made",
    "board few-shot": "board few-shot {} --out made",
    "board several-labels": "board several-labels {}",
    "audit groups": "audit groups {}",
    "audit pairs": "audit pairs {}",
    "audit sources": "audit sources {}",
    "audit report": "audit report {} --out made.html",
    "audit edits": "audit edits {}",
    "audit blind": "audit blind {}",
    "audit association": "audit association {} --attribute colour",
    "audit robustness": "audit robustness {}",
    "audit shortcuts": "audit shortcuts {}",
    "curate plan": "curate plan {} --method clip-score --out made",
    "curate regions": "curate regions {} --out made",
    "ablate": "ablate {}",
    "search": "search {} red",
    "check": "check {}",
    "rerun": "rerun {}",
    "verify": "verify tiny --row ViT-B-32/openai --data {} --dataset imagenet1k",
    "classify model": "classify photo.png --model {}",
}
FILES = {
    "rewrite": "rewrite {}.txt",
    "encode texts": "encode --texts {}.txt --out made",
    "classify names": "classify photo.png --names {}.txt",
    "caption texts": "caption photo.png --texts {}.txt",
    "curate apply": "curate apply said.txt --plan {}.parquet --out made",
    "curate looks": "curate looks {}.parquet",
    "curate regions truth": "curate regions pairs.csv --truth {}.csv --out made",
    "ablate texts": "ablate demo:clothes --texts {}.json",
    "serve sentences": "serve --sentences {}.txt",
    "serve keys": "serve --keys {}.txt",
    "pretrain regions": "pretrain pairs.csv --objective cloc --regions {}.csv -b tiny --out made",
}
NO_INPUT = {"demo", "generate", "export", "systems", "prove", "doctor", "models", "cache", "config", "new-system"}
"""Verbs that read no data of the user's."""


@pytest.fixture
def place(tmp_path: Path, diptych: Cli, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("diptych.serve.run.run", lambda *given: pytest.fail("the server runs"))
    monkeypatch.setattr("diptych.serve.run.refuse_taken", lambda settings: None)
    coloured(tmp_path / "photo.png", "red", 1)
    (tmp_path / "said.txt").write_text("a red wall\na blue sea\n")
    (tmp_path / "boxes.csv").write_text("image,x,y,w,h,phrase\nphoto.png,0,0,3,3,all\n")
    (tmp_path / "pairs.csv").write_text("path,caption,split\nphoto.png,red,train\nphoto.png,red,test\n")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", [*FOLDERS, *FILES])
@pytest.mark.usefixtures("place")
def test_what_is_not_there_is_a_wrong_call(diptych: Cli, name: str) -> None:
    answer = diptych(*{**FOLDERS, **FILES}[name].replace("{}", "nowhere").split())
    sentences = [
        line for line in answer.err.splitlines() if not line.startswith("diptych starts")
    ]  # serve's first line
    assert (answer.code, len(sentences)) == (2, 1), answer.err
    assert "nowhere" in sentences[0]


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.usefixtures("place")
def test_what_is_empty_is_unusable_data(diptych: Cli, name: str) -> None:
    answer = diptych(*FOLDERS[name].replace("{}", "empty").split())
    assert answer.code == 1, answer.err
    assert "empty" in answer.err + answer.out


def test_every_verb_with_input_is_held_to_the_rule() -> None:
    assert {words.split()[0] for words in (*FOLDERS.values(), *FILES.values())} == {*VERBS, *PROOFS} - NO_INPUT
