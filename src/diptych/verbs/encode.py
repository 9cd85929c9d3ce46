"""``encode``: embeddings of photos, of boxes on them, or of texts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core import DataError, Texts, UsageError
from diptych.core.wording import number_of
from diptych.verbs import kinds
from diptych.verbs.answer import Answer, speed
from diptych.verbs.arguments import BOXES, argument
from diptych.verbs.context import Context, refuse_cluster
from diptych.verbs.declare import CLUSTER, RUN, Verb
from diptych.verbs.photos import open_labelled, paths_of, with_remedy

if TYPE_CHECKING:
    from diptych.core import Run
    from diptych.data.labelled import LabelledData
    from diptych.tasks.encode.write import Embedded, Encoded


@dataclass(frozen=True, kw_only=True)
class Encode(Verb):
    """Write unit embeddings in the files of clip-retrieval: img_emb/img_emb_0.npy and
    metadata/metadata_0.parquet.
    """

    examples: ClassVar[tuple[str, ...]] = (
        "encode photos/",
        'encode "shards/{00000..00099}.tar" --out vectors',
    )
    out: ClassVar[str] = "embeddings"
    out_help: ClassVar[str] = "Folder to write."
    python_out: ClassVar[Any] = "position"
    result: ClassVar[str] = "Embeddings"
    run_options: ClassVar[dict[str, Any]] = {"batch": 0, "workers": 0}
    offers: ClassVar[tuple[str, ...]] = (*RUN, "draft", *CLUSTER, "batch", "workers")

    photos: Any = argument(
        "A folder, a table, tars, one photo, or demo:photos.", kinds.PHOTOS, None, flag="SOURCE", word=True,
        positional=True, faces=("command", "python"),
    )  # fmt: skip
    texts: str | Sequence[str] | Path | None = argument(
        'Encode texts instead: a file with one text per line, or one text: "a red car".', kinds.TEXT_FILE, None
    )
    regions: Any = argument(BOXES, kinds.FILE, None)
    parquet: bool = argument(
        "Write Parquet of image_id and embedding beside them, in OUT/parquet.", default=False,
        faces=("command", "python"),
    )  # fmt: skip

    def check(self) -> None:
        """Refuse photos with texts, and regions of texts."""
        if (self.photos is None) == (self.texts is None):
            raise UsageError("Give either photos or {texts}.")
        if self.texts is not None and self.regions is not None:
            raise UsageError("Texts have no regions: give photos with {regions}.")
        if self.regions is not None and self.parquet:
            raise UsageError("Several regions share an image_id: leave out {parquet}, or {regions}.")

    def run(self, context: Context) -> Encoding:
        """Embed, and write where there is a folder to write."""
        try:
            return self._run(context)
        except (UsageError, DataError) as error:
            paths = paths_of(self.photos) or ["."]
            if any(os.path.exists(path) and not path.lower().endswith(".txt") for path in paths):
                raise
            raise with_remedy(error, "words go to {texts}") from None

    def _run(self, context: Context) -> Encoding:
        from diptych.data.addresses import published
        from diptych.data.files import address_of
        from diptych.tasks.encode import write

        refuse_cluster(context, "" if self.regions is None else "regions")
        if context.on_cluster and context.out is None:
            raise UsageError("Workers of a cluster fill a folder: give {out}, or leave out {cluster}.")
        if self.parquet and context.out is None:
            raise UsageError("{parquet} is a file beside the others: give {out}, or leave it out.")
        texts, out = self._texts(), context.out
        if out is not None and address_of(out):
            context.free("")
        if self.regions is not None:
            # Here, for both load torch, which photos and texts with an exported encoder can do without.
            from diptych.tasks.encode.regions import embedded_regions, encode_regions
            from diptych.tasks.regions import RegionSource

            data = self._photos(context)
            run = context.run()
            source = RegionSource.open(data, self.regions, context.backbone, decode=run.decode)
            if out is None:
                return Encoding(self, embedded_regions(source, context.model(), run))
            with published(out) as local:
                encoded = encode_regions(source, context.model(), run, local, overwrite=context.overwrite)
            return Encoding(self, replace(encoded, out=out))
        if out is None:
            given, encoder, run = self._opened(texts, context)
            return Encoding(self, write.embedded(given, encoder, run))
        with published(out) as local:
            given, encoder, run = self._opened(texts, context)
            crew = context.crew()
            encoded = write.encode(given, encoder, run, local, overwrite=context.overwrite, crew=crew)
            if self.parquet:
                write.write_parquet(local)
        fast = speed(encoded.encoded, encoded.seconds, run, context.backbone, "images" if texts is None else "texts")
        return Encoding(self, replace(encoded, out=out), fast)

    def _opened(self, texts: Texts | None, context: Context) -> tuple[Any, Any, Run]:
        """Return what is encoded, its encoder and the run."""
        given: Any = self._photos(context) if texts is None else texts
        context.expect(sum(map(len, given.splits.values())) if texts is None else len(texts))
        return given, *context.encoders("image" if texts is None else "text")

    def _texts(self) -> Texts | None:
        from diptych.data.words.textfiles import read_text

        if not isinstance(self.texts, Path):
            if self.texts is None:
                return None
            given = Texts.of(self.texts)
            if empty := [i for i, text in enumerate(given.values) if not text.strip()]:
                raise UsageError(f"{{texts}} holds no words at position {empty[0]}: leave it out.")
            return given
        lines = tuple(line for line in read_text(self.texts, "texts, one per line").splitlines() if line.strip())
        if not lines:
            raise DataError(f"{self.texts} holds no text: give one per line.")
        return Texts(lines)

    def _photos(self, context: Context) -> LabelledData:
        from diptych.data.labelled import LabelledData
        from diptych.data.samples import as_data, as_table

        if isinstance(self.photos, (str, os.PathLike, LabelledData)):
            return open_labelled(self.photos, "photos", context.keys)
        return as_data(as_table(self.photos, context.keys))


class Encoding(Answer[Any]):
    """Embeddings that were made, or written."""

    listed = False

    def __init__(self, verb: Encode, result: Encoded | Embedded, fast: str = "") -> None:
        super().__init__(iter(()))
        self.verb, self.result, self.fast = verb, result, fast
        self.failed += result.failed

    def data(self, rows: Sequence[Mapping[str, Any]], remarks: Sequence[str]) -> dict[str, Any]:
        """Return how many vectors there are, where they lie, and what was skipped."""
        return {**self.result.as_dict(), "remarks": list(remarks)}

    def summary(self, out: Path | None) -> list[str]:
        """Return how many vectors lie where."""
        from diptych.data.files import named

        where = "" if out is None else f" in {named(out)}"
        return [f"{number_of(self.result.items, 'vector')} of {self.result.dim} numbers{where}"]

    def notes(self) -> list[str]:
        """Return the speed."""
        return [self.fast] if self.fast else []
