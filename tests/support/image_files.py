"""Picture files of every awkward kind, made on the spot."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def gradient(width: int = 40, height: int = 30) -> Image.Image:
    """A picture with no symmetry: red grows to the right, green downwards, one blue corner."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 255 // (width - 1), y * 255 // (height - 1), np.where((x < 8) & (y < 8), 255, 0)], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def photo(path: Path, seed: int = 0, size: tuple[int, int] = (40, 30)) -> Path:
    """A small PNG that differs for every seed; makes missing folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(
        path, "PNG"
    )
    return path


def truncated(path: Path) -> Path:
    whole = path.with_suffix(".whole.jpg")
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(whole, "JPEG")
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    whole.unlink()
    return path


def empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def not_a_picture(path: Path) -> Path:
    path.write_text("these are words")
    return path


def bomb(path: Path, width: int = 60_000, height: int = 60_000) -> Path:
    """A PNG whose header promises 3.6 gigapixels and that holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))
    return path


def cmyk(path: Path) -> Path:
    gradient().convert("CMYK").save(path, "JPEG", quality=95, subsampling=0)
    return path


def sixteen_bit(path: Path) -> Path:
    """Greys 0 to 65535 from left to right."""
    row = np.linspace(0, 65535, 256).round().astype(np.uint16)
    Image.fromarray(np.tile(row, (4, 1))).save(path)
    return path


def palette(path: Path, transparent: bool = False) -> Path:
    image = gradient().quantize(64)
    image.save(path, "PNG", **({"transparency": image.getpixel((0, 0))} if transparent else {}))
    return path


def turned(path: Path, orientation: int, kind: str = "JPEG") -> Path:
    """A gradient whose EXIF says how it must be turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    gradient().save(path, kind, exif=exif)
    return path


def animated(path: Path) -> Path:
    frames = [Image.new("RGB", (12, 10), colour) for colour in ("red", "green", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=50)
    return path
