from __future__ import annotations

from pathlib import Path

import pytest

from diptych.core import DataError, UsageError
from diptych.data.words.metaclip_entries import entries, frequent, tidied
from diptych.data.words.textlines import MAX_LINE, open_lines
from diptych.data.words.wordnet import WordNet


def test_wordnet_entries_begin_with_numbers_and_keep_case() -> None:
    found = entries("wordnet")
    assert found[:3] == ("0", "1", "2")
    assert {"dog", "ice cream", "Eiffel Tower"} <= set(found)
    assert len(found) == len(set(found)) > 60_000
    names = WordNet.load().names()
    assert len(names) == len(WordNet.load())
    assert names[0] == WordNet.load().synset(int(WordNet.load().offsets[0])).name


def test_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("dog\n hot  dog \n\n.\ndog\nu.s.\n", encoding="utf-8")
    assert entries(tmp_path / "a.txt") == ("dog", "hot dog", "u.s.")
    (tmp_path / "a.json").write_text('["dog", "Dog"]')
    assert entries(tmp_path / "a.json") == ("dog", "Dog")
    (tmp_path / "b.json").write_text('{"dog": 1}')
    with pytest.raises(DataError, match="no JSON list"):
        entries(tmp_path / "b.json")
    with pytest.raises(UsageError, match="no file"):
        entries(tmp_path / "c.txt")
    assert tidied(["!", "a"]) == ("a",)


def test_frequent_words_and_bigrams() -> None:
    texts = ["the dog"] * 50 + ["the cat"] * 50 + ["New York"] * 5
    assert frequent(texts, 5, pmi=4.0) == ("New", "York", "cat", "dog", "the", "New York")
    assert "the dog" in frequent(texts, 5, pmi=0.5)


def test_a_high_pmi_finds_bigrams_that_are_rarer_than_the_words_must_be() -> None:
    texts = ["the dog and the cat"] * 400 + ["Addis Ababa"]  # log2(2002) = 10.97
    assert frequent(texts, 100, pmi=10.9) == ("and", "cat", "dog", "the", "Addis Ababa")
    assert frequent(texts, 100, pmi=11.0) == ("and", "cat", "dog", "the")


def test_lines_seek_by_byte_and_shards_cover_them_once(tmp_path: Path) -> None:
    texts = [f"ünï {i} " * (i % 7) for i in range(51)]
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(texts).encode())
    stream = open_lines(tmp_path / "t.txt")
    whole = list(stream)
    assert [t for _, t in whole] == texts
    for position, _ in whole[::9]:
        assert list(stream.seek(position)) == [(p, t) for p, t in whole if p >= position]
    for count in (1, 2, 3, 7, 60):
        shards = stream.shards(count)
        assert len(shards) <= count
        assert [row for shard in shards for row in shard] == whole
    (tmp_path / "empty.txt").write_text("")
    assert [row for s in open_lines(tmp_path / "empty.txt").shards(2) for row in s] == []


def test_broken_lines_are_named(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"ok\n\xff\n")
    with pytest.raises(DataError, match="not UTF-8 at byte 3"):
        list(open_lines(tmp_path / "t.txt"))
    (tmp_path / "t.txt").write_bytes(b"x" * (MAX_LINE + 2))
    with pytest.raises(DataError, match="a line of more than"):
        list(open_lines(tmp_path / "t.txt"))
    with pytest.raises(UsageError, match="no file"):
        open_lines(tmp_path / "absent.txt")
