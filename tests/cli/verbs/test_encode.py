from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diptych.data.formats.embeddings import read_embedding_parquet
from tests.support.colours import colour_folder

Cli = Callable[..., Any]


def test_encode_photos_and_texts(diptych: Cli, colours: Path, tmp_path: Path) -> None:
    got = diptych("encode", colours, "--out", "emb", "--json")
    assert got.code == 0
    assert got.data["items"] == 70
    assert np.load("emb/img_emb/img_emb_0.npy").shape == (70, 4)
    assert diptych("encode", colours, "--out", "emb").code == 2
    (tmp_path / "texts.txt").write_text("red\n\nblue\n")
    got = diptych("encode", "--texts", "texts.txt", "--out", "emb2")
    assert got.out == "2 vectors of 4 numbers in emb2\n"
    assert diptych("encode", colours, "--out", "emb3", "--parquet", "--json").code == 0
    table = read_embedding_parquet(tmp_path / "emb3" / "parquet")
    assert table.columns["entity"].values[0].endswith(".png")
    assert (table.items.take(range(70)) == np.load("emb3/img_emb/img_emb_0.npy")).all()
    assert diptych("encode", "--texts", "texts.txt", "--out", "emb4", "--parquet").code == 0
    assert read_embedding_parquet(tmp_path / "emb4" / "parquet").columns["entity"].values.tolist() == ["red", "blue"]
    assert diptych("encode", "--texts", "a red car", "--out", "emb5").out == "1 vector of 4 numbers in emb5\n"
    assert list(pd.read_parquet("emb5/metadata/metadata_0.parquet")["caption"]) == ["a red car"]
    swapped = diptych("encode", "texts.txt", "--out", "emb6")
    assert (swapped.code, "; words go to --texts." in swapped.err) == (1, True)
    (tmp_path / "none.txt").write_text("\n")
    for words in ([], [str(colours), "--texts", "texts.txt"], ["--texts", "absent.txt"], ["absent"]):
        assert diptych("encode", *words).code == 2
    assert diptych("encode", "--texts", "none.txt").code == 1


def test_encode_skips_and_says_so(diptych: Cli, tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "d", {"": 2}, ["red"])
    (folder / "red" / "0.png").write_bytes(b"x")
    got = diptych("encode", folder, "--out", "emb", "--json")
    assert got.code == 3
    assert got.data["items"] == 1


def test_encode_regions(diptych: Cli, tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "d", {"": 2}, ["red"])
    (folder / "boxes.csv").write_text("image,x,y,w,h,category\nred/0.png,0,0,2,2,dog\nred/1.png,1,1,3,2,dog\n")
    got = diptych("encode", folder, "--regions", folder / "boxes.csv", "--out", "emb")
    assert got.out == "2 vectors of 4 numbers in emb\n"
    (tmp_path / "t.txt").write_text("red\n")
    assert diptych("encode", "--texts", "t.txt", "--regions", folder / "boxes.csv").code == 2
    spread = diptych("encode", folder, "--regions", folder / "boxes.csv", "--cluster", "local:2", "--out", "other")
    assert (spread.code, "leave out --cluster" in spread.err) == (2, True)
