"""Vectors of regions, by crops and by a prompter that was saved with its model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from diptych.backbones.sources.save import save
from diptych.core import Column, DataError, Run, Table, UsageError
from diptych.data.formats.regions import boxes
from diptych.data.load import open_data
from diptych.data.region_items import Regions
from diptych.features.embed import embed
from diptych.features.whole_and_cells import whole_and_cells
from diptych.nn.dense.prompter import Prompter
from diptych.nn.dense.region_encoder import region_space
from diptych.tasks.encode.regions import encode_regions
from diptych.tasks.regions import RegionSource, prompter_of
from tests.support.colours import COLOURS, ColourBackbone
from tests.support.small_clip import small_clip


def regions(corners: list[list[float]]) -> dict[str, Column]:
    said = Column("captions", (("a thing",) * len(corners),))
    return {"boxes": Column("boxes", (boxes(corners, "xyxy", [-1] * len(corners)),)), "phrases": said}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    picture = Image.new("RGB", (40, 20), COLOURS["red"])
    picture.paste(COLOURS["blue"], (20, 0, 40, 20))
    picture.save(folder / "a.png")
    Image.new("RGB", (8, 8)).save(folder / "b.png")
    (folder / "broken.png").write_bytes(b"x")
    rows = ["a.png,0,0,20,20,left", "a.png,20,0,40,20,right", "broken.png,0,0,1,1,none"]
    (folder / "boxes.csv").write_text("\n".join(["image,x0,y0,x1,y1,phrase", *rows]))
    return folder


def test_crops_have_the_colours_of_the_boxes(photos: Path, tmp_path: Path) -> None:
    data, out = RegionSource.open(open_data(photos), photos / "boxes.csv", "lite"), tmp_path / "out"
    made = encode_regions(data, ColourBackbone(), Run(), out)
    assert (made.items, len(made.failed)) == (2, 1)
    texts = ColourBackbone().text
    words = normalize(texts.encode(texts.inputs(list(COLOURS))), dim=-1).numpy()
    found = np.load(out / "img_emb" / "img_emb_0.npy")
    assert [list(COLOURS)[k] for k in (found @ words.T).argmax(1)] == ["red", "blue"]
    table = pq.read_table(out / "metadata" / "metadata_0.parquet").to_pydict()
    assert (table["phrase"], table["x0"]) == (["left", "right"], [0.0, 20.0])
    with pytest.raises(UsageError, match="holds embeddings"):
        encode_regions(data, ColourBackbone(), Run(), out)
    assert [e.name for e in made.failed] == [str(photos / "broken.png")]


def test_nothing_to_read_is_an_error(photos: Path, tmp_path: Path) -> None:
    (photos / "boxes.csv").write_text("image,x0,y0,x1,y1,phrase\nbroken.png,0,0,1,1,none")
    told = RegionSource.open(open_data(photos), photos / "boxes.csv", "lite")
    with pytest.raises(DataError, match="can be read"):
        encode_regions(told, ColourBackbone(), Run(), tmp_path / "out")


def test_a_saved_prompter_is_found_by_the_name_of_its_model(photos: Path, tmp_path: Path) -> None:
    space = small_clip(tmp_path / "clip")
    picture = Image.open(photos / "a.png").convert("RGB")
    _, cells = whole_and_cells(space, space.image.inputs([picture]))
    prompter = Prompter(cells.shape[1], space.spec.dim).eval()
    save(space, tmp_path / "model", {"prompter": prompter})
    again = prompter_of(f"local:{tmp_path / 'model'}")
    assert again is not None
    assert prompter_of("lite") is prompter_of(f"local:{tmp_path / 'clip'}") is None
    rows = Table(open_data(photos / "a.png").whole().items, regions([[10.0, 0.0, 20.0, 10.0]]))
    encoder = region_space(space, again).image
    found = normalize(embed(encoder, Regions.of([rows], cut=False), Run()), dim=-1).numpy()
    side = torch.tensor([[0.0, 0.0, 0.5, 0.5]])  # of the middle square, which the tower sees
    expected = normalize(prompter.boxes(cells, side, torch.tensor([0])), dim=-1)
    np.testing.assert_allclose(found, expected.detach().numpy(), atol=1e-5)
