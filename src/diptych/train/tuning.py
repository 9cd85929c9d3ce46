"""The trainee of fine-tuning: it classifies labelled images among the prompts of all classes, or matches captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.functional import normalize

from diptych.core import ClassNames, Clock, DataError, Embedded, Learns, Row, Run, Space
from diptych.core.train import everything
from diptych.train.pair import PairTrainee, drawn_caption, item


class TuningTrainee(PairTrainee):
    """Fine-tunes both towers on a task.

        labels:    L = CE( s x t_k )
        captions:  L = the given loss of pairs

    x: (B, D) unit image embeddings
    t_k: (D,) unit mean of the unit prompts of class k, by the text tower in training
    s: the space's scale, which is not trained
    CE: mean cross-entropy over the images

    Args:
        space: as for ``PairTrainee``.
        run: as for ``PairTrainee``.
        classes: names and templates of the classes of the column "label"; None: rows have captions.
        pairs: loss of captioned rows.
        learns: as for ``PairTrainee``.
        smoothing: of the labels, in [0, 1).
    """

    def __init__(
        self,
        space: Space,
        run: Run,
        classes: ClassNames | None,
        pairs: Callable[[Embedded], Tensor],
        *,
        learns: Learns = everything,
        smoothing: float = 0.0,
    ) -> None:
        read = {"image": item} if classes else {"image": item, "text": drawn_caption}
        super().__init__(space, None, run, read=read, learns=lambda n: "logit_" not in n and learns(n))
        self.classes, self.pairs, self.smoothing = classes, pairs, smoothing
        self.prompts = (
            self.space.encoders["text"].inputs([prompt for prompts in classes.prompts() for prompt in prompts])
            if classes
            else None
        )

    def views(self, row: Row, g: torch.Generator) -> Mapping[str, Any]:
        """Return the image, and its label or a drawn caption.

        Raises:
            DataError: the row has no label, or its label is no class.
        """
        if self.classes is None:
            return super().views(row, g)
        label = row.columns.get("label")
        if label is None or not 0 <= int(label) < len(self.classes):
            raise DataError(
                f"Row {row.index} has no label among the {len(self.classes)} classes: give class folders, or a column "
                f"'label'."
            )
        return {**super().views(row, g), "label": int(label)}

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the encoders' inputs, and (B,) labels."""
        labels = {"label": torch.tensor([v["label"] for v in views])} if self.classes else {}
        return {**super().collate(views), **labels}

    def losses(self, batch: Mapping[str, Any], phase: str, clock: Clock) -> Mapping[str, Tensor]:
        """Return the loss of the batch as "task"."""
        return self.task(batch, self.embed(batch))

    def task(self, batch: Mapping[str, Any], e: Embedded) -> Mapping[str, Tensor]:
        """Return the loss of an embedded batch as "task"."""
        if self.classes is None:
            return {"task": self.pairs(e)}
        assert self.prompts is not None
        scale = e.scale("image", "text")[0].detach()
        x, t = e.vectors["image"].float(), self.space.encoders["text"].encode(self.prompts).float()
        with torch.autocast(x.device.type, enabled=False):  # half precision would round the logits
            t = normalize(t, dim=-1).reshape(len(self.classes), -1, t.shape[-1])
            logits = scale * normalize(x, dim=-1) @ normalize(t.mean(1), dim=-1).T
        return {"task": F.cross_entropy(logits, batch["label"], label_smoothing=self.smoothing)}
