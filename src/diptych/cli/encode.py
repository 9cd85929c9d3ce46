"""``diptych encode``: embeddings as files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diptych.cli import options
from diptych.cli.console import finish, say, show, show_json
from diptych.cli.photos import open_regions, speed
from diptych.core import DataError, UsageError
from diptych.core.wording import number_of

if TYPE_CHECKING:
    from diptych.tasks.encode.write import Encoded


@options.offers("overwrite", "draft", "cluster", "cluster_threads", *options.MODEL)
def encode(
    source: Annotated[str | None, typer.Argument(help="A folder, a table, tars, one photo, or demo:photos.")] = None,
    texts: Annotated[Path | None, options.option("--texts", help="Encode a file with one text a line instead.")] = None,
    regions: options.Regions = None,
    out: Annotated[Path, options.option("--out", "-o", help="Folder to write.")] = Path("embeddings"),
    parquet: Annotated[
        bool, options.option("--parquet", help="Write Parquet of image_id and embedding beside them, in OUT/parquet.")
    ] = False,
    *,
    shared: options.AutoOptions,
) -> None:
    """Write unit embeddings in the layout of clip-retrieval: img_emb/img_emb_0.npy and metadata/metadata_0.parquet."""
    if (source is None) == (texts is None):
        raise UsageError("Give either photos or --texts FILE.")
    if texts is not None and regions is not None:
        raise UsageError("Texts have no regions: give photos with --regions.")
    if regions is not None and shared.cluster is not None:
        raise UsageError("Regions are encoded in one process: leave out --cluster, or --regions.")
    if regions is not None and parquet:
        raise UsageError("Several regions share an image_id: leave out --parquet, or --regions.")
    from diptych.core import Texts
    from diptych.data.addresses import published
    from diptych.data.files import address_of
    from diptych.data.load import open_data
    from diptych.data.words.textfiles import read_text
    from diptych.tasks.encode.write import encode as write_embeddings
    from diptych.tasks.encode.write import write_parquet

    if texts is not None:
        lines = tuple(line for line in read_text(texts, "texts").splitlines() if line.strip())
        if not lines:
            raise DataError(f"{texts} holds no text: give one a line.")
    if address_of(out):
        shared.free(out)
    with shared.open() as opened, published(out) as local:
        if regions is not None:
            from diptych.tasks.encode.regions import encode_regions

            told, _ = open_regions([source or ""], regions, opened)
            result = encode_regions(told, opened.backbone(), opened.run, local, overwrite=shared.overwrite)
        else:
            given = open_data(source, opened.keys, need="photos") if source is not None else Texts(lines)
            backbone, run, crew = (*opened.encoders("image" if texts is None else "text"), opened.crew())
            result = write_embeddings(given, backbone, run, local, overwrite=shared.overwrite, crew=crew)
            if parquet:
                write_parquet(local)
    result = replace(result, out=out)
    if regions is None:
        say(speed(result.encoded, result.seconds, run, shared.backbone, "texts" if texts else "images"))
    _tell(result, shared.json)


def _tell(result: Encoded, json: bool) -> None:
    from diptych.data.files import named

    if json:
        show_json(result.as_dict())
    else:
        show(f"{number_of(result.items, 'vector')} of {result.dim} numbers in {named(result.out)}")
    finish(result.failed)
