from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from diptych.core import Column, DataError, UnreadableItem
from diptych.data.formats import taught
from diptych.data.formats.taught import OF_IMAGE, OF_TEXTS, arrays, taught_columns, vectors


def npz(**named: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **named)
    return file.getvalue()


def test_rows_get_a_vector_of_the_picture_and_one_per_caption() -> None:
    columns = {
        "captions": Column("captions", (("a",), ("b", "c"))),
        "synthetic": Column("captions", (("d",), ())),
    }
    cells = {
        "image_emb": [[9.0, 9.0], [1.0, 2.0], [3.0, 4.0]],
        "text_emb": [[], [[1.0, 0.0], [0.0, 1.0]], [5.0, 6.0, 7.0, 8.0]],
    }
    stored = taught_columns(cells, [1, 2], "t.parquet", columns)
    assert [v.tolist() for v in stored[OF_IMAGE].values] == [[1.0, 2.0], [3.0, 4.0]]
    assert [v.tolist() for v in stored[OF_TEXTS].values] == [[[1.0, 0.0], [0.0, 1.0]], [[5.0, 6.0], [7.0, 8.0]]]


def test_a_table_with_vectors_of_one_side_has_none() -> None:
    columns = {"captions": Column("captions", (("a",),))}
    assert taught_columns({"image_emb": [[1.0]]}, [0], "t.csv", columns) == {}


@pytest.mark.parametrize(
    ("image", "texts"),
    [
        ([1.0, 2.0], [[1.0, 2.0, 3.0]]),
        ([], []),
        ([[1.0], [2.0]], [[1.0]]),
        ([1.0, float("nan")], [[1.0, 2.0]]),
        (["x", "y"], [[1.0, 2.0]]),
    ],
)
def test_vectors_of_other_sizes_are_refused_by_the_row(image: object, texts: object) -> None:
    with pytest.raises(DataError, match=r"^Row 3 has teachers' vectors of the sizes .+ and 1 captions"):
        vectors(image, texts, 1, "Row 3")


def test_arrays_are_read_by_their_usual_names() -> None:
    content = npz(image_emb=np.ones(2), text_emb=np.zeros((1, 2)), other=np.ones(1))
    unpacked = arrays(content, "x.npz")
    assert set(unpacked) == {OF_IMAGE, OF_TEXTS}
    assert unpacked[OF_IMAGE].tolist() == [1.0, 1.0]


def test_members_without_arrays_are_skipped_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnreadableItem, match="has no teacher_image and teacher_text, only image_emb"):
        arrays(npz(image_emb=np.ones(2)), "x.npz")
    with pytest.raises(UnreadableItem, match="holds no arrays"):
        arrays(b"no zip file", "x.npz")
    pickled = io.BytesIO()
    np.savez(pickled, allow_pickle=True, image_emb=np.array([{}], dtype=object), text_emb=np.ones(1))
    with pytest.raises(UnreadableItem, match="holds no arrays"):
        arrays(pickled.getvalue(), "x.npz")
    monkeypatch.setattr(taught, "MOST", 100)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("image_emb.npy", bytes(10_000))
    with pytest.raises(UnreadableItem, match="unpacks to more than 100 bytes"):
        arrays(packed.getvalue(), "x.npz")
