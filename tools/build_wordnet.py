"""Build src/diptych/data/words/wordnet_nouns.parquet from the WordNet 3.0 database files (Debian package wordnet-base),
and english_nouns.txt.gz beside it, the single words among its lemmas.

Usage: python tools/build_wordnet.py [FOLDER with data.noun and index.noun]
"""

from __future__ import annotations

import gzip
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "src/diptych/data/words/wordnet_nouns.parquet"
WORDS = OUT.with_name("english_nouns.txt.gz")
LICENCE = ROOT / "src/diptych/assets/LICENSES/WordNet-3.0.txt"


def sense_ranks(index: Path) -> dict[tuple[str, int], int]:
    """Return (lower-case lemma, offset) -> number of the sense, from 1; the format is that of wndb(5)."""
    ranks = {}
    for line in index.read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            continue
        lemma, _, count, pointers, *rest = line.split()
        offsets = rest[int(pointers) + 2 :]
        assert len(offsets) == int(count), line
        ranks.update({(lemma, int(offset)): n for n, offset in enumerate(offsets, 1)})
    return ranks


def synsets(data: Path, ranks: dict[tuple[str, int], int]) -> list[dict[str, object]]:
    """Return one row a noun synset, in the order of the file, which is that of the offsets."""
    rows: list[dict[str, object]] = []
    for line in data.read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            continue
        fields, gloss = line.split(" | ", 1)
        offset, _, _, count, *rest = fields.split()
        words = int(count, 16)
        lemmas = rest[: 2 * words : 2]
        links = rest[2 * words + 1 :]
        pointers = [(links[i], int(links[i + 1]), links[i + 2]) for i in range(0, 4 * int(rest[2 * words]), 4)]
        rows.append(
            {
                "offset": int(offset),
                "lemmas": [lemma.replace("_", " ") for lemma in lemmas],
                "ranks": [ranks[lemma.lower(), int(offset)] for lemma in lemmas],
                "gloss": gloss.strip(),
                "hypernyms": [to for mark, to, part in pointers if mark in ("@", "@i") and part == "n"],
                "instance": any(mark == "@i" for mark, _, _ in pointers),
                "parts": [to for mark, to, part in pointers if mark == "%p" and part == "n"],
            }
        )
    return rows


def single_words(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lemmas that are one word of letters, in lower case, sorted."""
    lemmas = {lemma.lower() for row in rows for lemma in row["lemmas"]}
    return sorted(lemma for lemma in lemmas if re.fullmatch(r"[^\W\d_]+", lemma))


def licence(data: Path) -> str:
    """Return the licence text that heads every WordNet file, without its line numbers."""
    head = [line for line in data.read_text(encoding="utf-8").splitlines() if line.startswith("  ")]
    return "\n".join(line[4:].rstrip().removeprefix(" ") if len(line) > 3 else "" for line in head) + "\n"


def main(folder: Path) -> None:
    """Write the table and the licence text."""
    rows = synsets(folder / "data.noun", sense_ranks(folder / "index.noun"))
    numbers = pa.list_(pa.int32())
    schema = pa.schema(
        [
            ("offset", pa.int32()),
            ("lemmas", pa.list_(pa.string())),
            ("ranks", pa.list_(pa.uint8())),
            ("gloss", pa.string()),
            ("hypernyms", numbers),
            ("instance", pa.bool_()),
            ("parts", numbers),
        ]
    )
    pq.write_table(
        pa.Table.from_pylist(rows, schema=schema),
        OUT,
        compression="zstd",
        compression_level=22,
        use_dictionary=False,
        column_encoding={"offset": "DELTA_BINARY_PACKED"},
        data_page_size=1 << 24,
        write_statistics=False,
    )
    WORDS.write_bytes(gzip.compress("\n".join(single_words(rows)).encode(), mtime=0))
    LICENCE.parent.mkdir(parents=True, exist_ok=True)
    LICENCE.write_text(licence(folder / "data.noun"), encoding="utf-8")
    sys.stdout.write(f"{OUT.name}: {len(rows)} synsets, {OUT.stat().st_size / 1e6:.2f} MB\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/wordnet"))
