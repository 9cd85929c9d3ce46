"""``diptych new-system``: begin a system."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli.console import show, show_json
from diptych.cli.flags import Json, option


def new_system(
    slug: Annotated[str, typer.Argument(help="Lower-case words joined by dashes, such as my-system.")],
    verb: Annotated[
        str,
        option("--verb", help="What the user wants to do, such as detect or audit: the folder of the system."),
    ] = "classify",
    name: Annotated[str | None, option("--name", help="The paper's spelling of it.")] = None,
    root: Annotated[
        Path | None,
        option("--root", help="A checkout of diptych (default: here, else a package of its own in ./SLUG)."),
    ] = None,
    json: Json = False,
) -> None:
    """Write file, card, test and proof of a new system: a small one that works, for you to rewrite."""
    from diptych.tasks.new_system import new_system as write

    written = write(slug, verb, root, name=name)
    if json:
        show_json({part: str(path) for part, path in vars(written).items() if path is not None})
        return
    show(f"{written.system}   the system: replace what says TODO")
    show(f"{written.card}   its card: paper, claim, needs and differences")
    show(f"{written.test}   its test")
    if written.project is not None:
        show(f"{written.project}   the entry point by which diptych finds it")
        show(f"Next: pip install -e {written.project.parent} && python -m pytest {written.test}")
        return
    if written.proof is not None:
        show(f"{written.proof}   the entry of its proof")
    else:
        show(f"Its card plans a proof: write it after a neighbour among the proofs of {verb}.")
    stem = written.system.stem
    show(f"Next: python -m pytest {written.test} tests/contract -k '{stem} or {slug}'")
