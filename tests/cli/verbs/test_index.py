from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych.search_index.index import Index
from diptych.search_index.rows import Entry
from tests.support.colours import ColourBackbone, coloured
from tests.support.image_files import truncated

Cli = Callable[..., Any]


@pytest.fixture
def photos(diptych: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone())
    folder = tmp_path / "photos"
    for name in ("red", "green", "blue"):
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (30, 20), name).save(folder / name / f"{name}.png")
    return folder


def paths(got: Any) -> list[str]:
    return [Path(r["path"]).name for r in got.data["results"]]


def test_an_unchanged_folder_is_not_read_again_and_changes_additions_and_losses_are_seen(
    diptych: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert diptych("index", photos, "--out", "idx", "--json").data["added"] == 3
    opened: list[Any] = []
    real = Path.open
    import builtins

    plain = builtins.open
    monkeypatch.setattr(
        builtins,
        "open",
        lambda f, *a, **k: (opened.append(f) if str(f).endswith(".png") else None) or plain(f, *a, **k),
    )
    monkeypatch.setattr(
        Path, "open", lambda f, *a, **k: (opened.append(f) if f.suffix == ".png" else None) or real(f, *a, **k)
    )
    for cache in ("cache", "new-cache"):  # also where nothing is remembered outside the index
        got = diptych("index", photos, "--out", "idx", "--json", "--cache", tmp_path / cache)
        assert (got.data["added"], got.data["unchanged"], got.data["encoded"]) == (0, 3, 0)
    assert opened == []
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("diptych.backbones.sources.load.load", lambda name="lite", **more: ColourBackbone())
    monkeypatch.setenv("DIPTYCH_CACHE", str(tmp_path / "cache"))
    Image.new("RGB", (31, 20), "yellow").save(photos / "red" / "red.png")
    Image.new("RGB", (30, 20), "blue").save(photos / "green" / "more.png")
    (photos / "blue" / "blue.png").unlink()
    got = diptych("index", photos, "--out", "idx", "--prune", "--json")
    assert {n: got.data[n] for n in ("entries", "added", "unchanged", "removed")} == {
        "entries": 3,
        "added": 2,
        "unchanged": 1,
        "removed": 1,
    }
    assert paths(diptych("search", "idx", "blue", "--json", "-k", "1")) == ["more.png"]
    gone = diptych("index", "--remove", "*/green/*", "--out", "idx")
    assert "1 entry in idx: 0 added, 1 unchanged, 2 removed" in gone.out


def test_overlapping_inputs_are_taken_in_once_and_a_table_of_pictures_is_not_pruned(diptych: Cli, photos: Path) -> None:
    (photos / "t.csv").write_text("pic,caption\nred/red.png,a red one\n")
    for state in ("added", "unchanged"):
        got = diptych("index", photos, photos / "red", photos / "red" / "red.png", "--out", "idx", "--json")
        assert (got.code, got.data["entries"], got.data[state]) == (0, 3, 3)
    got = diptych("index", photos / "t.csv", "--image", "pic", "--out", "idx", "--prune")
    assert got.code == 2
    assert "--prune cannot tell" in got.err
    assert diptych("index", photos, photos / "t.csv", "--image", "pic", "--out", "idx", "--json").data["entries"] == 3
    assert diptych("search", "idx", "red", "--json", "-k", "1").data["results"][0]["caption"] == "a red one"


def test_an_index_of_another_backbone_is_refused(diptych: Cli, photos: Path) -> None:
    diptych("index", photos, "--out", "idx")
    facts = json.loads(Path("idx/index.json").read_text())
    facts["facts"]["fingerprint"] = "another"
    Path("idx/index.json").write_text(json.dumps(facts))
    for words in (("search", "idx", "red"), ("index", photos, "--out", "idx")):
        got = diptych(*words)
        assert got.code == 2
        assert "was indexed with" in got.err


def test_photos_are_added_with_the_backbone_of_the_index(
    diptych: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load(name: str = "lite", **more: Any) -> ColourBackbone:
        loaded.append(name)
        return ColourBackbone(name=name)

    monkeypatch.setattr("diptych.backbones.sources.load.load", load)
    diptych("index", photos / "red", "--out", "idx", "--backbone", "painted")
    assert diptych("index", photos, "--out", "idx").code == 0
    assert diptych("index", photos, "--out", "idx", "--backbone", "another").code == 0
    assert loaded == ["painted", "painted", "another"]


def test_a_broken_photo_is_named_and_the_rest_is_indexed(diptych: Cli, photos: Path) -> None:
    truncated(photos / "red" / "half.jpg")
    got = diptych("index", photos, "--out", "idx")
    assert got.code == 3
    assert "half.jpg" in got.err
    with Index(Path("idx")) as index:
        assert len(index) == 3
        assert np.isfinite(np.asarray(index.vectors("image"))).all()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["index", "--out", "idx2"], 2, "Nothing to do"),
        (["index", "none", "--out", "idx2"], 2, "no file or folder"),
        (["index", "--remove", "x", "--out", "idx"], 1, "matches"),
        (["index", "photos", "--remove", "x", "--out", "idx"], 2, "in two separate commands"),
        (["index", "photos", "--out", "photos"], 2, "other files"),
        (["search", "none", "red"], 2, "no index at"),
        (["search", "idx", "0:red"], 2, "weight"),
        (["search", "idx", "0.5:"], 2, "words or a picture"),
        (["search", "idx", "gone.jpg"], 2, "no picture"),
        (["search", "idx", "red", "--where", "year"], 2, "--where"),
        (["search", "idx", "red", "--where", "year=1"], 2, "conditions may ask for name, caption"),
        (["search", "idx", "red", "--minus", "red"], 2, "cancel out"),
    ],
)
def test_bad_input_is_one_sentence(diptych: Cli, photos: Path, words: list[str], code: int, says: str) -> None:
    diptych("index", photos, "--out", "idx")
    got = diptych(*words)
    assert got.code == code
    assert says in got.err
    assert got.out == ""


