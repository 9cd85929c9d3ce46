"""``diptych board several-labels``: from which score on is a class there, on photos that show more than one?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import flag_values, options
from diptych.cli.console import finish, show, show_json, show_table
from diptych.core import UsageError
from diptych.tasks.defaults import DEFAULTS


@options.offers("json", "backbone", "device", "precision", "engine", "batch", "workers", "cache")
def board_several_labels(
    table: Annotated[Path, typer.Argument(help="A .csv, .tsv or .parquet with paths and several labels per row.")],
    labels: Annotated[str, options.option("--labels", help="Column of the labels.")] = "labels",
    separator: Annotated[str, options.option("--separator", help="Separator of labels.")] = ";",
    path: Annotated[str, options.option("--path", help="Column of the picture files.")] = "path",
    method: Annotated[str, options.option("--method", help="A system that needs no labels.")] = DEFAULTS["classify"],
    templates: options.Templates = None,
    texts: options.TextPool = None,
    seed: Annotated[int, options.option("--seed", help="Seed of the two halves.")] = 0,
    *,
    shared: options.RunOptions,
) -> None:
    """Choose a threshold for each class on half of the photos, and measure on the other half."""
    from diptych import catalog
    from diptych.core import Classifier, ClassNames, Evidence
    from diptych.data.formats.typed import Typed, read_typed
    from diptych.evaluation.several import several_labels

    system = catalog.find(method, Classifier)
    if {"train", "unlabelled"} & set(system.card.needs.evidence):
        raise UsageError(
            f"{method} learns from photos: give a classifier that sees none, such as {DEFAULTS['classify']}."
        )
    if not separator:
        raise UsageError("An empty --separator divides no labels: give what stands between two of them, such as ';'.")
    data = read_typed(table, {"labels": Typed("multilabel", labels, separator)}, items=path)
    if len(data.splits) > 1:
        raise UsageError(
            f"{table} has the splits {', '.join(data.splits)}, and halves are drawn here: give a table of one split."
        )
    pool = flag_values.text_pool(texts)
    classes = ClassNames(data.classes, flag_values.template_set(templates))
    evidence: Evidence[object] = Evidence(texts=pool.texts if pool else None)
    (only,) = data.splits.values()
    with shared.open(seed=seed) as opened:
        tower = opened.backbone()
        result = several_labels(only, classes, system(), tower, opened.run, evidence=evidence)
    if shared.json:
        show_json(result.as_dict())
    else:
        show_table(
            ["class", "there from"],
            [(n, f"{t:+.2f}") for n, t in zip(result.names, result.thresholds, strict=True)],
            right=(1,),
        )
        show(
            f"Chosen on {result.chosen_on} photos, measured on {result.items} others, {len(result.names)} classes, "
            f"{tower.spec.name}:"
        )
        low, high = 100 * result.micro.low, 100 * result.micro.high
        show(
            f"  F1 {100 * result.micro.value:.1f} ({low:.1f}-{high:.1f}), over classes {100 * result.macro:.1f}; "
            f"the one best class alone {100 * result.top1:.1f}; "
            f"mean average precision {100 * result.average_precision:.1f}."
        )
    finish(result.facts["skipped"])
