from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import diptych
from diptych.api.model import Model
from diptych.core import DiptychError, Run
from tests.support.colours import ColourBackbone, colour_folder

MODEL = Model(ColourBackbone(), Run())


def test_python_returns_vectors_with_names_and_writes_only_where_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = colour_folder(tmp_path / "d", {"": 2}, ["red", "blue"])
    (folder / "red" / "1.png").write_bytes(b"x")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    embeddings = diptych.encode(folder, model=MODEL)
    assert list(Path().iterdir()) == []
    assert embeddings.vectors.shape == (3, 4)
    np.testing.assert_allclose(np.linalg.norm(embeddings.vectors, axis=1), 1, rtol=1e-6)
    assert ["/".join(name.split("/")[-2:]) for name in embeddings.names] == ["blue/0.png", "blue/1.png", "red/0.png"]
    assert [Path(e.name).name for e in embeddings.failed] == ["1.png"]
    table = embeddings.to_pandas()
    assert isinstance(table, pd.DataFrame)
    assert list(table["label"]) == ["blue", "blue", "red"]
    assert (np.stack(list(table["embedding"])) == embeddings.vectors).all()
    written = diptych.encode(folder, "emb", MODEL)
    assert (np.load("emb/img_emb/img_emb_0.npy") == embeddings.vectors).all()
    assert (np.asarray(written) == embeddings.vectors).all()
    assert (written.names, written.out) == (embeddings.names, Path("emb"))
    with pytest.raises(DiptychError, match=r"emb holds embeddings: give another out= or overwrite=\.$"):
        diptych.encode(folder, "emb", MODEL)


def test_texts_and_regions_are_encoded_in_memory(tmp_path: Path) -> None:
    texts = diptych.encode(texts=["red", "blue"], model=MODEL)
    np.testing.assert_allclose(texts.vectors, MODEL.encode_text(["red", "blue"]), rtol=1e-6)
    (tmp_path / "t.txt").write_text("red\n\nblue\n")
    for path in (tmp_path / "t.txt", str(tmp_path / "t.txt")):
        assert diptych.encode(texts=path, model=MODEL).names == ("red", "blue")
    folder = colour_folder(tmp_path / "d", {"": 2}, ["red"])
    (folder / "boxes.csv").write_text("image,x,y,w,h,category\nred/0.png,0,0,2,2,dog\nred/1.png,1,1,3,2,cat\n")
    boxes = diptych.encode(folder, model=MODEL, regions=folder / "boxes.csv")
    assert (boxes.vectors.shape, list(boxes.columns["phrase"])) == ((2, 4), ["a dog", "a cat"])
    assert repr(boxes) == "2 vectors of 4 numbers"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, r"either photos or texts=\."),
        ({"texts": ["red"], "regions": "b.csv"}, "give photos with regions="),
        ({"photos": "x.png", "parquet": True}, "parquet= is a file beside the others: give out="),
        ({"photos": "absent"}, r"; words go to texts=\.$"),
        ({"texts": "absent.txt"}, r"There is no file absent\.txt with texts"),
        ({"texts": [1]}, "A text is a str, not int"),
        ({"texts": ["red", " "]}, r"^texts= holds no words at position 1: leave it out\.$"),
    ],
)
def test_errors_name_the_arguments_of_python(given: dict[str, object], says: str) -> None:
    with pytest.raises(DiptychError, match=says):
        diptych.encode(**given, model=MODEL)  # type: ignore[arg-type]


def test_texts_of_a_generator_are_all_encoded_and_what_has_no_order_is_refused() -> None:
    model = Model(ColourBackbone(), Run())
    rows = diptych.encode(texts=(text for text in ("red", "blue")), model=model)
    np.testing.assert_array_equal(rows, model.encode_text(["red", "blue"]))
    for given in ({"red", "blue"}, {"red": "blue"}):
        with pytest.raises(DiptychError, match="Texts cannot be a"):
            diptych.encode(texts=given, model=model)
        with pytest.raises(DiptychError, match="Texts cannot be a"):
            model.encode_text(given)
