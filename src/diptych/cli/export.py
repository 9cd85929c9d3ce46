"""``diptych export``: a backbone as files for other programs, with the proof that they give its vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import flag_values, options
from diptych.cli.console import finish, say, say_skipped, show, show_json
from diptych.core import BoundBroken, UsageError
from diptych.core.errors import need_extra, need_onnx

_CPU = options.RunOptions(device="cpu", engine="torch", workers=1)


@options.offers("overwrite", "json", "cache")
def export(
    backbone: Annotated[
        str, typer.Argument(help="lite, lite:views, tiny, ViT-B-32/laion2b_s34b_b79k, hf:org/name, local:PATH ...")
    ] = "lite",
    to: Annotated[
        str,
        options.option(
            "--to", help="onnx or openvino (float32), or int8 (of the image encoder, for OpenVINO; needs --images)."
        ),
    ] = "onnx",
    out: Annotated[Path, options.option("--out", "-o", help="Folder to write.")] = Path("exported"),
    images: Annotated[
        str | None, options.option("--images", help="Your images, to measure parity and to calibrate int8.")
    ] = None,
    labelled: Annotated[
        str | None, options.option("--labelled", help="A folder of class folders, on which top-1 must not fall.")
    ] = None,
    names: options.Names = None,
    templates: options.Templates = None,
    max_drop: Annotated[float, options.option("--max-drop", help="Points of top-1 that may be lost.", min=0.0)] = 0.3,
    limit: Annotated[
        int, options.option("--limit", help="Images of each kind that are used, evenly spread.", min=1)
    ] = 256,
    *,
    shared: options.RunOptions = _CPU,
) -> None:
    """Write a backbone's encoders as graphs and measure them; exit code 5 where vectors or accuracy fall below their
    bound.
    """
    from diptych.data.load import open_data
    from diptych.tasks.export.tower import FORMS
    from diptych.tasks.export.tower import export as write

    if to not in FORMS:
        raise UsageError(f"--to takes {', '.join(FORMS)}, not {to!r}.")
    if to != "onnx":
        need_extra("openvino", f"--to {to}")
    need_onnx()
    if to == "int8":
        need_extra("openvino", f"--to {to}", "nncf")
    photos = open_data(images, need="photos").whole().items if images else None
    table = classes = None
    if labelled:
        data = open_data(labelled)
        table = data.split("test" if "test" in data.splits else next(iter(data.splits)))
        classes = flag_values.named_classes(names, data.classes, templates)
    with shared.open() as opened:
        result = write(
            opened.backbone(backbone), out, to, opened.run, images=photos, labelled=table, classes=classes,
            allowed=max_drop / 100, limit=limit, overwrite=shared.overwrite,
        )  # fmt: skip
    if shared.json:
        show_json({"out": str(out), **result.as_dict()})
    else:
        for modality, p in result.parity.items():
            show(
                f"{modality}: cosine to torch at least {min(p.least, p.least_alone):.7f}, mean {p.mean:.7f}, over "
                f"{p.items} items"
            )
        if result.gate:
            before, after = 100 * result.gate.torch, 100 * result.gate.exported
            show(
                f"top-1: {before:.2f} in torch, {after:.2f} exported, {after - before:+.2f} points, over "
                f"{result.gate.items} images"
            )
        show(f"{out}")
    for modality, reason in result.refused.items():
        say(f"{modality}: not exported ({reason})")
    if result.broken():
        say_skipped(result.skipped)
        raise BoundBroken(f"{result.broken()}: do not use {out}, or choose another form.")
    finish(result.skipped)
