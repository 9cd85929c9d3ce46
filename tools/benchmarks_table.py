"""Write the tables of docs/benchmarks.md, a section for each file of results/bench: ``python tools/benchmarks_table.py
[--check]``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "results" / "bench", ROOT / "docs" / "benchmarks.md"
START, END = "<!-- benchmarks -->\n", "<!-- /benchmarks -->"


def tables(results: Mapping[str, Any]) -> str:
    """Return the Markdown of one file of ``python -m benchmarks``."""
    lines = [about(results), "", *targets(results["benchmarks"]), ""]
    for name, row in results["benchmarks"].items():
        lines += ["", *section(name, row)]
    return "\n".join(lines) + "\n"


def about(results: Mapping[str, Any]) -> str:
    """Say when, where and with what."""
    loads = [load for row in results["benchmarks"].values() for load in row["load"]]
    named = ", ".join(f"{name} {results['versions'][name]}" for name in sorted(results["versions"]))
    size = "QUICK: small sizes, one round, no measurement. " if results["quick"] else ""
    return (
        f"{size}{results['date'][:10]}, {results['cores']} cores of {results['processor']}"
        f"{' with ' + results['instructions'] if 'instructions' in results else ''}, {results['rounds']} rounds in "
        f"{results['seconds']:.0f} s,"
        f" load {min(loads):.1f} to {max(loads):.1f}. {named}. `{results['command']}`"
    )


def targets(rows: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table of verdicts, where there are any; a miss is written as one."""
    if not any(row.get("targets") for row in rows.values()):
        return
    yield "| row | what | measured | target | |"
    yield "|---|---|---:|---:|---|"
    for name, row in rows.items():
        for target in row.get("targets", ()):
            measured = "not measured" if target["measured"] is None else f"{target['measured']:.3g}"
            sign, verdict = ("≥", "≤")[not target["least"]], {True: "met", False: "**missed**", None: ""}[target["met"]]
            yield f"| `{name}` | {target['what']} | {measured} | {sign} {target['target']:g} | {verdict} |"


def section(name: str, row: Mapping[str, Any]) -> Iterator[str]:
    """Yield one row: contenders, what was skipped, and what was counted."""
    yield f"**`{name}`**"
    yield ""
    if "error" in row:
        yield f"Not measured: {row['error']}"
        return
    if row["rows"]:
        yield f"| | {row['unit']}/s | seconds (least to most) | x `{row['against']}` | cosine to it |"
        yield "|---|---:|---:|---:|---:|"
        for who, of in row["rows"].items():
            cosine = "" if of["cosine"] is None else f"{of['cosine']:.6f}"
            spread = f"{of['seconds']:.3g} ({of['least_seconds']:.3g} to {of['most_seconds']:.3g})"
            yield f"| {who} | {of['per_second']:.1f} | {spread} | {of['ratio']:.2f} | {cosine} |"
        yield ""
    for who, why in row["missing"].items():
        yield f"- {who}: skipped, {why}"
    for key, value in row["facts"].items():
        if not is_table(value):
            yield f"- {key.replace('_', ' ')}: {shown(value)}"
    for key, value in row["facts"].items():
        if is_table(value):
            columns = list(next(iter(value.values())))
            yield from ("", f"| {key} | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns))
            yield from (f"| {name} | {' | '.join(shown(of[c]) for c in columns)} |" for name, of in value.items())


def is_table(value: Any) -> bool:
    """Tell whether a fact is rows by name."""
    return isinstance(value, Mapping) and bool(value) and all(isinstance(of, Mapping) for of in value.values())


def shown(value: Any) -> str:
    """Return a fact in a line."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {shown(of)}" for key, of in value.items())
    if isinstance(value, list):
        return (" x " if all(isinstance(v, int) for v in value) else ", ").join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def page(text: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page with its tables renewed, under the name of each machine; without a result it says that there
    is none.
    """
    head, rest = text.split(START)
    made = "\n".join(f"### {name}\n\n{tables(rows)}" for name, rows in results.items()) or "Not measured yet.\n"
    return head + START + made + END + rest.split(END)[1]


def main(words: Sequence[str]) -> int:
    """Rewrite the page, or say with exit code 1 that it is stale."""
    text = PAGE.read_text(encoding="utf-8")
    new = page(
        text, {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))}
    )
    if "--check" in words:
        if new != text:
            sys.stderr.write(
                "docs/benchmarks.md is not what results/bench says: run python tools/benchmarks_table.py.\n"
            )
        return int(new != text)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
