"""``diptych doctor`` for the installation and ``diptych check`` for data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import flag_values, options
from diptych.cli.console import show, show_json, show_table
from diptych.cli.flags import Names, option
from diptych.cli.offers import offers
from diptych.core import UsageError
from diptych.core.errors import install


@offers("json", "cache")
def doctor(
    backbone: Annotated[
        str | None, option("--backbone", "-b", help="Also load this model in torch and encode a picture.")
    ] = None,
    *,
    shared: options.RunOptions,
) -> None:
    """Examine the installation: packages, device, cache, one export, and the runtimes of the embedded models."""
    from diptych.tasks.doctor import examine
    from diptych.tasks.runs import ENGINES, cache_folder

    folder = cache_folder(shared.cache)
    checked = examine(folder, engines=folder / ENGINES, backbone=backbone)
    if shared.json:
        show_json(checked.as_dict())
    else:
        absent = [s for s in checked.signs if s.state == "missing"]
        rows = [(s.name, s.state, s.detail, s.remedy) for s in checked.signs if s not in absent]
        width = 4 if any(row[-1] for row in rows) else 3
        show_table(["", "state", "detail", "remedy"][:width], [row[:width] for row in rows])
        if absent:
            show("Not installed, which only some systems and options need:")
            for sign in absent:
                show(f"  {sign.name}, {sign.detail}")
            show(f"To add one: {install('NAME')}.")
    if not checked.ok:
        raise typer.Exit(1)


@offers("overwrite", "json", "workers", "cache", "verify")
def check(
    data: Annotated[str, typer.Argument(help="A folder, a table, or demo:clothes.")],
    names: Names = None,
    out: Annotated[
        Path | None, option("--out", "-o", help="Also write all affected files to a .csv or .json file.")
    ] = None,
    *,
    shared: options.RunOptions,
) -> None:
    """Examine a data set before a run: empty classes, missing splits, broken pictures, names, duplicates, pictures that
    look the same. Exit code 1: it has errors.
    """
    from diptych.data.files import write_json, write_whole
    from diptych.tasks.check import check as examine_data

    if out is not None and out.suffix not in (".csv", ".json"):
        raise UsageError(f"--out writes .csv or .json, not {out.name!r}.")
    shared.free(out)
    class_names = None if names is None else (names if flag_values.names_file(names) else flag_values.words(names))
    with shared.open() as opened:
        checked = examine_data(data, names=class_names, keys=opened.keys, run=opened.light)
    spelled = {f: replace(f, message=flag_values.with_flags(f.message)) for f in checked.findings if f.kind == "names"}
    checked = replace(checked, findings=tuple(spelled.get(f, f) for f in checked.findings))
    if out is not None and out.suffix == ".csv":
        write_whole(out, checked.as_csv(), overwrite=shared.overwrite)
    elif out is not None:
        write_json(out, checked.as_dict(), overwrite=shared.overwrite)
    if shared.json:
        show_json(checked.as_dict())
    else:
        show(checked.title())
        if checked.findings:
            show_table(["", "what", "remedy"], [(f.severity, f.message, f.remedy) for f in checked.findings])
        else:
            show("No problem found.")
    if not checked.ok:
        raise typer.Exit(1)
