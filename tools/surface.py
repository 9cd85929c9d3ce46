"""Write what users see of every verb: help, signatures, the description of the HTTP interface, keys of ``--json``.

``python tools/surface.py`` writes the files of ``tests/surface`` again; ``--check`` compares, and leaves with 1 where
one differs. A difference between two versions is listed in docs/decisions, with its reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import typer.core
from typer.testing import CliRunner

FOLDER = Path(__file__).parents[1] / "tests" / "surface"
COMMANDS = (
    "classify demo:photos --json", "segment demo:photos --names cat,coffee --json -o segments",
    "segment demo:photos --names cat,coffee --things all --json -o things", "detect demo:photos --object cat --json",
    "caption demo:photos --texts sentences.txt --json", "index demo:photos --out i --json", "search i cat --json",
    "encode demo:photos --out e --json", "check demo:clothes --json", "systems --json", "systems gda --json",
    "models list --json", "doctor --json", "cache info --json",
    "board classify demo:clothes --methods gda --shots 1 --seeds 1 --json",
    "audit pairs pairs.csv --json", "curate plan pairs.csv --method clip-score --out plan --json",
    "classify nowhere", "detect demo:photos", "search nowhere cat", "segment demo:photos --method gda",
    "board classify nowhere",
)  # fmt: skip
"""Commands whose exit codes, and keys of JSON where they print some, are kept."""


def help_pages() -> dict[str, str]:
    """Return the help of each command, in 100 columns."""
    from diptych.cli.commands import VERBS
    from diptych.cli.main import app

    os.environ.update(COLUMNS="100", TERM="dumb", NO_COLOR="1")
    verbs: Any = typer.main.get_command(app)
    words = [()] + [(verb,) for verb in VERBS]
    for verb in VERBS:
        words += [(verb, step) for step in getattr(verbs.commands[verb], "commands", {})]
    return {" ".join(("diptych", *w)): CliRunner().invoke(app, [*w, "--help"]).stdout for w in words}


def keys(data: Any) -> Any:
    """Return the keys of plain data: of a list those of its items together, and kinds in place of values."""
    if isinstance(data, dict):
        return {key: keys(value) for key, value in data.items()}
    if isinstance(data, list):
        merged: Any = None
        for item in map(keys, data):
            merged = {**merged, **item} if isinstance(merged, dict) and isinstance(item, dict) else item
        return [merged]
    return type(data).__name__


def answers() -> dict[str, Any]:
    """Return the exit code of each command, and the keys of its JSON."""
    described: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder)
        (photos / "sentences.txt").write_text("A cat.\nA cup of coffee.\nA rocket.\n")
        root = Path(__file__).parents[1] / "src/diptych/assets/photos"
        rows = [
            f"{root / name}.jpg,{text}"
            for name, text in (("cat", "a cat"), ("coffee", "a cup"), ("rocket", "a rocket"))
        ]
        (photos / "pairs.csv").write_text("\n".join(["path,caption", *rows, ""]))
        for command in COMMANDS:
            model = (
                ["--backbone", "tiny"]
                if command.split()[0]
                in ("classify", "segment", "detect", "caption", "index", "encode", "board", "curate")
                else []
            )
            environment = {**os.environ, "DIPTYCH_CACHE": f"{folder}/cache", "HF_HUB_OFFLINE": "1"}
            words = [sys.executable, "-m", "diptych.cli", *command.split(), *model]
            done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
            row: dict[str, Any] = {"exit": done.returncode}
            if "--json" in command and done.stdout:
                row["json"] = keys(json.loads(done.stdout))
            described[command] = row
    return described


def interface() -> Any:
    """Return the description of the HTTP interface of a server with one model."""
    import diptych
    from diptych.serve.assembly import Content, server
    from diptych.serve.model import ServedModel
    from diptych.serve.settings import Settings

    model = diptych.load("tiny", engine="torch", cache=False)
    served = ServedModel("tiny", model)
    app = server(Settings(), Content(models=[served]))
    return app.app.openapi()


def signatures() -> str:
    """Return a line for each public name."""
    sys.path.insert(0, str(FOLDER.parents[1]))
    from tests.test_api import signatures as lines

    return "\n".join(lines()) + "\n"


def main(words: list[str]) -> int:
    """Write, or compare."""
    pages = "".join(f"$ {name} --help\n{text.rstrip()}\n\n" for name, text in help_pages().items())
    files = {
        "help.txt": pages, "signatures.txt": signatures(),
        "openapi.json": json.dumps(interface(), indent=1, sort_keys=True) + "\n",
        "answers.json": json.dumps(answers(), indent=1) + "\n",
    }  # fmt: skip
    different = [
        name for name, text in files.items() if not (FOLDER / name).is_file() or (FOLDER / name).read_text() != text
    ]
    if "--check" in words:
        print(*(f"tests/surface/{name} differs" for name in different), sep="\n")  # noqa: T201
        return int(bool(different))
    for name, text in files.items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
