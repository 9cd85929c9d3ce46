"""Write the tables that pages take from single results: ``python tools/result_tables.py [--check]``.

Each stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``; text round it is written by hand.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.board_pages import BOARDS, DOCS, ROOT, boards, write_or_check

KINDS = {"all": "all", "global": "global defects", "local": "local defects"}


def percent(cell: Mapping[str, Any], sign: str = "") -> str:
    """Return a fraction in percent with its interval."""
    low, high = cell["ci95"] if "ci95" in cell else (cell["low"], cell["high"])
    value = next(cell[name] for name in ("value", "miou") if name in cell)
    return f"{100 * value:{sign}.1f} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"


def state_words(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table of ``benchmarks.state_words``."""
    columns = list(results["photos"])
    photos = ", ".join(f"{results['photos'][c]} {c}" for c in columns[1:])
    yield f"`{results['command']}`: {results['normal']} normal photos, {photos}; AUROC in percent, 95 % over photos."
    yield ""
    yield f"| `--object` | prompts | {' | '.join(KINDS.get(c, c) for c in columns)} |"
    yield "|---|---|" + "---|" * len(columns)
    for row in results["rows"]:
        prompts = "one pair" if row["prompts"] == "pair" else row["prompts"]
        yield f"| {row['object']} | {prompts} | {' | '.join(percent(row['image_auroc'][c]) for c in columns)} |"


def segmenters(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the table of the boards of segment, by file name, and who could not run."""
    if not results:
        yield "Not measured yet."
    for name, board in results.items():
        drawn = f" of {board['least_keys_of']}" if "least_keys_of" in board else ""
        seeds = ", ".join(map(str, board["seeds"]))
        yield (
            f"[{board['dataset']}](../../results/boards/{name}): {board['items']}{drawn} photos of {board['split']}, "
            f"{len(board['classes'])} classes, `{board['backbone']}`, seed {seeds}. `{board['command']}`"
        )
        yield ""
        yield "| system | mIoU % | gain over `maskclip` | pixels % | fit s | photos/s | s |"
        yield "|---|---|---|---:|---:|---:|---:|"
        for row in board["rows"]:
            label = row["method"] + (f":{row['variant']}" if row["variant"] else "")
            gain = percent(row["gain"], "+") if row["gain"] else ""
            speed = [f"{row[key]:.2f}" if key in row else "" for key in ("fit_seconds", "images_a_second")]
            numbers = (percent(row), gain, f"{100 * row['pixel_accuracy']:.1f}", *speed, f"{row['seconds']:.0f}")
            yield f"| `{label}` | {' | '.join(numbers)} |"
        for label, why in board["missing"].items():
            yield f"| `{label}` | {why} | | | | | |"
        yield ""


def proposers(results: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the table of ``recipes.mask_proposer judge``, and the commands."""
    if not results:
        yield "Not measured yet."
        return
    yield "| photos | proposer | recall at 10 | at 50 | at 100 | gain at 10 | at 50 | at 100 | CPU s a photo |"
    yield "|---|---|---|---|---|---|---|---|---:|"
    for name, row in (pair for board in results for pair in board["sets"].items()):
        about = f"{name} ({row['split']}, {row['photos']} photos, {row['regions']} regions)"
        for proposer in (p for p in row if isinstance(row[p], dict)):
            score = row[proposer]
            cells = [score[f"recall_{count}"] for count in (10, 50, 100)]
            gains = [percent(c["gain"], "+") if "gain" in c else "" for c in cells]
            numbers = (*map(percent, cells), *gains, f"{score['cpu_seconds_a_photo']:.2f}")
            yield f"| {about} | `{proposer}` | {' | '.join(numbers)} |"
    yield ""
    commands = " and ".join(f"`{board['command']}`" for board in results)
    yield f"{commands}; seconds beside other work, with the matching."


def renewed(text: str, name: str, lines: Iterator[str]) -> str:
    """Return a page with one table renewed."""
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    head, rest = text.split(start)
    return head + start + "\n".join(lines).rstrip() + "\n" + end + rest.split(end)[1]


def pages() -> dict[Path, str]:
    """Return path -> page as the results say it."""
    detect, segment = DOCS / "cli" / "detect.md", DOCS / "cli" / "segment.md"
    model = DOCS / "models" / "ranked-cells.md"
    judged = [_read(path.stem) for path in sorted((ROOT / "results").glob("ranked-cells-*.json"), reverse=True)]
    return {
        detect: renewed(detect.read_text(encoding="utf-8"), "state-words", state_words(_read("state-words"))),
        segment: renewed(
            segment.read_text(encoding="utf-8"), "segmenters", segmenters(dict(boards(BOARDS, "segment")))
        ),
        model: renewed(model.read_text(encoding="utf-8"), "proposers", proposers(judged)),
    }


def _read(name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((ROOT / "results" / f"{name}.json").read_text(encoding="utf-8"))
    return result


def main(words: Sequence[str]) -> int:
    """Rewrite the pages, or say with exit code 1 that one is stale."""
    return write_or_check(pages(), words, "result_tables.py")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
