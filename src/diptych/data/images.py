"""Reading of picture files as upright RGB copies, or an error with a short reason."""

from __future__ import annotations

import contextlib
import math
import os
import re
import stat
import struct
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, JpegImagePlugin

from diptych.core import DataError, UnreadableItem

MAX_PIXELS = 178_956_970
"""Largest number of pixels of a picture, checked before it is decoded; Pillow's own bound."""
LONGEST = 500
"""Largest ratio of the sides of a picture. Panoramas and scrolls reach some 50; a strip of 40,000,000 x 1 pixels is a
million windows of a segmenter.
"""
SMALL = 64
"""Least number of pixels of a picture with visible content."""

_ENDINGS = "jpg jpeg jpe png webp bmp gif tif tiff ppm pgm pbm jp2 avif heic heif"
SUFFIXES = frozenset("." + ending for ending in _ENDINGS.split())
"""File endings of pictures in a folder. HEIC is among them also where it cannot be read, so that it raises instead of
being skipped.
"""

_SIGNATURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (8, b"WEBP", "WEBP"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    *((0, b"P%d" % n, "PPM") for n in range(1, 7)),
    (4, b"jP  \r\n\x87\n", "JPEG2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG2000"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftypavis", "AVIF"),
    *((4, b"ftyp" + brand, "HEIC") for brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1")),
)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_DEEP = ("PNG", "PPM", "JPEG2000")  # formats of 16 bits of which some versions of Pillow make 32
_QUIET_LOCK = threading.Lock()
_DRAFT: ContextVar[int] = ContextVar("draft", default=0)  # least side of a draft; 0: no drafts

T = TypeVar("T")


def open_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Read a picture as an upright RGB copy, and close its file.

    - EXIF orientation is applied; colour profiles are not, as in the training of CLIP models.
    - Transparent pixels become white. CMYK, palette, grey and bilevel pictures become RGB.
    - Values of files with 16 bits are divided by 257. 32-bit values have the range [0, 255] or [0, 65535], and floats
      [0, 1] or [0, 255], the first one that all are within; otherwise they are stretched from minimum to maximum.
    - Of an animation the first frame is read.
    - The first bytes must be those of JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, JPEG 2000, where Pillow has it AVIF, or,
      with the extra ``heif``, HEIC.

    Args:
        path: file.
        max_pixels: width times height above which the file is refused from its header, before decoding; default
            178,956,970.

    Returns:
        Image of mode "RGB", any size, without metadata.

    Raises:
        UnreadableItem: there is no such file, or it is empty, no picture, truncated, damaged, too large, of no known
            format, or one of its sides is more than ``LONGEST`` times the other.
    """
    return _opened(path, max_pixels, upright_rgb)


def decode_image(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode the bytes of a picture file as ``open_image``; ``name`` is for the error."""
    if not data:
        raise UnreadableItem(name, "empty file")
    return _decode(BytesIO(data), name, len(data), max_pixels, upright_rgb)


def header_pixels(data: bytes) -> int:
    """Return width times height of a picture file as its header says; 0 where that cannot be read."""
    kind = _kind(data[:32])
    if kind is None:
        return 0
    try:
        with _quiet_pillow():
            image = _header(BytesIO(data), "", kind)
            return image.width * image.height
    except Exception:  # decoders raise all kinds of exceptions on damaged bytes; decoding says what is wrong
        return 0


@contextlib.contextmanager
def drafts(side: int) -> Iterator[None]:
    """Decode JPEG pictures that this thread opens within the block at 1/2, 1/4 or 1/8 of their size.

    libjpeg then inverts each block of the transform to fewer pixels, which saves most of the time for decoding and
    resizing. With twice the side of the tower, photographs after ``lite``'s resize differ from the exact decode by at
    most 1 of 255 in the mean and 16 in any pixel. Measured were 0.7 and 12 on mosaics of 49 photographs, and 0.2 and 4
    on single ones.

    Args:
        side: least length of both sides after decoding, in pixels.

    Source: T.81 (JPEG), section A.3.3; scaled inverse transforms as in libjpeg 6b, ``scale_denom``.
    """
    token = _DRAFT.set(side)
    try:
        yield
    finally:
        _DRAFT.reset(token)


def open_mask(path: str | os.PathLike[str]) -> NDArray[np.int32]:
    """Read a mask: the stored numbers of a one-channel picture, without rotation and palette.

    Args:
        path: file; for a palette picture, as in PASCAL VOC, the numbers are palette positions.

    Returns:
        (H, W) int32.

    Raises:
        UnreadableItem: as for ``open_image``, or the picture has several channels or is stored with losses (JPEG,
            HEIC).
    """
    return _opened(path, MAX_PIXELS, _indices)


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return (width, height) of a picture as ``open_image`` reads it, with the same errors.

    Of a JPEG only the header is read, so damage behind it is not seen.
    """
    return _opened(path, MAX_PIXELS, lambda image: upright_rgb(image).size, _turned_size)


def specks(paths: Iterable[str]) -> list[str]:
    """Return the picture files of fewer than ``SMALL`` pixels.

    Only files of less than 4 KiB are opened; missing and unreadable ones are skipped.
    """
    small = []
    for path in paths:
        with contextlib.suppress(OSError, ValueError, UnreadableItem):
            if os.stat(path).st_size < 4096 and math.prod(image_size(path)) < SMALL:
                small.append(path)
    return small


def _turned_size(image: ImageFile.ImageFile) -> tuple[int, int]:
    """Return the size of a JPEG after its orientation is applied, from its header."""
    width, height = image.size
    return (height, width) if exif_orientation(image.info.get("exif", b"")) >= 5 else (width, height)


def _opened(
    path: str | os.PathLike[str],
    max_pixels: int,
    finish: Callable[[ImageFile.ImageFile], T],
    from_header: Callable[[ImageFile.ImageFile], T] | None = None,
) -> T:
    name = os.fspath(path)
    try:
        size = _regular_size(name)
        with Path(path).open("rb") as file:
            return _decode(file, name, size, max_pixels, finish, from_header)
    except FileNotFoundError:
        raise UnreadableItem(name, "no such file") from None
    except PermissionError:
        raise UnreadableItem(name, "no permission to read it") from None
    except OSError as error:
        raise UnreadableItem(name, f"cannot be read ({error.strerror})") from None


def _regular_size(name: str) -> int:
    status = os.stat(name)  # before open, which would block on a named pipe
    if stat.S_ISDIR(status.st_mode):
        raise UnreadableItem(name, "a folder, not a file")
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableItem(name, "not a regular file")
    if status.st_size == 0:
        raise UnreadableItem(name, "empty file")
    return status.st_size


def _decode(
    file: BinaryIO,
    name: str,
    size: int,
    max_pixels: int,
    finish: Callable[[ImageFile.ImageFile], T],
    from_header: Callable[[ImageFile.ImageFile], T] | None = None,
) -> T:
    """Decode an open file; every failure of a decoder becomes an UnreadableItem.

    Where ``from_header`` is given, it answers for a JPEG, which is then not decoded.
    """
    head = file.read(32)
    file.seek(0)
    kind = _kind(head)
    if kind is None:
        raise UnreadableItem(name, "not a picture of a known format")
    try:
        with _quiet_pillow():
            image = _header(file, name, kind)
            width, height = image.size
            if width * height > max_pixels:
                raise UnreadableItem(name, f"{width:,} x {height:,} pixels, more than the limit of {max_pixels:,}")
            if max(width, height) > LONGEST * min(width, height):
                ratio = f"one side is more than {LONGEST} times the other"
                raise UnreadableItem(name, f"{width:,} x {height:,} pixels, {ratio}: cut it into pieces")
            if kind == "JPEG" and from_header is not None:
                return from_header(image)
            if kind == "JPEG" and (side := _DRAFT.get()):
                # Sides that do not divide would be rounded up, and the picture would shift by a part of a pixel.
                scale = next(
                    (s for s in (8, 4, 2) if width % s == height % s == 0 and min(width, height) >= s * side), 1
                )
                image.draft(None, (width // scale, height // scale))
            if kind == "TIFF":  # its decoder warns about tags; other formats decode outside the lock
                image.load()
        image.load()
        return finish(image)
    except (UnreadableItem, MemoryError):
        raise
    except _NoMask as error:
        raise UnreadableItem(name, str(error)) from None
    except Image.DecompressionBombError:
        raise UnreadableItem(name, f"more pixels than the limit of {max_pixels:,}") from None
    except (
        Exception
    ) as error:  # decoders raise all kinds of exceptions on damaged bytes: OSError, SyntaxError, struct.error, ...
        if isinstance(error, EOFError) or "truncated" in str(error).lower():
            raise UnreadableItem(name, f"truncated {kind} file ({size:,} bytes)") from error
        raise UnreadableItem(name, f"damaged {kind} file ({(str(error) or type(error).__name__)[:80]})") from error


def _kind(head: bytes) -> str | None:
    """Return the format that the first 32 bytes of a file name; None: none that is known."""
    return next((k for at, mark, k in _SIGNATURES if head[at : at + len(mark)] == mark), None)


def _header(file: BinaryIO, name: str, kind: str) -> ImageFile.ImageFile:
    # Not Image.open: it tries every plugin, and its warning about large pictures cannot be silenced in one thread.
    if kind == "JPEG":
        return JpegImagePlugin.JpegImageFile(file, name)
    if kind == "HEIC":
        return _heif_header(file, name)
    Image.init()
    if kind not in Image.OPEN:
        raise UnreadableItem(name, f"{kind} picture, which this Pillow cannot read: convert it to JPEG or PNG")
    return Image.OPEN[kind][0](file, name)


def _heif_header(file: BinaryIO, name: str) -> ImageFile.ImageFile:
    """Open a HEIC photo with pillow-heif, which applies the orientation itself and decodes 10 bits to 8.

    Its opener is not registered with Pillow: that would change ``Image.open`` for all other code of the process.
    """
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        reason = "HEIC photo, which needs the extra heif: run pip install pillow-heif, or convert it to JPEG"
        raise UnreadableItem(name, reason) from None
    image: ImageFile.ImageFile = HeifImageFile(file, name)
    return image


@contextlib.contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Silence Pillow's warnings about metadata.

    Only one filter is added and removed. ``catch_warnings`` would restore all filters, and so undo changes of other
    threads.
    """
    with _QUIET_LOCK:
        warnings.filterwarnings("ignore", module=r"PIL\.")
        try:
            yield
        finally:
            with contextlib.suppress(ValueError):
                warnings.filters.remove(("ignore", None, Warning, re.compile(r"PIL\."), 0))  # type: ignore[attr-defined]


def upright_rgb(image: Image.Image) -> Image.Image:
    """Return an upright RGB copy of a picture in memory, as ``open_image`` does of a file."""
    exif = image.info.get("exif") or b""  # pillow-heif writes None where there is none
    turn = None if image.format == "TIFF" else _UPRIGHT.get(exif_orientation(exif))  # Pillow turns TIFF itself on load
    if image.mode.startswith(("I", "F")):
        deep = image.mode != "I" or image.format in _DEEP
        rgb = Image.fromarray(_grey_bytes(np.asarray(image), 16 if deep else 32)).convert("RGB")
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        rgb = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    else:
        rgb = image.convert("RGB")
    rgb.info.clear()  # an orientation left here would be applied twice by the next library
    return rgb if turn is None else rgb.transpose(turn)


class _NoMask(ValueError):
    """A picture that is whole, and cannot be a mask."""


def _indices(image: ImageFile.ImageFile) -> NDArray[np.int32]:
    if image.mode not in ("1", "L", "P", "I", "I;16") or image.format in ("JPEG", "HEIF"):
        raise _NoMask(
            f"a mask has one number per pixel, and this is {image.mode} {image.format}: save it as a grey PNG"
        )
    return np.asarray(image).astype(np.int32)


def _grey_bytes(values: NDArray[np.generic], bits: int) -> NDArray[np.uint8]:
    """Map 16-bit, 32-bit or float greys (H, W) to bytes, by the rules of ``open_image``.

    Args:
        values: of the picture.
        bits: of its whole numbers, as its file says: 16, or 32.
    """
    grey = values.astype(np.float64)
    if not np.isfinite(grey).all():
        raise ValueError("holds values that are not finite")
    low, high = float(grey.min()), float(grey.max())
    if values.dtype.kind == "f":
        if low >= 0 and high <= 255:
            low, high = 0.0, 1.0 if high <= 1 else 255.0
    elif low >= 0 and high <= 65535:
        low, high = 0.0, 255.0 if bits == 32 and high <= 255 else 65535.0
    return np.rint((grey - low) * (255.0 / max(high - low, 1e-12))).astype(np.uint8)


def exif_orientation(exif: bytes) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none or the block is damaged.

    Args:
        exif: raw block, with or without the leading ``Exif`` mark.

    Source: CIPA DC-008 (EXIF 2.32), section 4.6: tag 0x0112 in the first directory.
    """
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    with contextlib.suppress(struct.error):
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for entry in range(count):
            tag, _, _, value = struct.unpack_from(order + "HHIH", block, start + 2 + 12 * entry)
            if tag == 0x0112:
                return int(value) if 1 <= value <= 8 else 1
    return 1


def need_size(name: str, mask: tuple[int, ...], photo: tuple[int, int] | None) -> None:
    """Raise DataError where a mask has other (H, W) pixels than its photo."""
    if mask != photo:
        raise DataError(f"The mask of {name} has {mask} pixels and the photo {photo}: give one of its size.")
