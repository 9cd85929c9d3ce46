from __future__ import annotations

import contextlib
import os
import pickle
import struct
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from diptych.core import PixelRecipe, UnreadableItem
from diptych.data.images import (
    decode_image,
    drafts,
    exif_orientation,
    header_pixels,
    image_size,
    open_image,
    open_mask,
    upright_rgb,
)
from diptych.data.named_sets import demo_folder
from diptych.data.pixels import fit
from tests.support import image_files as make


def pixels(image: Image.Image) -> np.ndarray:
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "JPEG2000"])
def test_lossless_formats_come_back_bit_for_bit(tmp_path: Path, kind: str) -> None:
    make.gradient().save(tmp_path / "x", kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(pixels(open_image(tmp_path / "x")), np.asarray(make.gradient()))


def test_jpeg_equals_pillow(tmp_path: Path) -> None:
    make.gradient().save(tmp_path / "x.jpg")
    with Image.open(tmp_path / "x.jpg") as image:
        assert np.array_equal(pixels(open_image(tmp_path / "x.jpg")), np.asarray(image))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(tmp_path: Path, kind: str, orientation: int) -> None:
    path = make.turned(tmp_path / "x", orientation, kind)
    got = open_image(path)
    with Image.open(path) as image:
        assert np.array_equal(pixels(got), np.asarray(ImageOps.exif_transpose(image).convert("RGB")))
    assert np.array_equal(pixels(got), np.asarray(ImageOps.exif_transpose(got))), (
        "the orientation was left in the result"
    )
    assert image_size(path) == got.size == ((30, 40) if orientation >= 5 else (40, 30))


@pytest.mark.parametrize(
    "block", [b"", b"Exif\0\0", b"MM\0*", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff\x12\x01", b"nonsense" * 9]
)
def test_damaged_exif_means_upright(block: bytes) -> None:
    assert exif_orientation(block) == 1


def test_damaged_exif_does_not_cost_the_photo(tmp_path: Path) -> None:
    make.gradient().save(tmp_path / "x.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x40\0\x12\x01")
    assert open_image(tmp_path / "x.jpg").size == (40, 30)


def test_cmyk(tmp_path: Path) -> None:
    got = pixels(open_image(make.cmyk(tmp_path / "x.jpg"))).astype(int)
    assert np.abs(got - np.asarray(make.gradient()).astype(int)).mean() < 3


def test_palette(tmp_path: Path) -> None:
    want = np.asarray(make.gradient().quantize(64).convert("RGB"))
    assert np.array_equal(pixels(open_image(make.palette(tmp_path / "x.png"))), want)


def test_transparent_palette_entry_becomes_white(tmp_path: Path) -> None:
    got = pixels(open_image(make.palette(tmp_path / "x.png", transparent=True)))
    index = np.asarray(make.gradient().quantize(64))
    assert (got[index == index[0, 0]] == 255).all()
    assert not (got[index != index[0, 0]] == 255).all()


def test_sixteen_bit_is_scaled_not_clipped(tmp_path: Path) -> None:
    for name in ("x.png", "x.tif"):
        got = pixels(open_image(make.sixteen_bit(tmp_path / name)))
        assert np.array_equal(got[0, :, 0], np.arange(256))  # 65535 / 255 = 257 exactly


@pytest.mark.parametrize(
    ("values", "want"),
    [
        (np.array([[0, 65535]], dtype=np.int32), [0, 255]),
        (np.array([[0, 100, 255]], dtype=np.int32), [0, 100, 255]),
        (np.array([[0, 256]], dtype=np.int32), [0, 1]),
        (np.array([[-100_000, 0, 100_000]], dtype=np.int32), [0, 128, 255]),
        (np.array([[0.0, 0.5, 1.0]], dtype=np.float32), [0, 128, 255]),
        (np.array([[0.0, 100.0, 255.0]], dtype=np.float32), [0, 100, 255]),
        (np.array([[-1.0, 1.0]], dtype=np.float32), [0, 255]),
        (np.array([[7.0, 7.0]], dtype=np.float32), [7, 7]),
    ],
)
def test_wide_greys(tmp_path: Path, values: np.ndarray, want: list[int]) -> None:
    Image.fromarray(values).save(tmp_path / "x.tif")
    assert np.abs(pixels(open_image(tmp_path / "x.tif"))[0, :, 0].astype(int) - want).max() <= 1


def test_a_dark_picture_of_sixteen_bits_stays_dark(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 255]], dtype=np.uint16)).save(tmp_path / "x.png")
    (tmp_path / "x.pgm").write_bytes(b"P5 2 1 65535\n" + np.array([0, 255], dtype=">u2").tobytes())
    for name in ("x.png", "x.pgm"):
        assert pixels(open_image(tmp_path / name))[0, :, 0].tolist() == [0, 1]


