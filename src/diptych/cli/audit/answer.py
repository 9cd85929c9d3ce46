"""What audits share: options, and how an answer is written, printed and ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from diptych.cli import options
from diptych.cli.console import finish, show_json
from diptych.core import UnreadableItem

Grouped = Annotated[str, typer.Argument(help="A table, a folder with labels.csv, or folders CLASS/GROUP.")]
Label = Annotated[str, options.option("--label", help="Column with the classes (default: class_name, class or label).")]
JsonFile = Annotated[Path | None, options.option("--out", "-o", help="Also write a .json file.")]


def tell(
    report: Mapping[str, Any],
    failed: Sequence[UnreadableItem],
    out: Path | None,
    shared: options.RunOptions,
    show: Callable[[], None],
) -> None:
    """Write the requested file, print JSON or what people read, and leave with the exit code of what was skipped."""
    from diptych.data.files import write_json

    if out is not None:
        write_json(out, report, overwrite=shared.overwrite)
    if shared.json:
        show_json(report)
    else:
        show()
    finish(failed)


def listed(findings: Sequence[Any], failed: Sequence[UnreadableItem], **facts: Any) -> dict[str, Any]:
    """Return facts, findings and skipped items as plain data."""
    return {**facts, "findings": [f.as_dict() for f in findings], "skipped": [e.as_dict() for e in failed]}
