from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from PIL import Image

from diptych.core import UnreadableItem
from diptych.tasks.search.entry_picture import picture, picture_size


def test_pictures_come_from_files_and_tars(tmp_path: Path) -> None:
    Image.new("RGB", (5, 4), "red").save(tmp_path / "a.png")
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        tar.add(tmp_path / "a.png", "x/a.png")
    assert picture(str(tmp_path / "a.png")).size == (5, 4)
    assert picture(f"{tmp_path / 'b.tar'}!x/a.png").size == (5, 4)
    assert picture_size(str(tmp_path / "a.png")) == picture_size(f"{tmp_path / 'b.tar'}!x/a.png") == (5, 4)
    for gone in (str(tmp_path / "no.png"), f"{tmp_path / 'b.tar'}!no.png", "nowhere[3]"):
        with pytest.raises(UnreadableItem):
            picture(gone)
        with pytest.raises(UnreadableItem):
            picture_size(gone)


def test_the_size_of_a_photo_is_that_of_the_upright_picture_and_takes_its_header_alone(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.effect_noise((64, 40), 80).convert("RGB").save(tmp_path / "a.jpg", exif=exif)
    assert picture_size(str(tmp_path / "a.jpg")) == picture(str(tmp_path / "a.jpg")).size == (40, 64)
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-200])
    assert picture_size(str(tmp_path / "a.jpg")) == (40, 64)


def test_a_region_is_cut_out_of_its_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (20, 0, 40, 20))
    image.save(path)
    region = picture(f"{path}[20.5,2,30.2,12]")
    assert (region.size, region.getpixel((0, 0))) == ((11, 10), (0, 0, 255))
    with pytest.raises(UnreadableItem):
        picture(f"{tmp_path / 'gone.png'}[0,0,1,1]")


@pytest.mark.parametrize("name", ["s3://bucket/a.tar!b.png", "file:///etc/a.png", "gs://b/a.parquet[3]"])
def test_a_name_that_is_an_address_is_not_fetched(name: str) -> None:
    with pytest.raises(UnreadableItem, match="is an address, which is not fetched"):
        picture(name)
    with pytest.raises(UnreadableItem, match="is an address, which is not fetched"):
        picture_size(name)