def test_whole_numbers_in_memory_are_bytes_where_all_fit() -> None:
    grey = Image.fromarray(np.array([[0, 100, 255]], dtype=np.uint8))
    assert pixels(upright_rgb(grey.convert("I")))[0, :, 0].tolist() == [0, 100, 255]


def test_nan_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.array([[np.nan, 1.0]], dtype=np.float32)).save(tmp_path / "x.tif")
    with pytest.raises(UnreadableItem, match="not finite"):
        open_image(tmp_path / "x.tif")


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_on_white(tmp_path: Path, mode: str) -> None:
    colour = (200, 100, 0) if mode == "RGBA" else (200,)
    image = Image.new(mode, (3, 1))
    for x, alpha in enumerate((0, 128, 255)):
        image.putpixel((x, 0), (*colour, alpha))
    image.save(tmp_path / "x.png")
    got = pixels(open_image(tmp_path / "x.png"))[0].astype(float)
    alpha = np.array([[0.0], [128 / 255], [1.0]])
    want = alpha * np.array(colour if mode == "RGBA" else colour * 3) + (1 - alpha) * 255
    assert np.abs(got - want).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_and_bilevel(tmp_path: Path, mode: str) -> None:
    make.gradient().convert(mode).save(tmp_path / "x.png")
    assert np.array_equal(
        pixels(open_image(tmp_path / "x.png")), np.asarray(make.gradient().convert(mode).convert("RGB"))
    )


@pytest.mark.parametrize("name", ["x.gif", "x.webp", "x.png"])
def test_first_frame_of_an_animation(tmp_path: Path, name: str) -> None:
    got = pixels(open_image(make.animated(tmp_path / name))).reshape(-1, 3).mean(0)
    assert np.abs(got - [255, 0, 0]).max() < 3


def heic(path: Path) -> Path:
    path.write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 40)
    return path


def damaged(path: Path) -> Path:
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\1" * 60)
    return path


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    ("maker", "reason"),
    [
        (make.truncated, "truncated JPEG"),
        (make.empty, "empty file"),
        (make.not_a_picture, "not a picture"),
        (make.bomb, "60,000 x 60,000 pixels, more than the limit of 178,956,970"),
        (heic, "HEIC"),
        (damaged, "damaged PNG"),
        (folder, "a folder"),
        (pipe, "not a regular file"),
        (lambda path: path, "no such file"),
    ],
)
def test_unreadable_files_say_why(tmp_path: Path, maker: Callable[[Path], Path], reason: str) -> None:
    path = maker(tmp_path / "x.jpg")
    with pytest.raises(UnreadableItem, match=reason) as caught:
        open_image(path)
    assert caught.value.name == str(path)
    assert pickle.loads(pickle.dumps(caught.value)).reason == caught.value.reason


def test_limit_is_the_callers(tmp_path: Path) -> None:
    make.photo(tmp_path / "x.png")
    assert open_image(tmp_path / "x.png", max_pixels=1200).size == (40, 30)
    with pytest.raises(UnreadableItem, match="limit of 1,199"):
        open_image(tmp_path / "x.png", max_pixels=1199)


def test_a_strip_is_refused_and_a_panorama_is_read(tmp_path: Path) -> None:
    for name, size in (("strip.png", (501, 1)), ("upright.png", (2, 1001)), ("panorama.png", (500, 1))):
        Image.new("RGB", size).save(tmp_path / name)
    for name in ("strip.png", "upright.png"):
        with pytest.raises(UnreadableItem, match="one side is more than 500 times the other: cut it into pieces"):
            open_image(tmp_path / name)
    assert open_image(tmp_path / "panorama.png").size == (500, 1)


