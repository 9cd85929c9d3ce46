"""``diptych rerun``: repeat a written result and compare."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import options
from diptych.cli.console import finish, say, show_json, show_table
from diptych.cli.flags import option
from diptych.cli.offers import offers
from diptych.core import BoundBroken, UsageError


@offers("json", "batch", "workers", "cache", "verify")
def rerun(
    result: Annotated[Path, typer.Argument(help="A row, board.json or its folder, or results/SLUG.json.")],
    tolerance: Annotated[
        float, option("--tolerance", help="Largest difference that counts as the same.", min=0.0)
    ] = 1e-6,
    engine: Annotated[
        str | None, option("--engine", help="Default: that of the result.", rich_help_panel="Model")
    ] = None,
    *,
    shared: options.RunOptions,
) -> None:
    """Run a written result again and compare the numbers. Data, backbone, draws and seeds are those of the result; exit
    code 5: other numbers.
    """
    from diptych.backbones.engines.engine import kind_of
    from diptych.data.files import read_json
    from proofs.rerun import backbone_of
    from proofs.rerun import rerun as repeat

    if (result / "board.json").is_file():
        result /= "board.json"
    if not result.exists():
        raise UsageError(f"There is no file {result}: give a row, board.json or results/SLUG.json.")
    written = read_json(result)
    run_options = replace(
        shared,
        device=str(written.get("device", "cpu")),  # the result says its precision
        engine=engine or kind_of(str(written.get("engine", "torch"))),
    )
    with run_options.open() as opened:
        tower = opened.backbone(backbone_of(written))
        compared = repeat(written, tower, opened.run, tolerance=tolerance, keys=opened.keys)
    if shared.json:
        show_json(compared.as_dict())
    else:
        new = compared.new
        rows = [
            (n, f"{v:.6f}", f"{new[n]:.6f}" if n in new else "-", "differs" if n in compared.differing else "same")
            for n, v in compared.old.items()
        ]
        show_table(["number", "written", "now", ""], rows, right=(1, 2))
    for note in compared.notes:
        say(note)
    finish(compared.skipped, BoundBroken.exit_code if compared.differing else 0)
