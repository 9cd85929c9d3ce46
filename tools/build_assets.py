"""Build the pictures that ship with the package from the development data (folder in the environment variable
DIPTYCH_DATA).

photos/   photos of things that have a name, CC0 or public domain, no recognisable person; long side at most 512 pixels
clothes/  clothing_small (CC0) as thumbnails, short side 112 pixels; its validation split becomes "test"
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
from pathlib import Path

from PIL import Image

from diptych.data.images import open_image

ASSETS = Path(__file__).resolve().parents[1] / "src/diptych/assets"
PHOTOS = {
    "cat": "cat",
    "coffee": "cup of coffee",
    "coins": "coins",
    "galaxies": "galaxies",
    "cameraman": "man with a camera",
    "rocket": "rocket",
    "shoes": "pair of shoes",
}
DISTRACTORS = ("dog", "bicycle", "loaf of bread", "guitar", "bridge")
CLOTHES_SOURCE = "github.com/alexeygrigorev/clothing-dataset-small"


def build_photos(data: Path, out: Path) -> None:
    """Write photos, credits.csv and names.txt."""
    rows = []
    for row in read_csv(data / "photos.csv"):
        stem = Path(row["path"]).stem
        if stem in PHOTOS:
            if not row["licence"].startswith(("CC0", "public domain", "no known copyright restrictions")):
                raise SystemExit(f"{row['path']} may not ship: {row['licence']}")
            shrink(data / row["path"], out / row["path"], long=512, quality=84)
            rows.append((row["path"], PHOTOS[stem], row["caption"], row["licence"], row["source"]))
    if len(rows) != len(PHOTOS):
        raise SystemExit("some photos are missing")
    write_csv(out / "credits.csv", ("path", "name", "caption", "licence", "source"), rows)
    (out / "names.txt").write_text("\n".join([*PHOTOS.values(), *DISTRACTORS]) + "\n", encoding="utf-8")


def build_clothes(data: Path, out: Path) -> None:
    """Write thumbnails and credits.csv."""
    rows = []
    for row in read_csv(data / "labels.csv"):
        split = {"train": "train", "validation": "test"}[row["split"]]
        place = f"{split}/{row['class_name']}/{Path(row['path']).name}"
        shrink(data / row["path"], out / place, short=112, quality=74)
        rows.append((place, "CC0-1.0", f"{CLOTHES_SOURCE} {row['source_path']}", row["source_sha1"]))
    write_csv(out / "credits.csv", ("path", "licence", "source", "source_sha1"), rows)


def shrink(source: Path, target: Path, *, quality: int, short: int | None = None, long: int | None = None) -> None:
    """Write a smaller JPEG without metadata; never enlarge."""
    image = open_image(source)
    side, now = (short, min(image.size)) if short else (long or 0, max(image.size))
    if now > side:
        image = image.resize(
            (round(image.width * side / now), round(image.height * side / now)), Image.Resampling.LANCZOS
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    image.save(target, "JPEG", quality=quality, optimize=True, progressive=True)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def write_csv(path: Path, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Write rows sorted by their first column."""
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(sorted(rows))


def main() -> None:
    """Rebuild both folders from nothing and say how large they are."""
    data = Path(os.environ["DIPTYCH_DATA"])
    for name, build, source in (("photos", build_photos, "demo_photos"), ("clothes", build_clothes, "clothing_small")):
        out = ASSETS / name
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        build(data / source, out)
        sizes = [p.stat().st_size for p in out.rglob("*.jpg")]
        sys.stdout.write(
            f"{name}: {len(sizes)} pictures, {sum(sizes) / 1e6:.2f} MB, the largest {max(sizes) / 1e3:.0f} kB\n"
        )


if __name__ == "__main__":
    main()