@pytest.mark.parametrize("keep", [3, 9, 40, 100, 300])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000"])
def test_any_cut_is_an_unreadable_item_or_a_picture(tmp_path: Path, kind: str, keep: int) -> None:
    make.photo(tmp_path / "whole", seed=1)
    with Image.open(tmp_path / "whole") as image:
        image.save(tmp_path / "x", kind)
    (tmp_path / "x").write_bytes((tmp_path / "x").read_bytes()[:keep])
    with pytest.raises(UnreadableItem):
        open_image(tmp_path / "x")


def test_flipped_bytes_never_escape_as_another_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "GIF", "TIFF", "WEBP"):
        make.gradient().save(tmp_path / "good", kind)
        good = np.frombuffer((tmp_path / "good").read_bytes(), dtype=np.uint8)
        for _ in range(60):
            bad = good.copy()
            bad[rng.integers(0, good.size, 8)] = rng.integers(0, 256, 8)
            (tmp_path / "bad").write_bytes(bad.tobytes())
            try:
                open_image(tmp_path / "bad", max_pixels=1_000_000)
            except UnreadableItem:
                continue


def test_process_wide_state_stays(tmp_path: Path) -> None:
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        for maker in (make.bomb, make.truncated, make.sixteen_bit):
            path = tmp_path / f"{maker.__name__}.tif" if maker is make.sixteen_bit else tmp_path / maker.__name__
            try:
                open_image(maker(path))
            except UnreadableItem:
                continue
        with pytest.raises(UnreadableItem):  # between Pillow's warning and Pillow's error
            open_image(make.bomb(tmp_path / "middle", 15_000, 15_000))
    assert heard == []
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before


def test_nothing_stays_open(tmp_path: Path) -> None:
    image = open_image(make.photo(tmp_path / "x.png"))
    (tmp_path / "x.png").unlink()
    assert image.getpixel((0, 0)) is not None


def jpeg(path: Path, size: tuple[int, int]) -> Path:
    make.gradient(*size).save(path, quality=90)
    return path


@pytest.mark.parametrize(
    ("size", "drafted"),
    [((800, 600), (400, 300)), ((1600, 1200), (400, 300)), ((3200, 2400), (400, 300)), ((598, 598), (598, 598)),
     ((801, 600), (801, 600)), ((804, 1206), (402, 603))],
)  # fmt: skip
def test_a_draft_keeps_the_sides_that_were_asked_for_and_divides_evenly(
    tmp_path: Path, size: tuple[int, int], drafted: tuple[int, int]
) -> None:
    path = jpeg(tmp_path / "x.jpg", size)
    with drafts(300):
        assert open_image(path).size == drafted
    assert open_image(path).size == size


def test_drafts_are_of_jpeg_only_and_of_this_thread(tmp_path: Path) -> None:
    make.gradient(800, 600).save(tmp_path / "x.png")
    path = jpeg(tmp_path / "x.jpg", (800, 600))
    with drafts(300), ThreadPoolExecutor(1) as pool:
        assert open_image(tmp_path / "x.png").size == (800, 600)
        assert pool.submit(open_image, path).result().size == (800, 600)


