"""Write the tables of docs/planted-faults.md, one for each file of results/faults: ``python tools/planted_table.py
[--check]``.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.planted.matrix import ALARM

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "results" / "faults", ROOT / "docs" / "planted-faults.md"
START, END = "<!-- faults -->\n", "<!-- /faults -->"
SIGNS = {"worse": "worse", "better": "better", "same": "·", "not testable": "n. t.", "": ""}


def value(cell: Mapping[str, Any], which: str = "value") -> str:
    """Return a value with its interval."""
    ends = cell["interval" if which == "value" else "honest_interval"]
    if cell[which] is None or ends is None:
        return "not testable"
    return f"{cell[which]:.2f} [{ends[0]:.2f}, {ends[1]:.2f}]"


def sign(cell: Mapping[str, Any]) -> str:
    """Return a cell: what came out, in bold where it was written down as a find, with what was written where it is
    another.
    """
    if cell["unhealthy"]:
        return "alarm" if cell["unhealthy"] == ALARM else "–"
    sign = SIGNS[cell["found"]]
    if cell["expected"] == "open":
        return f"({sign})"
    if cell["right"]:
        return sign if cell["expected"] == "same" else f"**{sign}**"
    return f"{sign} (not {SIGNS[cell['expected']]})"


def kind(cell: Mapping[str, Any]) -> str:
    """Return what a cell counts as.

    "find", "not testable", "same": as written; "identical": the same as written, and to the last digit what the model
    without a fault has, so that it could not come out otherwise; "otherwise": not as written, or a false alarm;
    "open", "unhealthy".
    """
    if cell["unhealthy"]:
        return "otherwise" if cell["unhealthy"] == ALARM else "unhealthy"
    if cell["expected"] == "open":
        return "open"
    if not cell["right"]:
        return "otherwise"
    if cell["expected"] != "same":
        return "not testable" if cell["expected"] == "not testable" else "find"
    equal = (cell["value"], cell["interval"]) == (cell["honest"], cell["honest_interval"])
    return "identical" if equal else "same"


def table(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield the matrix of one file: a line a measure, a column a fault; then what is not as written."""
    rows = {row["fault"]: row["cells"] for row in results["rows"]}
    sizes = ", ".join(f"{name} {n}" for name, n in results["tables"].items())
    counts = Counter(kind(cell) for cells in rows.values() for cell in cells)
    yield (
        f"Cells as expected: {counts['find']} finds, {counts['not testable']} not testable, and {counts['same']} where "
        f"the number moves and nothing is found. In {counts['identical']} more the fault cannot change the number: "
        f"they count for nothing. Not as expected: {counts['otherwise']}. Nothing expected: {counts['open']}; no room "
        f"for a fault: {counts['unhealthy']}. Seed {results['seed']}; pictures: {sizes}. "
        f"`{results['command']}`"
    )
    yield ""
    yield f"| measure | without a fault | {' | '.join(rows)} |"
    yield "|---|---|" + "---|" * len(rows)
    for k, column in enumerate(results["columns"]):
        cells = [cells[k] for cells in rows.values()]
        yield f"| {column['title']} | {value(cells[0], 'honest')} | {' | '.join(map(sign, cells))} |"
    unfit = {c["column"]: c["unhealthy"] for cells in rows.values() for c in cells if kind(c) == "unhealthy"}
    if unfit:
        yield ""
        yield f"No room for a fault: {'; '.join(f'{column} ({why})' for column, why in unfit.items())}."
    other = [(n, c) for n, cells in rows.items() for c in cells if kind(c) == "otherwise" and not c["unhealthy"]]
    alarms = Counter(c["column"] for cells in rows.values() for c in cells if c["unhealthy"] == ALARM)
    if other or alarms:
        yield ""
        yield "Not as expected:"
        yield ""
        for name, cell in other:
            yield (
                f"- {name}, {cell['column']}: {value(cell)}, without the fault {value(cell, 'honest')}; "
                f"*{cell['expected']}* was expected."
            )
        for column, count in alarms.items():
            yield (
                f"- {column}, {count} cells: the audit's own control found something in the model without a fault, "
                f"a false alarm, so none of them can be read."
            )


def page(text: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page with its tables renewed; without a result it says that there is none."""
    head, rest = text.split(START)
    parts = [f"### {name}\n\n" + "\n".join(table(rows)) + "\n" for name, rows in results.items()]
    made = "\n".join(parts) or "Not measured yet.\n"
    return head + START + made + END + rest.split(END)[1]


def main(words: Sequence[str]) -> int:
    """Rewrite the page, or say with exit code 1 that it is stale."""
    text = PAGE.read_text(encoding="utf-8")
    files = sorted(RESULTS.glob("*.json"), key=lambda path: (path.stem != "oracle", path.stem))
    new = page(text, {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files})
    if "--check" in words:
        if new != text:
            sys.stderr.write(
                "docs/planted-faults.md is not what results/faults says: run python tools/planted_table.py.\n"
            )
        return int(new != text)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
