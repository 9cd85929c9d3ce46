"""What a trained space reaches on rows: accuracy on classes, or recalls and rank on captions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import normalize

from diptych.core import Backbone, ClassNames, DataError, Run, Table, Texts
from diptych.evaluation.arms import Floats
from diptych.features.embed import embed
from diptych.features.frozen import HeadSpace
from diptych.features.heads import text_head
from diptych.metrics.retrieval import first_ranks
from diptych.metrics.spread import effective_rank

KS = (1, 5, 10)
"""Numbers at which recall is measured."""
RANK, TASK, OTHERS = "effective_rank", "task", "others"
"""Parts of a measuring, beside "recall_at_1", "recall_at_5" and "recall_at_10"."""


def reached(space: Backbone, table: Table[Any], names: ClassNames | None, run: Run) -> dict[str, Floats]:
    """Return what a space reaches on N rows, by part: see ``boards.tune.TuneBench``.

    Recalls and hits are (N,), the rank (1,).

    Raises:
        DataError: there are neither labels nor captions.
    """
    x = normalize(_encoded(space, "image", table.items, run), dim=-1)
    if "captions" not in table.columns:
        if names is None:
            raise DataError(
                "These data have neither labels nor captions: give class folders, or a table with a column 'caption'."
            )
        y = text_head(space, names.prompts(), run)
        return {TASK: np.asarray((x @ y.T).argmax(1).numpy() == table.labels(), dtype=np.float64)}
    owner, texts = _captions(table)
    y = normalize(_encoded(space, "text", Texts(texts), run), dim=-1)
    rank = (effective_rank(x.numpy()) + effective_rank(y.numpy())) / 2 / x.shape[1]
    return {**recalls(x, y, owner), RANK: np.array([rank], dtype=np.float64)}


def recalls(images: torch.Tensor, texts: torch.Tensor, owner: NDArray[np.int64]) -> dict[str, Floats]:
    """Return (N,) recall at each k of ``KS``, the mean of both directions; ties count against.

    Args:
        images: (N, D) unit embeddings.
        texts: (P, D) unit embeddings of their captions.
        owner: (P,) number of the photo of each caption; every photo has at least one.
    """
    scores, matches = (images @ texts.T).double().numpy(), owner[None] == np.arange(len(images))[:, None]
    to_text, to_image, counts = first_ranks(scores, matches), first_ranks(scores.T, matches.T), np.bincount(owner)
    return {f"recall_at_{k}": ((to_text <= k) + np.bincount(owner, to_image <= k) / counts) / 2 for k in KS}


def chance(table: Table[Any], names: ClassNames | None) -> dict[str, Floats]:
    """Return the parts that random ranks of N photos and their captions, or random answers, reach on average."""
    if "captions" not in table.columns:
        return {TASK: np.full(len(table), 1 / len(names or ()))}
    owner, texts = _captions(table)
    n, total, counts = len(table), len(texts), np.bincount(owner).tolist()
    parts = {
        f"recall_at_{k}": np.array(
            [(1 - np.prod([(total - q - i) / (total - i) for i in range(min(k, total))]) + min(k, n) / n) / 2
             for q in counts]
        )
        for k in KS
    }  # fmt: skip
    return {**parts, RANK: np.zeros(1)}


def _captions(table: Table[Any]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the number of the photo of each caption, and the captions."""
    captions = [tuple(texts) for texts in table.columns["captions"].values]
    return np.repeat(np.arange(len(captions)), [len(texts) for texts in captions]), tuple(
        t for texts in captions for t in texts
    )


def _encoded(space: Backbone, modality: str, items: Any, run: Run) -> torch.Tensor:
    """Return (N, D) embeddings, not normalised. Heads over vectors in memory leave the store alone."""
    encoder = space.encoders[modality]
    if not isinstance(space, HeadSpace):
        return embed(encoder, items, run)
    with torch.inference_mode():
        return encoder.encode(encoder.inputs([items[i] for i in range(len(items))])).cpu()
