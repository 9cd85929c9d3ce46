from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from diptych.backbones.writers import pool
from diptych.backbones.writers.pool import Recorded, StoredPool, save_pool, write_about
from diptych.core import Ask, ClassNames, DataError, NotAvailable, Text, TextPool, UsageError, Writer

POOL = {
    "writer": "gpt-3",
    "prompt": "Describe a {}.",
    "date": "2023-01-31",
    "texts": {"cat": ["has whiskers", "has a tail"], "dog": ["barks"]},
}


class Counting:
    """Numbers its texts and remembers whom it was asked about."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def write(self, asks: Sequence[Ask]) -> list[list[Text]]:
        self.asked += [ask.about or ask.prompt for ask in asks]
        return [
            [Text(f"{ask.prompt} {i} of {ask.n}", "counter", ask.prompt, "2025-01-01") for i in range(ask.n)]
            for ask in asks
        ]


class Failing(Counting):
    """Breaks at the third call."""

    def write(self, asks: Sequence[Ask]) -> list[list[Text]]:
        if len(self.asked) >= 2:
            raise NotAvailable("the line is dead")
        return super().write(asks)


def stored(folder: Path, value: Any) -> StoredPool:
    path = folder / "pool.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return StoredPool(path)


def test_a_pool_answers_by_class_with_provenance(tmp_path: Path) -> None:
    texts = stored(tmp_path, POOL)
    assert isinstance(texts, Writer)
    cat, dog, eel = texts.write([Ask("anything", "cat", 9), Ask(about="dog"), Ask("?", "eel")])
    assert cat == [
        Text("has whiskers", "gpt-3", "Describe a {}.", "2023-01-31"),
        Text("has a tail", "gpt-3", "Describe a {}.", "2023-01-31"),
    ]
    assert ([t.value for t in dog], eel) == (["barks"], [])
    assert [t.value for t in texts.write([Ask("", "cat", 1)])[0]] == ["has whiskers"]


def test_a_pool_that_ships_answers_by_name() -> None:
    texts = StoredPool("pacs").write([Ask(about="dog", n=2)])[0]
    assert len(texts) == 2
    assert all(t.value and t.writer for t in texts)


def test_files_that_are_no_pool_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="must hold a JSON object"):
        stored(tmp_path, [1])
    with pytest.raises(UsageError, match="There is no file"):
        StoredPool(tmp_path / "none.json")
    with pytest.raises(UsageError, match="There is no file"):
        StoredPool(tmp_path / "none.jsonl")
    (tmp_path / "big.jsonl").write_bytes(b"{}\n" * 100)
    monkeypatch.setattr(pool, "MAX_BYTES", 99)
    with pytest.raises(DataError, match="too much for replies"):
        StoredPool(tmp_path / "big.jsonl")
    monkeypatch.setattr(pool, "MAX_BYTES", 2**20)
    monkeypatch.setattr(pool, "MAX_LINE", 50)
    (tmp_path / "wide.jsonl").write_bytes(b"x" * 200)
    with pytest.raises(DataError, match="too much for a reply"):
        StoredPool(tmp_path / "wide.jsonl")


def test_every_reply_is_asked_once(tmp_path: Path) -> None:
    path, writer = tmp_path / "new" / "replies.jsonl", Counting()
    recorded = Recorded(writer, path)
    assert isinstance(recorded, Writer)
    asks = [Ask("Say é", "cat", 2), Ask("Say é", "dog"), Ask("Say é", "cat", 3), Ask("Other", "cat")]
    answers = recorded.write(asks)
    assert writer.asked == ["cat", "dog", "cat"]
    assert [t.value for t in answers[2]] == ["Say é 0 of 3", "Say é 1 of 3", "Say é 2 of 3"]
    assert answers[0] == answers[2][:2], "the same ask gives the same texts, a smaller one their beginning"
    again = Recorded(Counting(), path)
    assert again.write(asks) == answers
    assert again.writer is not None
    assert vars(again.writer)["asked"] == []
    assert Recorded(None, path).write(asks) == answers
    assert "é" in path.read_text(encoding="utf-8")


def test_a_larger_n_asks_afresh_and_pictures_tell_apart(tmp_path: Path) -> None:
    writer = Counting()
    recorded = Recorded(writer, tmp_path / "r.jsonl")
    red, blue = (Image.new("RGB", (2, 2), colour) for colour in ("red", "blue"))
    recorded.write(
        [Ask("x", n=1), Ask("x", n=1, image=red), Ask("x", n=1, image=blue), Ask("x", n=1, image=red.copy())]
    )
    assert len(writer.asked) == 3
    recorded.write([Ask("x", n=2), Ask("x", n=1)])
    assert len(writer.asked) == 4
    assert len(Recorded(None, tmp_path / "r.jsonl").write([Ask("x", n=2)])[0]) == 2


def test_a_record_is_a_pool(tmp_path: Path) -> None:
    Recorded(Counting(), tmp_path / "r.jsonl").write([Ask("Say", "cat", 2), Ask("More", "cat"), Ask("Alone")])
    texts = StoredPool(tmp_path / "r.jsonl")
    assert [t.value for t in texts.write([Ask("?", "cat", 9)])[0]] == ["Say 0 of 2", "Say 1 of 2", "More 0 of 1"]
    assert [t.prompt for t in texts.pool.texts["cat"]] == ["Say", "Say", "More"]
    assert len(texts.write([Ask("Alone")])[0]) == 1


def test_replay_alone_refuses_what_is_new(tmp_path: Path) -> None:
    Recorded(Counting(), tmp_path / "r.jsonl").write([Ask("Say", "cat")])
    with pytest.raises(NotAvailable, match=r"no reply to 1 .*'dog'"):
        Recorded(None, tmp_path / "r.jsonl").write([Ask("Say", "cat"), Ask("Say", "dog")])
    with pytest.raises(UsageError, match="There is no file"):
        Recorded(None, tmp_path / "none.jsonl")
    with pytest.raises(UsageError, match=r"\.jsonl"):
        Recorded(Counting(), tmp_path / "r.json")


def test_replies_before_a_failure_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_CHUNK", 1)
    path, asks = tmp_path / "r.jsonl", [Ask(about=c) for c in "abcd"]
    with pytest.raises(NotAvailable, match="dead"):
        Recorded(Failing(), path).write(asks)
    writer = Counting()
    Recorded(writer, path).write(asks)
    assert writer.asked == ["c", "d"]


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_what_a_kill_left_of_a_line_is_asked_again(tmp_path: Path, cut: int) -> None:
    path, asks = tmp_path / "r.jsonl", [Ask(about=c) for c in "ab"]
    Recorded(Counting(), path).write(asks)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    writer = Counting()
    Recorded(writer, path).write(asks)
    assert writer.asked == ["b"]
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 .* not valid JSON"),
        ("[" * 100_000, "line 2 .* not valid JSON"),
        ("[]", "a string 'about'"),
        ('{"about": "a", "prompt": "", "picture": ""}', "a number 'n'"),
        ('{"about": "a", "prompt": "", "picture": "", "n": true, "texts": []}', "a number 'n'"),
        ('{"about": "a", "prompt": "", "picture": "", "n": 1, "texts": [{"value": "x"}]}', "a string 'writer'"),
    ],
)
def test_damaged_records_are_named_by_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "r.jsonl"
    Recorded(Counting(), path).write([Ask(about="a")])
    path.write_bytes(path.read_bytes() + line.encode() + b"\n")
    with pytest.raises(DataError, match=message):
        Recorded(Counting(), path)


def test_a_pool_about_classes(tmp_path: Path) -> None:
    texts = write_about(Counting(), ClassNames(("cat", "dog")), "What is a {}?", 2)
    assert [t.value for t in texts.texts["dog"]] == ["What is a dog? 0 of 2", "What is a dog? 1 of 2"]
    with pytest.raises(DataError, match="StoredPool has no text about 'eel'"):
        write_about(stored(tmp_path, POOL), ClassNames(("cat", "eel")), "{}", 1)
    for prompt, n in (("no place", 1), ("{}", 0)):
        with pytest.raises(UsageError, match="where the class name goes"):
            write_about(Counting(), ClassNames(("cat",)), prompt, n)


def test_written_texts_become_a_pool_file(tmp_path: Path) -> None:
    texts = write_about(Counting(), ClassNames(("cat", "dog")), "What is a {}?", 2)
    save_pool(texts, tmp_path / "new.json", "What is a {}?")
    again = StoredPool(tmp_path / "new.json").pool
    assert {k: [t.value for t in v] for k, v in again.texts.items()} == {
        k: [t.value for t in v] for k, v in texts.texts.items()
    }
    assert {(t.writer, t.prompt, t.date) for v in again.texts.values() for t in v} == {
        ("counter", "What is a {}?", "2025-01-01")
    }
    with pytest.raises(UsageError, match="a new file"):
        save_pool(texts, tmp_path / "new.json", "{}")
    mixed = TextPool({"a": (Text("x", "one"), Text("y", "two"))})
    with pytest.raises(UsageError, match="not of one, two"):
        save_pool(mixed, tmp_path / "mixed.json", "{}")
    with pytest.raises(DataError, match="ask for shorter"):
        save_pool(TextPool({"a": (Text("x" * 1001, "one"),)}), tmp_path / "long.json", "{}")
