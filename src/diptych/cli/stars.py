"""Light curves in ``diptych extend`` and ``diptych classify``: both take a table of measurements in the place of clips
and photos.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from diptych.cli.console import say_skipped, show, show_json
from diptych.core.errors import UnreadableItem, UsageError

if TYPE_CHECKING:
    from diptych.core.run import Run
    from diptych.tasks.classified import Classified


def holds_curves(paths: list[str]) -> bool:
    """Return whether the first path holds light curves, and is no demo."""
    from diptych.data.formats.star_table import holds_curves

    return holds_curves(paths[0])


def extend_stars(curves: str, label: str | None, epochs: int, out: Path, run: Run, json: bool) -> None:
    """Align and tune towers of light curves (AstroM3), say what they reach, and keep them."""
    from diptych.data.load import open_data
    from diptych.methods.extend.astrom3 import SMALL
    from diptych.tasks.stars import extend_stars as fit

    found = fit(open_data(curves, need="curves", label=label or ""), run, out=out, method=replace(SMALL, epochs=epochs))
    if json:
        show_json({**found.as_dict(), "out": str(out)})
    else:
        classes = len(found.classifier.classes)
        show(
            f"{found.aligned} light curves aligned, {found.labelled} labels of {classes} classes, in "
            f"{found.seconds:.0f} s"
        )
        for name, right in found.right.items():
            show(f"{name:<12}  {right} of {found.tested} {found.held} stars right")
        show(f"Name other stars with: diptych classify CURVES --model {out}")
    say_skipped(found.failed)
    if found.failed:
        raise typer.Exit(UnreadableItem.exit_code)


def classify_stars(curves: list[str], model: Path | None, run: Run, top: int, threshold: float | None) -> Classified:
    """Say of which class each star is.

    Raises:
        UsageError: there is no model, or several tables.
    """
    from diptych.core.data import Table
    from diptych.data.load import open_data
    from diptych.tasks.stars import classify_stars as answer

    if model is None:
        raise UsageError(
            "No backbone knows light curves by the names of classes: run 'diptych extend CURVES', and give its folder "
            "with --model."
        )
    if len(curves) > 1:
        raise UsageError("Give one table of light curves, or one folder: join your tables first.")
    items = open_data(curves[0], need="curves").whole().items
    return answer(Table(items), model, run, top=top, threshold=threshold)
