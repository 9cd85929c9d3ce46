"""Rewrites and the draw among them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch

from diptych.core import Ask, Column, DataError, Evidence, Kit, MissingPart, Row, Run, Table, Text
from diptych.methods.pretrain.laclip import LaCLIP, first_line, prompt
from diptych.train.pair import PairTrainee
from diptych.train.recipe import train_space
from tests.support.refused import refused
from tests.train.test_pair import FIT, RUN, accuracy, small, squares


class Thesaurus:
    def __init__(self, *replies: str) -> None:
        self.replies, self.asks = replies, list[Ask]()

    def write(self, asks):
        self.asks += asks
        return [[Text(r.replace("{}", a.about), "thesaurus") for r in self.replies][: a.n] for a in asks]


def captioned(text: str = "a red square") -> Table:
    table = squares(10)
    return Table(table.items, {"captions": Column("captions", [(text,)] * 10)})


def trainee(method: LaCLIP, writer: Thesaurus, table: Table) -> PairTrainee:
    (only,) = method.stages(Kit({"main": small(), "writer": writer}), None, Evidence(train=table), RUN)
    assert isinstance(only, PairTrainee)
    return only


def drawn(t: PairTrainee, n: int = 2000, caption: str = "a red square") -> Counter:
    g, row = torch.Generator().manual_seed(0), Row(squares(10).items[0], 0, "k", {"captions": (caption,)})
    return Counter(t.read["text"].read(row, g) for _ in range(n))


def test_every_wording_is_as_likely() -> None:
    counts = drawn(trainee(LaCLIP(), Thesaurus("see {}", "look, {}", "one {}", "here is {}"), captioned()))
    assert set(counts) == {
        "a red square",
        "see a red square",
        "look, a red square",
        "one a red square",
        "here is a red square",
    }
    assert all(abs(n / 2000 - 0.2) < 0.04 for n in counts.values())


def test_a_rewrite_of_one_word_falls_back_on_the_original() -> None:
    assert drawn(trainee(LaCLIP(), Thesaurus("red", "{} again"), captioned())).keys() == {
        "a red square",
        "a red square again",
    }


def test_no_rewrites_is_plain_clip_and_asks_nobody() -> None:
    from diptych.methods.pretrain.clip_loss import CLIPLoss

    rows, fit = Evidence(train=captioned()), replace(FIT, steps=3)
    plain = train_space(CLIPLoss(), Kit({"main": small()}), rows, fit, RUN)
    own = train_space(LaCLIP(rewrites=0), Kit({"main": small()}), rows, fit, RUN)
    assert own.space.fingerprint == plain.space.fingerprint


def test_validation_rows_keep_their_own_captions() -> None:
    t = trainee(LaCLIP(), Thesaurus("see {}"), captioned())
    assert drawn(t, 50, "a blue circle").keys() == {"a blue circle"}
    evidence = Evidence(train=captioned(), val=captioned(""))
    with pytest.raises(DataError, match="Row 0 has no caption"):
        next(LaCLIP(rewrites=0).stages(Kit({"main": small()}), None, evidence, RUN))


def test_it_learns() -> None:
    table = squares()
    first = Table(table.items, {"captions": Column("captions", [c[:1] for c in table.columns["captions"].values])})
    trained = train_space(
        LaCLIP(), Kit({"main": small(), "writer": Thesaurus("there is {} here")}), Evidence(train=first), FIT, RUN
    )
    assert accuracy(trained.space) > 0.9


def test_the_prompt_shows_examples_and_asks_once_a_caption() -> None:
    writer = Thesaurus("{} again")
    trainee(LaCLIP(rewrites=2), writer, captioned("a red => blue square"))
    (ask,) = writer.asks
    assert (ask.about, ask.n) == ("a red => blue square", 2)
    assert ask.prompt.count(" => ") == 3 + 1
    assert ask.prompt.endswith("a red => blue square =>")
    assert prompt("x", []).endswith("x =>")
    one, two = (LaCLIP().fit(Kit({"writer": writer}), Evidence(), Run(seed=s))._drawn("x") for s in (1, 2))
    assert one != two


@pytest.mark.parametrize(
    ("reply", "line"), [("\n a dog\nx => y", "a dog"), ("c => a dog", "a dog"), ("", ""), ("c =>", "")]
)
def test_replies_are_cut_to_their_first_line(reply: str, line: str) -> None:
    assert first_line(reply) == line


def test_copies_and_empty_replies_are_no_wordings() -> None:
    assert drawn(trainee(LaCLIP(), Thesaurus("{}", "", "{} => "), captioned()), 50).keys() == {"a red square"}


def test_what_is_missing_is_named() -> None:
    with pytest.raises(MissingPart, match="Writer named 'writer'"):
        next(LaCLIP().stages(Kit({"main": small()}), None, Evidence(train=captioned()), RUN))
    with pytest.raises(DataError, match="rows have none"):
        trainee(LaCLIP(), Thesaurus(), Table(squares(10).items))
    with pytest.raises(DataError, match="Row 0 has no caption"):
        trainee(LaCLIP(), Thesaurus(), captioned(""))
    refused(LaCLIP, {"rewrites": -1})