def test_clips_are_taken_in_and_found(diptych: Cli, tmp_path: Path) -> None:
    for colour in ("red", "green"):
        for frame in range(3):
            coloured(tmp_path / "clips" / f"{colour}-clip" / f"{frame}.png", colour, frame)
    made = diptych("index", "clips", "--frames", 2, "--out", "idx", "--json")
    assert made.code == 0, made.err
    assert made.data["entries"] == 2
    again = diptych("index", "clips", "--frames", 2, "--out", "idx", "--json")
    assert (again.data["added"], again.data["unchanged"]) == (0, 2)
    answer = diptych("search", "idx", "green", "--json")
    assert Path(answer.data["results"][0]["path"]).name == "green-clip"
    assert answer.data["backbone"].endswith("+frames2")
    assert diptych("search", "idx", "green", "--html", "page.html").code == 0  # a clip has no thumbnail
    assert "leave them out" in diptych("index", "clips", "--frames", 2, "--caption", "x", "--out", "idx").err
    assert "was indexed with" in diptych("index", "clips", "--frames", 3, "--out", "idx").err


def test_a_tar_with_a_broken_item_is_indexed_without_it(diptych: Cli, photos: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        tar.add(photos / "red" / "red.png", "red.png")
        tar.add(photos / "blue" / "blue.png", "blue.png")
        info = tarfile.TarInfo("blue.json")
        tar.addfile(info)
    for _ in range(2):
        got = diptych("index", "t.tar", "--out", "idx", "--json")
        assert (got.code, got.data["entries"], "blue.json: is no JSON" in got.err) == (3, 1, True)


def test_json_says_what_was_built_for_approximate_search(diptych: Cli, photos: Path, tmp_path: Path) -> None:
    assert diptych("index", photos, "--out", "idx").code == 0
    got = diptych("index", "--out", "idx", "--ann", "--json")
    assert (got.code, got.data) == (0, {"index": "idx", "approximate": {}, "remarks": []}), "too few for one"
    rng = np.random.default_rng(0)
    with Index(tmp_path / "idx") as index:
        names = [Entry(f"{i}", facts={}) for i in range(1100)]
        index.add(names, {"image": (np.arange(1100), rng.normal(size=(1100, 4)).astype(np.float32))})
    got = diptych("index", "--out", "idx", "--ann", "--json")
    assert got.code == 0
    assert got.data["approximate"]["image"]["slots"] >= 1100
    assert 0.9 < got.data["approximate"]["image"]["recall"]["rows"] <= 1


def test_a_flag_that_may_be_repeated_takes_one_value_a_line_from_the_environment(
    diptych: Cli, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert diptych("index", photos, "--out", "idx").code == 0
    monkeypatch.setenv("DIPTYCH_WHERE", "name~*red*\n folder!=a b \n")
    got = diptych("search", "idx", "blue", "--json")
    assert got.data["where"] == ["name~*red*", "folder!=a b"]
    assert paths(got) == ["red.png"]
    got = diptych("search", "idx", "blue", "--json", "--where", "name~*green*")
    assert paths(got) == ["green.png"]


def test_light_curves_without_their_space_are_refused(diptych: Any, tmp_path: Path) -> None:
    (tmp_path / "sky.csv").write_text("star,time,mag\n" + "".join(f"a,{i},{i % 3}\n" for i in range(5)))
    got = diptych("index", tmp_path / "sky.csv")
    assert (got.code, "is no space of them" in got.err) == (2, True)
    (tmp_path / "notes.csv").write_text("number\n1\n")
    assert "neither a picture nor a text" in diptych("index", tmp_path / "notes.csv").err


def test_boxes_are_indexed_and_found_by_words(diptych: Cli, photos: Path) -> None:
    half = Image.new("RGB", (40, 20), "red")
    half.paste("blue", (20, 0, 40, 20))
    half.save(photos / "red" / "both.png")
    table = photos / "boxes.csv"
    table.write_text("path,x0,y0,x1,y1,phrase\nred/both.png,0,0,20,20,left\nred/both.png,20,0,40,20,right\n")
    answer = diptych("index", photos, "--regions", table, "--out", "idx")
    assert (answer.code, "2 entries in idx: 2 added" in answer.out) == (0, True)
    assert paths(diptych("search", "idx", "blue", "--json", "-k", "1")) == ["both.png[20,0,40,20]"]
    assert paths(diptych("search", "idx", "red", "--where", "x0<10", "--json", "-k", "1")) == ["both.png[0,0,20,20]"]
    again = diptych("index", photos, "--regions", table, "--out", "idx", "--json").data
    assert (again["added"], again["unchanged"]) == (0, 2)
    page = diptych("search", "idx", "blue", "--html", "found.html")
    assert page.code == 0
    assert diptych("index", photos, "--regions", table, "--frames", "2", "--out", "other").code == 2


def test_vectors_of_encode_are_indexed_as_the_photos_themselves(diptych: Cli, photos: Path) -> None:
    diptych("encode", photos, "--out", "emb", "--parquet")
    got = diptych("index", "emb", "--out", "stored", "--json")
    assert (got.code, got.data["added"], got.data["encoded"]) == (0, 3, 0)
    diptych("index", photos, "--out", "own")
    scores = [
        {Path(r["path"]).name: r["score"] for r in diptych("search", index, "red", "--json").data["results"]}
        for index in ("stored", "own")
    ]
    assert scores[0] == scores[1]
    assert diptych("index", "emb", "--out", "stored", "--json").data["unchanged"] == 3
    facts = diptych("search", "stored", "red", "--where", "label=green", "--json").data["results"]
    assert [Path(r["path"]).name for r in facts] == ["green.png"]
    nemo = diptych("index", "emb/parquet", "--out", "nemo")
    assert "Nothing says which backbone made these vectors: words are compared by lite." in nemo.err
    assert "3 entries in nemo" in nemo.out


def test_vectors_that_do_not_fit_are_refused_and_damaged_ones_are_named(diptych: Cli, photos: Path) -> None:
    diptych("encode", photos, "--out", "emb")
    vectors = np.load("emb/img_emb/img_emb_0.npy")
    vectors[1] = np.nan
    np.save("emb/img_emb/img_emb_0.npy", vectors)
    got = diptych("index", "emb", "--out", "idx", "--json")
    assert (got.code, got.data["entries"]) == (3, 2)
    assert got.data["skipped"][0]["reason"] == "its stored vector is zero or not finite"
    both = diptych("index", "emb", photos, "--out", "both")
    assert (both.code, "indexed a source at a time" in both.err) == (2, True)
    for change, words in (({"fingerprint": "x"}, "was encoded with"), ({"decode": "draft"}, "decode draft, not exact")):
        facts = json.loads(Path("emb/encode.json").read_text())
        Path("emb/encode.json").write_text(json.dumps(facts | change))
        got = diptych("index", "emb", "--out", "other")
        assert (got.code, words in got.err) == (2, True), got.err
        Path("emb/encode.json").write_text(json.dumps(facts))
    Path("emb/encode.json").unlink()
    np.save("emb/img_emb/img_emb_0.npy", np.ones((3, 7), np.float32))
    got = diptych("index", "emb", "--out", "wide")
    assert (got.code, "vectors of 7 numbers" in got.err) == (2, True)


def test_an_index_lives_at_an_address(diptych: Cli, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("lance", reason="needs the extra 'lance'")
    address = f"lance:{tmp_path}/pets"
    first = diptych("index", photos, "--out", address)
    assert first.out == f"3 entries in {address}: 3 added, 0 unchanged, 0 removed\n"
    again = diptych("index", photos, "--out", address, "--json")
    assert (again.data["index"], again.data["unchanged"], again.data["encoded"]) == (address, 3, 0)
    for words in ((address, "blue"), ("blue", address)):
        assert paths(diptych("search", *words, "--top", "1", "--json")) == ["blue.png"]
    assert paths(diptych("search", address, "blue", "--where", "name~*/red*", "--json")) == ["red.png"]
    refused = diptych("index", photos, "--out", address, "--export", "copy.parquet")
    assert refused.code == 2
    assert f"other tools open {address} as it is: leave it out" in " ".join(refused.err.split())
    few = diptych("index", "--out", address, "--ann", "--json")
    assert (few.code, few.data["approximate"]) == (0, {})
    assert diptych("index", "--remove", "*/red.png", "--out", address, "--json").data["entries"] == 2
    absent = diptych("search", f"lance:{tmp_path}/none", "blue")
    assert absent.code == 2
    assert "There is no index at lance:" in absent.err
    assert sorted(p.name for p in (tmp_path / "pets").iterdir()) == ["entries.lance", "notes.lance"]
    assert not list(tmp_path.glob("*.lock"))