def test_a_draft_of_a_turned_photo_is_turned_too(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    make.gradient(800, 400).save(tmp_path / "x.jpg", exif=exif)
    with drafts(200):
        assert open_image(tmp_path / "x.jpg").size == (200, 400)


@pytest.mark.parametrize("name", ["cat.jpg", "coffee.jpg", "rocket.jpg", "shoes.jpg"])
def test_a_draft_of_twice_the_towers_side_keeps_its_pixel_bound(name: str, tmp_path: Path) -> None:
    recipe = PixelRecipe(64, (0.5,) * 3, (0.5,) * 3, interpolation="bilinear")  # type: ignore[arg-type]
    with Image.open(demo_folder("photos") / name) as photo:
        photo.convert("RGB").crop((0, 0, photo.width // 8 * 8, photo.height // 8 * 8)).save(tmp_path / name, quality=90)
    exact = open_image(tmp_path / name)
    with drafts(2 * recipe.size):
        draft = open_image(tmp_path / name)
    assert draft.width < exact.width
    apart = np.abs(np.asarray(fit(exact, recipe)).astype(int) - np.asarray(fit(draft, recipe)))
    assert 0 < apart.mean() <= 1
    assert apart.max() <= 16


def real_heic(path: Path, image: Image.Image, **how: object) -> Path:
    """Write a HEIC file without losses, or skip the test where pillow-heif is not installed."""
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif, the extra heif, is not installed")
    written = heif.from_pillow(image)
    written.save(path, quality=-1, chroma=444, matrix_coefficients=0, **how)
    return path


def distance(left: Image.Image, right: Image.Image) -> int:
    return int(np.abs(np.asarray(left).astype(int) - np.asarray(right)).max())


def heic_exif(orientation: int) -> bytes:
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHHI", 0x0112, 3, 1, orientation, 0, 0)


def test_without_the_extra_the_error_of_heic_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    data = b"\0\0\0\x18ftypheic" + b"\0" * 40
    (tmp_path / "IMG_1.HEIC").write_bytes(data)
    with pytest.raises(UnreadableItem, match=r"needs the extra heif: run pip install pillow-heif, or convert it"):
        open_image(tmp_path / "IMG_1.HEIC")
    assert header_pixels(data) == 0


def test_heic_pixels_are_those_of_the_photo(tmp_path: Path) -> None:
    path = real_heic(tmp_path / "x.heic", make.gradient())
    assert distance(open_image(path), make.gradient()) == 0
    assert distance(decode_image(path.read_bytes(), "x"), make.gradient()) == 0
    assert image_size(path) == make.gradient().size
    assert header_pixels(path.read_bytes()) == 40 * 30


@pytest.mark.parametrize(("orientation", "turn"), [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_270)])
def test_heic_orientation_is_applied_once(tmp_path: Path, orientation: int, turn: Image.Transpose) -> None:
    path = real_heic(tmp_path / "x.heic", make.gradient(), exif=heic_exif(orientation))
    assert distance(open_image(path), make.gradient().transpose(turn)) == 0
    assert image_size(path) == make.gradient().transpose(turn).size


def test_transparent_heic_pixels_become_white(tmp_path: Path) -> None:
    image = make.gradient()
    image.putalpha(0)
    assert np.asarray(open_image(real_heic(tmp_path / "x.heic", image))).min() == 255


def test_heic_limits_hold_before_the_decode(tmp_path: Path) -> None:
    path = real_heic(tmp_path / "x.heic", make.gradient())
    with pytest.raises(UnreadableItem, match="40 x 30 pixels, more than the limit of 1,199"):
        open_image(path, max_pixels=1199)


def test_a_mask_is_not_a_heic_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableItem, match="save it as a grey PNG"):
        open_mask(real_heic(tmp_path / "x.heic", make.gradient().convert("L")))


def test_after_heic_pillow_has_no_new_opener(tmp_path: Path) -> None:
    Image.init()
    before = set(Image.OPEN)
    open_image(real_heic(tmp_path / "x.heic", make.gradient()))
    assert set(Image.OPEN) == before


@pytest.mark.parametrize("keep", [3, 11, 40, 100, 300, 500, 0.9])
def test_any_cut_of_heic_is_an_unreadable_item(tmp_path: Path, keep: float) -> None:
    data = real_heic(tmp_path / "x.heic", make.gradient()).read_bytes()
    (tmp_path / "cut.heic").write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
    with pytest.raises(UnreadableItem):
        open_image(tmp_path / "cut.heic")


@pytest.mark.parametrize("seed", range(20))
def test_damaged_heic_bytes_are_an_unreadable_item_or_a_picture(tmp_path: Path, seed: int) -> None:
    data = bytearray(real_heic(tmp_path / "x.heic", make.gradient()).read_bytes())
    draw = np.random.default_rng(seed)
    for at in draw.integers(32, len(data), 12):
        data[at] = draw.integers(256)
    with contextlib.suppress(UnreadableItem):
        assert decode_image(bytes(data), "x").mode == "RGB"
