"""The verbs answer as their tasks do, from plain values."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import diptych
from diptych.api.loading import model_of
from diptych.api.model import Model
from diptych.core import ClassNames, DataError, DiptychError, MissingHook, Subset, UsageError
from diptych.data.load import open_data
from diptych.data.memory import InMemory
from diptych.tasks.caption import Captions
from diptych.tasks.classify import classify as classify_task
from diptych.tasks.detect import Detected
from diptych.tasks.edit import Pair
from diptych.tasks.label_maps.segmented import Segmented
from tests.support.colours import COLOURS, ColourBackbone
from tests.support.dense_colours import DenseColours, halves

NAMES = sorted(COLOURS)


def coloured(name: str) -> np.ndarray:
    return np.full((8, 8, 3), COLOURS[name], np.uint8)


def test_classify_equals_its_task(colours: Path, model: Model) -> None:
    results = diptych.classify(colours, model=model)
    data = open_data(colours, need="photos")
    plain = classify_task(data.whole().items, ClassNames.of(NAMES, results.data["templates"]), ColourBackbone())
    assert results.items == plain.predictions
    assert results.as_dict()["predictions"] == [p.as_dict() for p in plain.predictions]
    assert results.labels[0] == results[0].top[0][0]
    assert np.asarray(results.picture(3)).shape == (12, 12, 3)  # type: ignore[misc]


@pytest.mark.parametrize("names", ["red, blue", ["red", "blue"], ClassNames(("red", "blue")), "names.txt"])
def test_classify_takes_names_and_photos_as_they_come(names: object, model: Model) -> None:
    Path("names.txt").write_text("red\nblue\n")
    photos = [coloured("blue"), Image.fromarray(coloured("red"))]
    results = diptych.classify(photos, names, model)  # type: ignore[arg-type]
    assert results.labels == ("blue", "red")
    assert repr(results).splitlines()[1].startswith("0  blue ")


def test_a_prediction_names_its_first_class(model: Model) -> None:
    results = diptych.classify(coloured("red"), ["red", "blue"], model)
    assert (results[0].label, results[0].probability) == results[0].top[0]
    none = diptych.classify(coloured("red"), ["red", "blue"], model, threshold=1.0)[0]
    assert (none.label, str(none.probability)) == ("", "nan")


def test_classify_needs_names_and_says_so(model: Model) -> None:
    with pytest.raises(UsageError, match='give names=, such as "cat, dog"'):
        diptych.classify(coloured("red"), model=model)


def test_unreadable_photos_are_named_and_left_out(tmp_path: Path, model: Model) -> None:
    Image.fromarray(coloured("red")).save(tmp_path / "b.png")
    for name in ("a.png", "c.png"):
        (tmp_path / name).write_bytes(b"no picture")
    results = diptych.classify(tmp_path, ["red", "blue"], model)
    assert ([Path(n).name for n in results.paths], len(results.failed)) == (["b.png"], 2)
    assert np.array_equal(np.asarray(results.picture(0)), coloured("red"))  # type: ignore[misc]


def test_a_system_may_be_a_slug_or_an_object(colours: Path, model: Model) -> None:
    said = [
        diptych.classify(colours, model=model, method=m).labels
        for m in ("perceptionclip", diptych.systems.PerceptionCLIP(), diptych.systems.PerceptionCLIP().method)
    ]
    assert said[0] == said[1] == said[2]
    with pytest.raises(UsageError, match="gda learns from photos"):
        diptych.classify(colours, model=model, method="gda")


def test_what_cannot_be_a_method_is_named(colours: Path, model: Model) -> None:
    data = diptych.open_data(colours)
    fitted = diptych.systems.GDA(alpha=1.0).fit(model, data["train"])
    with pytest.raises(UsageError, match=r"not Predictor: what is fitted answers by itself, with \.predict"):
        diptych.classify(colours, model=model, method=fitted)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"GDA is a class, not a system: write GDA\(\)\."):
        diptych.classify(colours, model=model, method=diptych.systems.GDA)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"by their slugs, not GDA\(alpha=1\.0"):
        diptych.board(colours, model, methods=[diptych.systems.GDA(alpha=1.0)])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="nearest names are gda"):
        diptych.board(colours, model, methods=["GDA"])


def test_one_text_is_no_list_of_letters(model: Model) -> None:
    assert diptych.encode(texts="red", model=model).names == ("red",)
    for words in ("a red cat", ["a red cat", "a blue dog"]):
        with pytest.raises(DiptychError, match=r"words go to texts=\.$"):
            diptych.encode(words, model=model)


def test_one_sentence_is_no_file(model: Model) -> None:
    with pytest.raises(UsageError, match="no file 'a red square' of sentences: write one per line into a text file"):
        diptych.caption(coloured("red"), "a red square", model)


def test_caption_takes_sentences(model: Model) -> None:
    found = diptych.caption([coloured("red"), coloured("blue")], ["a red wall", "a blue wall"], model, rate=None)
    assert found.labels == ("a red wall", "a blue wall")
    assert found[0] == ("a red wall",)
    Path("s.txt").write_text("a red wall\na blue wall\n")
    assert diptych.caption(coloured("blue"), "s.txt", model, rate=None).labels == ("a blue wall",)


def test_segment_and_detect_name_what_is_missing(model: Model) -> None:
    with pytest.raises(MissingHook, match="colours"):
        diptych.segment(coloured("red"), ["red"], model)
    with pytest.raises(UsageError, match="Say what is normal"):
        diptych.detect(coloured("red"), model)


def test_index_and_search(colours: Path, model: Model) -> None:
    report = diptych.index(colours, "idx", model)
    assert report.entries == 90
    found = diptych.search("idx", "red", model, top=5)
    assert all("/red/" in name for name in found.paths)
    assert diptych.search("idx", coloured("blue"), model, top=1)[0].entry.name.split("/")[-2] == "blue"
    assert diptych.search("idx", ["red", found.paths[0]], model, top=1).paths[0].count("/red/") == 1
    assert found.picture(0).size == (12, 12)  # type: ignore[misc]
    with pytest.raises(UsageError, match="not None"):
        diptych.search("idx", None, model)
    with pytest.raises(UsageError, match="top= must be at least 1, got 0"):
        diptych.search("idx", "red", model, top=0)
    with pytest.raises(UsageError, match=r"give the paths, df\['path'\]"):
        diptych.index(pd.DataFrame({"path": ["a.png"]}), "idx", model)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="An index holds files, not a ndarray"):
        diptych.index([coloured("red")], "idx", model)  # type: ignore[list-item]


def test_an_index_brings_its_own_model(colours: Path) -> None:
    diptych.index(colours, "idx", diptych.load("colours", engine="torch"))
    assert "/green/" in diptych.search("idx", "green", top=1).paths[0]


def test_encode_writes_the_vectors_that_the_model_gives(colours: Path, model: Model) -> None:
    embeddings = diptych.encode(colours, "e", model)
    written = np.load("e/img_emb/img_emb_0.npy")
    assert written.shape == (len(embeddings), 4)
    np.testing.assert_allclose(written, model.encode_image(colours), rtol=1e-6)
    diptych.encode(texts=["red", "blue"], out="t", model=model)
    np.testing.assert_allclose(np.load("t/text_emb/text_emb_0.npy"), model.encode_text(["red", "blue"]), rtol=1e-6)
    diptych.encode([coloured("red")], "m", model)
    with pytest.raises(UsageError, match="either photos or texts"):
        diptych.encode(model=model)


def test_board(colours: Path, model: Model) -> None:
    finished_board = diptych.board(colours, model, methods=["zero-shot", "gda"], shots=[1], seeds=[1], out="board")
    assert [r.method for r in finished_board] == ["zero-shot", "zero-shot", "gda"]
    assert list(finished_board.columns["acc1"]) == [r.metrics["acc1"] for r in finished_board]
    assert finished_board.as_dict()["kind"] == "board"
    assert Path("board/board.json").is_file()
    one = diptych.board(colours, model, methods="zero-shot,gda", shots=1000, seeds=1)
    assert list(one.to_pandas())[:2] == ["system", "method"]
    assert "left out: GDA, 1,000 shots" in repr(one)
    with pytest.raises(DataError, match=r"Nothing could be measured on colours: .* after 1000 shots"):
        diptych.board(colours, model, methods="gda", shots=1000, seeds=1)


def test_audit_needs_captions(model: Model) -> None:
    with pytest.raises(DataError, match="1 values for 2 items"):
        diptych.audit([coloured("red"), coloured("blue")], ["a red wall"], model)


def test_open_data_takes_tables_by_column(tmp_path: Path) -> None:
    Image.fromarray(coloured("red")).save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("picture,said\na.png,a red wall\n")
    data = diptych.open_data(tmp_path / "t.csv", need="captions", image="picture", text="said")
    assert [list(c) for c in data["test"].columns["captions"].values] == [["a red wall"]]
    assert diptych.open_data(data) is data


def test_segment_and_detect_write_the_files_of_the_command(tmp_path: Path) -> None:
    model, photos = model_of(DenseColours()), [np.asarray(halves("red", "blue", 60, 40))] * 2
    maps = diptych.segment(photos, ["red", "blue"], model, method="maskclip", out=tmp_path / "maps")
    files = ["0.json", "0.labels.png", "0.overlay.png", "1.json", "1.labels.png", "1.overlay.png"]
    assert sorted(p.name for p in (tmp_path / "maps").iterdir()) == files
    assert (np.asarray(Image.open(tmp_path / "maps" / "0.labels.png")) == maps[0].labels).all()
    with pytest.raises(UsageError, match=r"0.overlay.png exists: give another out= or overwrite="):
        diptych.segment(photos, ["red", "blue"], model, method="maskclip", out=tmp_path / "maps")
    normal = [np.asarray(halves("red", "green", 60, 40))] * 2
    heat = diptych.detect(photos, model, normal=normal, out=str(tmp_path / "heat"))
    assert sorted(p.name for p in (tmp_path / "heat").iterdir()) == ["0.heat.png", "1.heat.png", "detect.json"]
    assert heat[0].shown().size[1] > 40  # the score stands below the photo


def test_results_of_pictures_answer_names_of_other_libraries(model: Model) -> None:
    segmented = Segmented("a", halves("red", "blue", 6, 4), np.zeros((4, 6), np.uint8), ("red",))
    detected = Detected("a", Subset(InMemory((segmented.image,)), (0,)), 1.0, None, None)
    pair, sentences = Pair("a", None, torch.zeros(3, 4, 4)), Captions(("A cat.",), "a")
    for item, name, hint in (
        (segmented, "save", 'use shown().save("overlay.png"), or out= of the function.'),
        (segmented, "boxes", "use segments(), with things=."),
        (detected, "anomaly_map", "use map."),
        (detected, "is_anomaly", "use flagged, with rate=."),
        (detected, "heatmap", "use shown()."),
        (pair, "save", 'use image().save("picture.png"), or out= of the function.'),
        (pair, "images", "use result()."),
        (sentences, "text", "use [0], the best one."),
    ):
        with pytest.raises(AttributeError, match=re.escape(f"has no {name!r}: {hint}")):
            getattr(item, name)
    copied = pickle.loads(pickle.dumps(sentences))
    assert (copied, copied.name, pickle.loads(pickle.dumps(detected)).name) == (("A cat.",), "a", "a")


def test_a_text_where_a_number_stands_is_outside_its_range(model: Model) -> None:
    with pytest.raises(UsageError, match=r"n= must be at least 1, got \['a red wall'\]"):
        diptych.caption(coloured("red"), ["a red wall"], model, captions=["a red wall"])  # type: ignore[call-arg]
