"""``diptych board classify``: every fitting system on your data, measured alike."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from diptych.cli import flag_values, options
from diptych.cli.console import finish, say, show, show_json, show_table
from diptych.cli.photos import counted
from diptych.core import UsageError

if TYPE_CHECKING:
    from diptych.evaluation.few_shot.board import Board
    from diptych.evaluation.few_shot.plan import Plan
    from diptych.evaluation.pages.comparison import Comparison


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

    def plan(self, budget: float | None = None, timeout: float | None = None) -> Plan:
        """Return the plan of a board, with its limits in seconds."""
        from diptych.data.splits import ValRule
        from diptych.evaluation.few_shot.plan import Plan

        slugs = flag_values.words(self.methods) if self.methods else None
        shots, seeds = flag_values.integers(self.shots, "shots"), flag_values.integers(self.seeds, "seeds")
        return Plan(slugs, shots, seeds, cast(ValRule, self.val), budget, timeout, tuple(self.settings or ()))


@options.offers("overwrite", *options.MODEL)
def board_classify(
    data: Annotated[
        list[str], typer.Argument(help="A folder with train and test, a table, or demo:clothes; several are compared.")
    ],
    *,
    draws: Draws,
    names: options.Names = None,
    templates: options.Templates = None,
    texts: options.TextPool = None,
    unlabelled: Annotated[
        str | None, options.option("--unlabelled", help="Photos for label-free systems (default: train).")
    ] = None,
    budget: Annotated[
        float | None,
        options.option("--budget", help="Seconds for the whole board; rows that are finished by then are shown."),
    ] = None,
    timeout: Annotated[float | None, options.option("--timeout", help="Seconds for each system.")] = None,
    export: Annotated[
        str | None, options.option("--export", help="Write OUT/model: best (chosen on val), or the slug of a system.")
    ] = None,
    out: Annotated[
        Path, options.option("--out", "-o", help="Folder for rows, board.json, board.csv and report.html.")
    ] = Path("out/board"),
    shared: options.RunOptions,
) -> None:
    """Run every classifier at several shots and seeds; finished rows are kept and used again."""
    from diptych.data.load import open_data
    from diptych.evaluation.few_shot import again
    from diptych.evaluation.few_shot.plan import PAGE
    from diptych.evaluation.few_shot.unlabelled import Unlabelled

    plan = draws.plan(budget, timeout)
    if len(data) > 1 and (names or texts or unlabelled):
        raise UsageError("--names, --texts and --unlabelled belong to one data set: give one, or leave them out.")
    boards: list[Board] = []
    shown: list[dict[str, Any]] = []
    with shared.open() as opened:
        sets = [open_data(name, opened.keys, need="classes") for name in data]
        classes = [flag_values.named_classes(names, d.classes, templates) for d in sets]
        pool = flag_values.text_pool(texts)
        images = Unlabelled.open(unlabelled, opened.keys) if unlabelled else None

        def key(fingerprint: str) -> str:
            request = {"backbone": fingerprint, "source": data[0], "export": export}
            request |= {name: getattr(shared, name) for name in ("device", "precision", "engine")}
            return again.key_of(sets[0], plan, classes[0], pool, images, request)

        known = opened.recalled if len(data) == 1 else None
        if known and (before := again.written(out, key(known[0].fingerprint))) and (out / PAGE).exists():
            before |= {"encode": {"images": 0.0, "image_seconds": 0.0, "text_seconds": 0.0}}
            _tell(before, out, export, shared.json)
            say(f"{encoding(before)}; nothing has changed since {before['date']}, so no row was run")
            if shared.json:
                show_json(before)
            leave(before["skipped"])
            return
        from diptych.evaluation.few_shot.board import board
        from diptych.evaluation.pages import board as report
        from diptych.evaluation.pages import comparison
        from diptych.tasks.label_maps.segmented import stems

        tower = opened.backbone()
        for i, stem in enumerate(stems([d.name.replace(":", "-") for d in sets])):
            folder = out if len(data) == 1 else out / stem
            result = board(
                sets[i],
                tower,
                replace(opened.run, out=folder),
                plan,
                classes=classes[i],
                texts=pool,
                unlabelled=images,
                export=export,
                source=data[i],
                command=command_line(),
                overwrite=shared.overwrite,
            )
            report.write(result, folder / PAGE)
            boards.append(result)
            shown.append(result.as_dict())
            _tell(shown[-1], folder, export, shared.json)
            say(encoding(shown[-1]))
            if result.interrupted:
                break
        if len(data) == 1:
            opened.remember(tower)
            again.keep(out, key(tower.fingerprint), shown[0])
    if len(boards) > 1:
        compared = comparison.compare(boards)
        compared.write(out, overwrite=shared.overwrite)
        if not shared.json:
            show_comparison(compared)
            show(f"{out / comparison.PAGE}")
    if shared.json:
        show_json(shown[0] if len(data) == 1 else {"boards": shown})
    for result in boards:
        leave(result.as_dict()["skipped"], result.interrupted)


def _tell(board: Mapping[str, Any], folder: Path, export: str | None, json: bool) -> None:
    """Print a board and the paths of its files, unless JSON is requested."""
    from diptych.evaluation.few_shot.plan import MODEL, PAGE

    if json:
        return
    show_board(board)
    if export and (folder / MODEL).exists():
        show(f"{folder / MODEL}: diptych classify PHOTOS --model {folder / MODEL}")
    show(f"{folder / PAGE}")


def command_line() -> str:
    """Return the command that is running, as a person would type it."""
    return shlex.join(["diptych", *sys.argv[1:]])


def leave(failed: Sequence[Any], interrupted: bool = False) -> None:
    """Name what was skipped and leave with the exit code that says so; a board out of its budget is a result."""
    if interrupted:
        say("Interrupted: the board holds the rows that were finished; the same command goes on from there.")
    finish(failed, 130 if interrupted else 0)


def encoding(board: Mapping[str, Any]) -> str:
    """Return one line about what was encoded."""
    n, seconds = board["encode"]["images"], board["encode"]["image_seconds"]
    rate = counted(int(n), seconds) if n else "all images from the cache"
    where = f"{board['spec']['name']} on {board['device']}, {board['precision']}"
    return f"{where}: {rate}; texts {board['encode']['text_seconds']:.1f} s"


def show_board(board: Mapping[str, Any]) -> None:
    """Print a board as written, percentages with 95 % intervals, then what is missing or late, then the choice."""
    rows = []
    for row in board["rows"]:
        low, high = row["ci95"]["acc1"]
        gain = "" if row["gain"] is None else f"{100 * row['gain']['acc1']:+.1f}"
        p = row["p_holm"]
        rows.append(
            (
                _called(row["method"], row["variant"], row["shots"]),
                f"{100 * row['metrics']['acc1']:.1f} ({100 * low:.0f}-{100 * high:.0f})",
                gain,
                "" if p is None else "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0"),
                f"{100 * row['metrics']['ece']:.0f}",
                f"{row['seconds']['fit']:.1f}+{row['seconds']['predict']:.1f}",
                _extra(row),
            )
        )
    counted = f"{board['items']} {board['measured']} photos, {len(board['classnames'])} classes"
    columns = ["system", "top-1 (95 %)", "gain", "p", "ECE", "fit+predict s", "extra"]
    title = f"{board['dataset']}: {counted}, {board['spec']['name']}"
    show_table(columns, rows, right=range(1, 6), title=title, spare=(5, 6, 4))
    reasons: dict[str, list[str]] = {}
    for label, reason in (*board["missing"].items(), *board["late"].items()):
        reasons.setdefault(reason, []).append(label)
    for reason, labels in reasons.items():
        show(f"{'; '.join(labels)}: {reason}")
    choice = board["choice"]
    if choice is None:
        why = "there is no val or train split to choose on" if rows else "no row is finished"
        show(f"No recommendation: {why}.")
        return
    on, test = choice["chosen_on"], choice["test"]
    called = _called(choice["method"], choice["variant"], choice["shots"])
    apart = "that fit had seen too" if on["seen_by_fit"] else "apart from test, seen by no system"
    show(f"Recommended: {called}: {100 * on['acc1']:.1f} % of {on['items']:.0f} photos {apart}.")
    show(f"On test it reached {100 * test['acc1']:.1f} % ({100 * test['ci95'][0]:.1f}-{100 * test['ci95'][1]:.1f}).")


def _called(slug: str, variant: str, shots: int) -> str:
    """Return what a row is called where it must be short: by the name that --methods takes."""
    return ", ".join(
        part for part in (slug, variant, f"{shots} shot{'' if shots == 1 else 's'}" if shots else "") if part
    )


def _extra(row: Mapping[str, Any]) -> str:
    """Return what a system was given besides class names."""
    given = {"photos": row["images"], "texts": row["extra_texts"]}
    return ", ".join(f"{count} {what}" for what, count in given.items() if count) or "-"


def show_comparison(compared: Comparison) -> None:
    """Print mean ranks over several data sets."""
    rows = [
        (name, f"{rank:.2f}")
        for name, rank in sorted(zip(compared.systems, compared.ranks, strict=True), key=lambda pair: pair[1])
    ]
    show(f"\nMean rank over {len(compared.datasets)} data sets. {compared.remark}")
    show_table(["system", "rank"], rows, right=(1,))
