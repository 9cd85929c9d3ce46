"""``diptych board few-shot``: the field's few-shot protocol in one resumable command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from diptych.cli import flag_values, options
from diptych.cli.board import leave, show_board
from diptych.cli.console import command_line, show, show_json, show_table

if TYPE_CHECKING:
    from diptych.evaluation.few_shot.plan import Plan


@dataclass(frozen=True)
class Draws:
    """Which systems are measured, and on which draws."""

    methods: Annotated[
        str | None,
        options.option(
            "--methods", help="Names of systems, with commas, as diptych systems lists them (default: all)."
        ),
    ] = None
    settings: options.RowSettings = None
    shots: Annotated[str, options.option("--shots", help="Training photos of each class.")] = "1,4,16"
    seeds: Annotated[str, options.option("--seeds", help="Seeds of the draws.")] = "1,2,3"
    val: Annotated[
        str, options.option("--val", help="coop: choose on min(shots, 4) val items per class; full: on all of val.")
    ] = "coop"

    def plan(self) -> Plan:
        """Return the plan of a board."""
        from diptych.data.splits import ValRule
        from diptych.evaluation.few_shot.plan import Plan

        slugs = flag_values.words(self.methods) if self.methods else None
        shots, seeds = flag_values.integers(self.shots, "shots"), flag_values.integers(self.seeds, "seeds")
        return Plan(slugs, shots, seeds, cast(ValRule, self.val), settings=tuple(self.settings or ()))


_FIELD = Draws(shots="1,2,4,8,16")


@options.offers("overwrite", *options.MODEL)
def board_few_shot(
    data: Annotated[str, typer.Argument(help="A folder with train and test, a table, or demo:clothes.")],
    *,
    draws: Draws = _FIELD,
    cross: Annotated[
        list[str] | None, options.option("--cross", help="Another data set, with its own classes; repeat for several.")
    ] = None,
    shifted: Annotated[
        list[str] | None,
        options.option("--shifted", help="A test set of the same classes that looks different; repeat for several."),
    ] = None,
    texts: options.TextPool = None,
    out: Annotated[
        Path, options.option("--out", "-o", help="Results folder; the same command goes on from it.")
    ] = Path("out/few-shot"),
    shared: options.RunOptions,
) -> None:
    """Measure shots 1 to 16, base to new classes, other data sets and shifted test sets, with three seeds."""
    from diptych.data.load import open_data
    from diptych.evaluation.few_shot.protocol import protocol
    from diptych.evaluation.pages import protocol as protocol_page

    plan = draws.plan()
    with shared.open(out=out) as opened:
        dataset = open_data(data, opened.keys, need="classes")
        others = [open_data(name, opened.keys, need="classes") for name in cross or ()]
        looks = [open_data(name, opened.keys, need="classes") for name in shifted or ()]
        result = protocol(
            dataset,
            opened.backbone(),
            opened.run,
            plan,
            cross=others,
            shifted=looks,
            texts=flag_values.text_pool(texts),
            source=data,
            command=command_line(),
            overwrite=shared.overwrite,
        )
    protocol_page.write(result, out / "protocol.html")
    if shared.json:
        show_json(result.as_dict())
    else:
        show_board(result.board.as_dict())
        rows = [(label, *(f"{100 * v:.1f}" for v in values)) for label, values in result.harmonic().items()]
        if rows:
            show_table(["base to new", "base", "new", "harmonic"], rows, right=(1, 2, 3))
        reached = [
            (f"{r.kind} {r.name}", r.label, f"{100 * r.accuracy.value:.1f}")
            for r in result.reaches
            if r.kind in ("cross", "shift")
        ]
        if reached:
            show_table(["measured on", "system", "top-1"], reached, right=(2,))
        for reason, labels in result.reasons().items():
            show(f"{'; '.join(labels)}: {reason}")
        show(f"{out / 'protocol.html'}")
    leave(result.board.as_dict()["skipped"], not result.complete)
