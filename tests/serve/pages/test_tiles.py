from __future__ import annotations

from diptych.metrics.cut import Cut
from diptych.search_index.rows import Entry, Hit
from diptych.serve.pages.tiles import Contents, Tile
from diptych.tasks.search.ask import Answer
from diptych.tasks.search.marks import CutAnswers


def test_a_tile_names_its_picture_shortly_and_leaves_empty_facts_out() -> None:
    entry = Entry("/data/photos.tar!a/b.jpg", facts={"folder": "a", "year": 1990, "by": "", "kind": "x" * 300})
    tile = Tile.of(7, entry)
    assert (tile.number, tile.name, tile.path) == (7, "b.jpg", "/data/photos.tar!a/b.jpg")
    assert (tile.text, tile.caption) == ("b.jpg", "")
    assert tile.facts.startswith("year 1990 · kind xxx")
    assert len(tile.facts) == 200
    assert Tile.of(7, Entry("b.jpg", caption="a red bus")).text == "a red bus"


def test_chosen_answers_keep_their_order_and_lose_the_cut() -> None:
    entries = [Entry(f"{i}.jpg") for i in range(4)]
    cut = CutAnswers(Cut(0.8, 0.2, 0.8, 0.7, 0.9, 9, 200, 20, 4), "people", (0.9, 0.8, 0.7, 0.6))
    answer = Answer(
        tuple(Hit(e, 0.9 - i / 10) for i, e in enumerate(entries)), (), {"image": 1.0}, (), 4, "photos", "lite",
        cut=cut,
    )  # fmt: skip
    found = Contents(tuple(Tile.of(10 + i, e) for i, e in enumerate(entries)), answer)
    chosen = found.chosen([13, 11, 99])
    assert [tile.number for tile in chosen.tiles] == [11, 13]
    assert chosen.answer is not None
    assert [row["path"] for row in chosen.answer.as_dict()["results"]] == ["1.jpg", "3.jpg"]
    assert chosen.answer.cut is None  # its shares are those of all answers
    assert Contents(found.tiles).chosen([11]).answer is None
