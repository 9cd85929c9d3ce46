"""What a trainee reads of pairs whose captions are original or synthetic, and of their teachers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diptych.core import Backbone, DataError, Learns, Row, Run, Space, UnreadableItem
from diptych.core.train import everything
from diptych.data.formats.taught import OF_IMAGE, OF_TEXTS
from diptych.train.pair import PairTrainee, Read, View, drawn_caption, item
from diptych.train.row_captions import drawn_number, listed

COLUMNS = {"original": "captions", "synthetic": "synthetic"}
"""Kind of caption -> column of the rows."""
BOTH = ("original", "synthetic")


@dataclass(frozen=True)
class Taught:
    """What the similarities of a batch are distilled from.

    Args:
        weight: d, of the distillation; the rest is that of CLIP's loss.
        teacher: a frozen backbone, which reads the same pictures and captions; None: vectors that are stored in the
            rows, see ``data.formats.taught``.
        widths: sizes of the stored vectors of each teacher, side by side; (): there is one.
    """

    weight: float = 0.0
    teacher: Backbone | None = None
    widths: tuple[int, ...] = ()

    @property
    def stored(self) -> bool:
        """Whether the rows have the teachers' vectors."""
        return self.weight > 0 and self.teacher is None


class CaptionMixing(PairTrainee):
    """Reads pairs of an image and each kind of caption that is asked for; a subclass has the losses.

    Args:
        space: is copied.
        kinds: "original", "synthetic", or "mix" for one of both.
        share: probability of a synthetic caption in "mix".
        taught: teachers beside CLIP's loss.
        run: seed and processes.
        learns: which parameters are trained.
    """

    def __init__(
        self,
        space: Space,
        kinds: Sequence[str],
        share: float,
        taught: Taught,
        run: Run,
        learns: Learns = everything,
    ) -> None:
        read: dict[str, Read | View] = {"image": item, **{name: View("text", drawn_caption) for name in kinds}}
        super().__init__(space, None, run, read=read, learns=learns)
        self.kinds, self.share, self.taught = tuple(kinds), share, taught

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return the image, a caption of each kind and, where they are stored, their vectors as "taught".

        Raises:
            UnreadableItem: the row lacks a caption of a kind, or the vectors.
        """
        numbers = {name: self._drawn(name, row, g) for name in self.kinds}
        out: dict[str, Any] = {"image": row.item}
        out |= {name: listed(row, COLUMNS[kind])[i] for name, (kind, i) in numbers.items()}
        if self.taught.stored:
            out["taught"] = self._vectors(row, numbers)
        return out

    def _drawn(self, name: str, row: Row, g: torch.Generator) -> tuple[str, int]:
        """Return the kind of the caption that is drawn, and its number."""
        kind = name
        if name == "mix":
            kind = BOTH[float(torch.rand((), generator=g)) < self.share]
        if not listed(row, COLUMNS[kind]):
            raise UnreadableItem(f"Pair {row.index}", f"has no {kind} caption")
        return kind, drawn_number(row, g, COLUMNS[kind])

    def _vectors(self, row: Row, numbers: Mapping[str, tuple[str, int]]) -> dict[str, Tensor]:
        if OF_IMAGE not in row.columns:
            raise UnreadableItem(f"Pair {row.index}", f"has no teachers' vectors ({OF_IMAGE}, {OF_TEXTS})")
        image, texts = torch.as_tensor(row.columns[OF_IMAGE]), torch.as_tensor(row.columns[OF_TEXTS])
        if self.taught.widths and sum(self.taught.widths) != len(image):
            raise DataError(
                f"Pair {row.index} has teachers' vectors of {len(image)} numbers, and teachers of "
                f"{' + '.join(map(str, self.taught.widths))} are set: set the sizes of those that are stored."
            )
        first = {"original": 0, "synthetic": len(listed(row, COLUMNS["original"]))}
        chosen = {name: first[kind] + i for name, (kind, i) in numbers.items()}
        if max(chosen.values()) >= len(texts):
            raise DataError(
                f"Pair {row.index} has teachers' vectors of {len(texts)} captions, and more are drawn: store one for "
                f"each, synthetic ones last."
            )
        return {"image": image, **{name: texts[i] for name, i in chosen.items()}}

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the encoders' inputs, and under "teacher" those of the teacher, or under "taught" its vectors."""
        batch = dict(super().collate(views))
        if self.taught.teacher is not None:
            encoders = self.taught.teacher.encoders
            batch["teacher"] = {n: encoders[v.encoder].inputs([x[n] for x in views]) for n, v in self.read.items()}
        if self.taught.stored:
            batch["taught"] = {n: torch.stack([x["taught"][n] for x in views]).float() for n in self.read}
        return batch
