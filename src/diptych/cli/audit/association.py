"""``diptych audit association``: asked about one of two objects, does a model describe the other?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import options
from diptych.cli.console import finish, show, show_json


@options.offers("overwrite", *options.MODEL)
def audit_association(
    data: Annotated[str, typer.Argument(help="A table, or a folder with labels.csv: one object a picture.")],
    attribute: Annotated[str, options.option("--attribute", help="Column with the attribute, such as color.")],
    label: Annotated[str, options.option("--label", help="Column with the classes.")] = "",
    names: options.Names = None,
    template: Annotated[
        str, options.option("--template", help="Question with {object} and {value} (default: about the color).")
    ] = "",
    seed: Annotated[int, options.option("--seed", help="Seed of the pairs.")] = 0,
    out: Annotated[Path | None, options.option("--out", "-o", help="Also write a .json file.")] = None,
    *,
    shared: options.RunOptions,
) -> None:
    """Put pictures of two objects side by side, and ask for the attribute of one."""
    options.one_suffix(out, ".json")
    shared.free(out)

    from diptych.core.data import ClassNames
    from diptych.data.files import write_json
    from diptych.data.load import open_data
    from diptych.tasks.audit.association import audit_association as audit

    with shared.open(seed=seed) as opened:
        own = open_data(data, opened.keys, need="groups", group=attribute, label=label)
        classes = ClassNames(options.class_names(names, own.classes))
        findings, failed = audit(own.whole(), classes, [opened.backbone()], opened.run, template=template)
    report = {"findings": [f.as_dict() for f in findings], "skipped": [e.as_dict() for e in failed]}
    if out is not None:
        write_json(out, report, overwrite=True)
    if shared.json:
        show_json(report)
    else:
        for f in findings:
            show(f.reason if f.value is None else f"CAB score {f.value:.2f}. {f.says}")
    finish(failed)
