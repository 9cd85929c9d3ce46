"""Writes docs/data-sets.md from diptych.evaluation.datasets; with --check says whether it is up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from diptych.evaluation.datasets import DATA_SETS, RULE, DataSet

PAGE = Path(__file__).parents[1] / "docs" / "data-sets.md"
HEAD = f"""# Data sets of proofs and boards

| you want to | do |
|---|---|
| try anything | take `demo:photos` or `demo:clothes`: they ship |
| use photos of your own | give their folder or table ([formats](formats.md)); none of the sets below is needed |
| repeat a committed result | get its set from the source below into a folder of its name |
| let commands find the sets | `export DIPTYCH_DATA=FOLDER`, the parent of these folders |
| see whether a folder can be used | `diptych check NAME` |
| know whether you may share it | read its licence below |

`diptych prove`, `diptych board` and the committed results use the sets below by name. They do not ship: put each into a
folder of its name, and that folder's parent into the environment variable DIPTYCH_DATA. `demo:photos` and
`demo:clothes` ship, with their credits.

A set is a small part of its source: {RULE}.
Pictures are JPEG. `diptych check NAME` says whether a folder can be read. The listing is the SHA-256 of the sorted
relative paths and sizes:
a set that was drawn again in another way has another one, and results on it are not those that are committed.
Licences are as stated at the source; "unknown" means that nothing is stated there.
"""


def page() -> str:
    """Return the text of the page."""
    return "\n".join([HEAD, *map(entry, DATA_SETS.values())])


def entry(data: DataSet) -> str:
    """Return the section of one data set."""
    source = f"<{data.source}>" if data.source.startswith("https:") else data.source
    if " " in source and not source.startswith("one "):
        source = f"`{source}`"
    described = {
        "Source": source,
        "Drawn": data.drawn,
        "Licence": data.licence,
        "Items": f"{data.items:,}; used for {' and '.join(data.roles)}",
        "Void values": ", ".join(map(str, data.void)),
        "Photos show": data.thing,
        "Anomalies are learnt from": data.auxiliary,
        "Groups": data.group and f"column `{data.group}`",
        "Listing": f"`{data.listing}`",
    }
    lines = [f"- {name}: {value}" for name, value in described.items() if value]
    return "\n".join([f"## {data.name}\n", f"{data.what[0].upper()}{data.what[1:]}.\n", *lines, ""])


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page()))
    PAGE.write_text(page(), encoding="utf-8")
