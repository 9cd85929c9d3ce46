"""Pictures that were made or changed, as ``generate`` and ``edit`` answer them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.data.files import write_json
from diptych.verbs.answer import Answer

if TYPE_CHECKING:
    from PIL import Image

    from diptych.tasks.edit import Edits, Pair


class Pictures(Answer["Pair"]):
    """Pictures, each with what it was before where it was anything."""

    rows_key = "pictures"
    item_kind = "picture"
    listing: ClassVar[str] = ""
    """Name of the file that lists them."""

    def __init__(self, result: Edits, about: Mapping[str, Any]) -> None:
        from diptych.tasks.edit import files

        super().__init__(iter(result.pairs))
        self.result, self.about = result, about
        self.failed += result.failed
        paths = files(Path(), [pair.name for pair in result.pairs])
        self._files = {id(pair): path for pair, path in zip(result.pairs, paths, strict=True)}

    def row(self, item: Pair) -> dict[str, Any]:
        """Return what is known of a picture."""
        return self.result.row(item)

    def columns(self, items: Sequence[Pair]) -> dict[str, Sequence[Any]]:
        """Return what a row holds in one number or word."""
        return {k: v for k, v in super().columns(items).items() if k != "name"}

    def picture(self, item: Pair) -> Image.Image:
        """Return the picture, beside what it was before."""
        shown: Image.Image = item.image()
        return shown

    def printed(self, item: Pair, name: str) -> str:
        """Return the name of the file, and what is known of the picture."""
        return f"{self._files[id(item)]}  {self.line(item)}".rstrip()

    def facts(self) -> dict[str, Any]:
        """Return what was asked."""
        return {**self.result.facts(), **self.about}

    def write(self, item: Pair, folder: Path, *, overwrite: bool) -> dict[str, Any]:
        """Write the picture, and what it became alone."""
        method = str(self.about.get("method") or "")
        self.result.write(item, folder / self._files[id(item)], method, overwrite=overwrite)
        return {}

    def close(self, folder: Path, data: dict[str, Any], *, overwrite: bool) -> list[str]:
        """Write the listing."""
        write_json(folder / self.listing, data, overwrite=overwrite)
        return []
