from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from diptych.core import DataError, Kit, Run, UsageError
from diptych.evaluation.boards.caption_pool import Captions
from diptych.features.score_counts import ScoreCounts
from diptych.methods.curate.caption_checks import CaptionChecks
from tests.support.backbone import SmallBackbone, TextEncoder
from tests.support.refused import refused


@dataclass(frozen=True)
class ShortText(TextEncoder):
    """Reads 30 words."""

    def inputs(self, items: Sequence[str], size: int | None = None) -> torch.Tensor:
        if any(len(t.split()) > 30 for t in items):
            raise UsageError("a text is too long")
        return super().inputs(items, size)


class ShortBackbone(SmallBackbone):
    @property
    def encoders(self) -> Any:
        return {**super().encoders, "text": ShortText("short-text")}


KIT = Kit({"main": ShortBackbone()})


@dataclass(frozen=True)
class Told:
    name: str
    said: str

    def text(self) -> str:
        return self.said


def judged(texts: Sequence[Any], **settings: Any) -> list[tuple[str, ...]]:
    method, stream = CaptionChecks(**settings), Captions(tuple(texts))
    plan = method.plan(KIT, stream, Run())
    verdicts = list(method.apply(KIT, plan, stream, Run()))
    assert [v.keep for v in verdicts] == [not v.labels for v in verdicts]
    assert [v.score for v in verdicts] == [float(v.keep) for v in verdicts]
    return [v.labels for v in verdicts]


def test_each_fault_is_named() -> None:
    texts = [
        Told("a/red_bus_stop.jpg", "Red bus stop"),
        Told("b.jpg", "IMG_2031.JPG"),
        Told("c.jpg", "two dogs"),
        Told("d.jpg", "word " * 31),
        Told("e.jpg", "A man sits. A man sits."),
        Told("f.jpg", "a boat on a calm lake at dawn"),
    ]
    said = judged(texts)
    assert said == [("echo",), ("echo",), ("short",), ("long",), ("repeated",), ()]
    assert judged(texts, long=False)[3] == ()
    assert judged(texts, least_words=0)[2] == ()


def test_texts_in_scripts_without_spaces_are_neither_short_nor_one_word() -> None:
    texts = ["一只狗在草地上奔跑", "一只猫在屋顶上睡觉", "狗", "他坐着。他坐着。", "一只狗在草地上奔跑。"]
    said = judged([Told(f"{i}.jpg", t) for i, t in enumerate(texts)])
    assert said[1:4] == [(), ("short",), ("repeated",)]
    assert sorted([said[0], said[4]]) == [(), ("duplicate",)]


def test_the_tower_is_asked_about_every_text_of_a_mixed_chunk() -> None:
    texts = [f"{i} " + "word " * (31 if i % 7 == 3 else 12) + str(i) for i in range(60)]
    assert [i for i, rules in enumerate(judged(texts, near=False)) if rules] == [i for i in range(60) if i % 7 == 3]


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("A dog runs. A dog runs.", True),
        ("a dog runs; A DOG, runs", True),
        ("...a dog runs", False),
        ("a dog runs!!!", False),
        ("a dog. a cat", False),
        ("\u72d7\u5728\u8dd1\u3002\u72d7\u5728\u8dd1", True),
        ("caf\u00e9 noir? Caf\u00e9 noir.", True),
        (". ! ?", False),
        ("", False),
    ],
)
def test_repeated_sentences_are_those_between_marks(text: str, repeats: bool) -> None:
    assert ("repeated" in CaptionChecks(least_words=0).rules("a.jpg", text)) == repeats


def test_phrases_are_whole_words(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("Here is a caption\n\n")
    texts = ["Sure! Here is a caption: a boat", "here is a captions list"]
    assert judged(texts, phrases=str(tmp_path / "p.txt")) == [("echo",), ()]
    (tmp_path / "none.txt").write_text("\n")
    with pytest.raises(DataError, match="holds no phrase"):
        CaptionChecks(phrases=str(tmp_path / "none.txt")).plan(KIT, Captions(()), Run())


def test_one_of_each_group_of_equal_or_nearly_equal_texts_stays() -> None:
    long = " ".join(f"word{i}" for i in range(28))
    texts = [
        "A dog runs fast",
        "a dog, runs fast!",
        "the cat sleeps on a mat",
        f"{long} x",
        f"{long} y",
        "two words",
        "two words",
    ]
    said = judged(texts)
    assert sorted(said[:2]) == [(), ("duplicate",)]
    assert said[2] == ()
    assert sorted(said[3:5]) == [(), ("duplicate",)]
    assert said[5:] == [("short",)] * 2
    assert judged(texts, near=False)[3:5] == [(), ()]
    assert judged([*texts, *texts], near=False).count(()) == 4


def test_plans_of_parts_give_the_verdicts_of_the_whole(tmp_path: Path) -> None:
    method, texts = CaptionChecks(), tuple(f"text number {i % 40} of many" for i in range(120))
    whole = method.plan(KIT, Captions(texts), Run())
    # the parts keep their positions
    a = method.plan(KIT, Captions(texts[:50]), Run())
    b = method.plan(KIT, Captions(texts).seek(50), Run())
    own, merged = whole.rows.whole(), b.merge(a).rows.whole()
    assert all((own[name] == merged[name]).all() for name in ("hash", "id"))
    assert b.merge(a).report() == whole.report()
    assert whole.report()["repeat_another"] == 80
    whole.write(tmp_path / "p")
    again = method.read_plan(tmp_path / "p")
    stream = Captions(texts)
    verdicts = list(method.apply(KIT, whole, stream, Run()))
    assert list(method.apply(KIT, again, stream, Run())) == verdicts
    assert list(method.apply(KIT, whole, stream.seek(30), Run())) == verdicts[30:]


def test_bad_input_is_named(tmp_path: Path) -> None:
    refused(CaptionChecks, {"least_words": -1})
    plan = CaptionChecks(near=False).plan(KIT, Captions(("a b c",)), Run())
    for other in (plan, ScoreCounts.of("b", [0.1])):
        with pytest.raises(UsageError, match="another system, or has other settings"):
            list(CaptionChecks().apply(KIT, other, Captions(()), Run()))
    with pytest.raises(DataError, match="no plan of caption-checks"):
        CaptionChecks().read_plan(tmp_path / "absent")
