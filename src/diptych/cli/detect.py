"""``diptych detect``: which of these photos are not as they should be, and where?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diptych.cli import options
from diptych.cli.classify import open_photos
from diptych.cli.console import say, say_skipped, show, show_json
from diptych.core.errors import DataError, UnreadableItem, UsageError

if TYPE_CHECKING:
    from diptych.core.data import Samples
    from diptych.data.keys import FileKeys

Thing = Annotated[
    str | None,
    options.option(
        "--object", help='What the photos show, such as "hazelnut", for detectors that are told.', show_default=False
    ),
]
Auxiliary = Annotated[
    str | None,
    options.option(
        "--auxiliary",
        help="MVTec folder of another thing, for detectors that learn from anomalies.",
        show_default=False,
    ),
]


def detect(
    photos: Annotated[list[str], typer.Argument(help="Photos, a folder or a table.", show_default=False)],
    normal: Annotated[
        str | None, options.option("--normal", help="A folder of photos without anomalies.", show_default=False)
    ] = None,
    thing: Thing = None,
    auxiliary: Auxiliary = None,
    method: Annotated[
        str | None,
        options.option(
            "--method",
            "-m",
            help="A detector (default: winclip-style with --object, else feature-memory).",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[
        float | None,
        options.option(
            "--rate", help="Flag photos at this rate of false alarms, such as 0.05; needs --normal.", show_default=False
        ),
    ] = None,
    out: Annotated[Path, options.option("--out", "-o", help="Folder for heat maps and detect.json.")] = Path(
        "anomalies"
    ),
    seed: Annotated[int, options.option("--seed", help="Of draws and trainings.")] = 0,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    backbone: options.BackboneName = "lite",
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    engine: options.Engine = "auto",
    batch: options.Batch = 32,
    workers: options.Workers = 2,
    cache: options.Cache = None,
    verify: options.Verify = False,
) -> None:
    """Say which photos are anomalous and where, from normal photos or from words alone."""
    slug = method or ("winclip-style" if thing else "feature-memory")
    if normal is None and thing is None and auxiliary is None:
        raise UsageError('Say what is normal: give --normal FOLDER, or --object "hazelnut" for words alone.')
    keys = options.file_keys(cache, verify)
    samples, _ = open_photos(photos, keys)
    good = None if normal is None else _folder(normal, keys)

    from diptych.evaluation.datasets import open_set
    from diptych.tasks.detect import detect as detect_on
    from diptych.tasks.detect import detector, takes_thing
    from diptych.tasks.segment import stems

    system = detector(slug, "", thing or "object")
    if thing is not None and not takes_thing(type(system)):
        raise UsageError(
            f"{slug} is not told what the photos show: leave --object out, or take --method winclip-style."
        )
    known = None if auxiliary is None else open_set(auxiliary, "anomalies", keys).split("test")
    if (out / "detect.json").exists() and not overwrite:
        raise UsageError(f"{out / 'detect.json'} exists: give another --out or --overwrite.")
    run = options.open_run(device, precision, batch, workers, cache, seed=seed, engine=engine)
    tower = options.open_backbone(backbone, run)
    found = detect_on(samples, tower, run, method=system, normal=good, auxiliary=known, rate=rate)
    keys.close()
    about: dict[str, Any] = {
        "backbone": tower.spec.name,
        "method": slug,
        "object": thing,
        "false_alarm_rate": rate,
        "seed": seed,
    }
    data = found.write(out, stems([d.name for d in found.found]), about, overwrite=overwrite)
    if json:
        show_json(data)
    else:
        width = max((len(Path(d.name).name) for d in found.found), default=0)
        for d in found.ranked():
            mark = "" if d.flagged is None else "  anomalous" if d.flagged else "  normal"
            show(f"{Path(d.name).name:<{width}}  {d.score:10.4g}{mark}")
    maps = sum(d.map is not None for d in found.found)
    if found.threshold is not None:
        flagged = sum(bool(d.flagged) for d in found.found)
        say(
            f"{flagged} of {len(found.found)} flagged above {found.threshold:.4g}: at most {rate:g} false alarms a "
            f"normal photo,"
            f" from {found.normal[1]} kept aside"
        )
    say(
        f"{maps} heat maps and detect.json in {out}"
        if maps
        else f"detect.json in {out}; {slug} judges whole photos and has no maps"
    )
    say_skipped(found.failed)
    if found.failed:
        raise typer.Exit(UnreadableItem.exit_code)


def _folder(place: str, keys: FileKeys) -> Samples[Any]:
    from diptych.data.folders import ImageFiles, image_paths
    from diptych.data.named_sets import located

    paths = image_paths(located(place))
    if not paths:
        raise DataError(f"No normal photos below {place}: give a folder that holds some.")
    return ImageFiles(paths, keys)
