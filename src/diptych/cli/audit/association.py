"""``diptych audit association``: asked about one of two objects, does a model describe the other?"""

from __future__ import annotations

from typing import Annotated

import typer

from diptych.cli import flag_values, options
from diptych.cli.audit.answer import JsonFile, listed, tell
from diptych.cli.console import show


@options.offers("overwrite", *options.MODEL)
def audit_association(
    data: Annotated[str, typer.Argument(help="A table, or a folder with labels.csv: one object per picture.")],
    attribute: Annotated[str, options.option("--attribute", help="Column with the attribute, such as color.")],
    label: Annotated[str, options.option("--label", help="Column with the classes.")] = "",
    names: options.Names = None,
    template: Annotated[
        str, options.option("--template", help="Question with {object} and {value} (default: about the color).")
    ] = "",
    seed: Annotated[int, options.option("--seed", help="Seed of the pairs.")] = 0,
    out: JsonFile = None,
    *,
    shared: options.RunOptions,
) -> None:
    """Put pictures of two objects side by side, and ask for the attribute of one."""
    flag_values.one_suffix(out, ".json")
    shared.free(out)

    from diptych.core import ClassNames
    from diptych.data.load import open_data
    from diptych.tasks.audit.association import audit_association as audit

    with shared.open(seed=seed) as opened:
        own = open_data(data, opened.keys, need="groups", group=attribute, label=label)
        classes = ClassNames(flag_values.class_names(names, own.classes))
        findings, failed = audit(own.whole(), classes, [opened.backbone()], opened.run, template=template)

    def shown() -> None:
        for f in findings:
            show(f.reason if f.value is None else f"CAB score {f.value:.2f}. {f.says}")

    tell(listed(findings, failed), failed, out, shared, shown)
