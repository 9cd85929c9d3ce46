"""``diptych encode``: embeddings as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.cli import options
from diptych.cli.classify import speed
from diptych.cli.console import say, say_skipped, show, show_json
from diptych.core.errors import DataError, UnreadableItem, UsageError


def encode(
    source: Annotated[
        str | None, typer.Argument(help="A folder, a table, tars, one photo, or demo:photos.", show_default=False)
    ] = None,
    texts: Annotated[
        Path | None, options.option("--texts", help="Encode a file with one text a line instead.", show_default=False)
    ] = None,
    out: Annotated[Path, options.option("--out", "-o", help="Folder to write.")] = Path("embeddings"),
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    backbone: options.BackboneName = "lite",
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    engine: options.Engine = "auto",
    draft: options.Draft = False,
    batch: options.AutoBatch = 0,
    workers: options.AutoWorkers = 0,
    cache: options.Cache = None,
    verify: options.Verify = False,
    cluster: options.OnCluster = None,
    cluster_threads: options.ClusterThreads = 1,
) -> None:
    """Write unit embeddings in the layout of clip-retrieval: img_emb/img_emb_0.npy and metadata/metadata_0.parquet."""
    if (source is None) == (texts is None):
        raise UsageError("Give either photos or --texts FILE.")
    from diptych.core.data import Texts
    from diptych.data.load import open_data
    from diptych.data.textfiles import read_text
    from diptych.tasks.encode import encode as write_embeddings

    keys = options.file_keys(cache, verify)
    if texts is not None:
        lines = tuple(line for line in read_text(texts, "texts").splitlines() if line.strip())
        if not lines:
            raise DataError(f"{texts} holds no text: give one a line.")
    opened = open_data(source, keys, need="photos") if source is not None else Texts(lines)
    run = options.open_run(device, precision, batch, workers, cache, engine=engine, draft=draft)
    with options.workers(cluster, cluster_threads, run.device) as pool:
        crew = options.crew(pool, cluster_threads, backbone, run.device)
        made = write_embeddings(opened, options.open_backbone(backbone, run), run, out, overwrite=overwrite, crew=crew)
    keys.close()
    if json:
        show_json(made.as_dict())
    else:
        show(f"{made.items} vectors of {made.dim} numbers in {made.out}")
    say(
        speed(made.encoded, made.seconds, run.device, run.precision, backbone).replace(
            "images", "texts" if texts else "images"
        )
    )
    say_skipped(made.failed)
    if made.failed:
        raise typer.Exit(UnreadableItem.exit_code)
