"""``diptych verify``: does a backbone reach its published accuracy on my copy of the data?"""

from __future__ import annotations

from typing import Annotated

import typer

from diptych.cli import options
from diptych.cli.console import say, say_skipped, show, show_json
from diptych.core.errors import BoundBroken, UnreadableItem


def verify(
    data: Annotated[
        str, options.option("--data", help="The data set: class folders, as they are published.", show_default=False)
    ],
    dataset: Annotated[
        str, options.option("--dataset", help="imagenet1k, imagenetv2, imagenet-a, imagenet-r or imagenet_sketch.")
    ] = "imagenet1k",
    row: Annotated[
        str | None,
        options.option("--row", help="Published backbone to compare with (default: --backbone).", show_default=False),
    ] = None,
    tolerance: Annotated[float, options.option("--tolerance", help="Largest difference, a fraction.", min=0.0)] = 0.005,
    json: options.Json = False,
    backbone: options.BackboneName = "ViT-B-32/laion2b_s34b_b79k",
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    engine: options.Engine = "auto",
    batch: options.Batch = 32,
    workers: options.Workers = 2,
    cache: options.Cache = None,
    verify: options.Verify = False,
) -> None:
    """Measure zero-shot accuracy on your copy of the data and compare it with the published row. Exit code 5: it is
    another.
    """
    from diptych.data.load import open_data
    from diptych.evaluation.verify import compare, published

    chosen = row or backbone
    published(chosen, dataset)  # an unknown row is told before anything is loaded
    keys = options.file_keys(cache, verify)
    opened = open_data(data, keys, need="classes")
    run = options.open_run(device, precision, batch, workers, cache, engine=engine)
    found = compare(opened, options.open_backbone(backbone, run), run, row=chosen, dataset=dataset, tolerance=tolerance)
    keys.close()
    if json:
        show_json(found.as_dict())
    else:
        show(f"published  {100 * found.published:.2f} %  {found.row} on {found.dataset} ({found.source})")
        show(
            f"measured   {100 * found.measured:.2f} %  {found.items} of {found.of} photos, 95 % interval "
            f"{_interval(found.low, found.high)}"
        )
    say_skipped(found.skipped)
    if not found.within:
        sort = "photos" if found.items == found.of else "photos of a part, interval counted in"
        say(
            f"Not within {100 * tolerance:g} points ({found.items} {sort}): check the data, the weights and "
            f"--precision."
        )
        raise typer.Exit(BoundBroken.exit_code)
    say(
        f"Within {100 * tolerance:g} points"
        + ("." if found.items == found.of else " of the interval: this is a part of the data set.")
    )
    if found.skipped:
        raise typer.Exit(UnreadableItem.exit_code)


def _interval(low: float, high: float) -> str:
    return f"{100 * low:.2f} to {100 * high:.2f}"
