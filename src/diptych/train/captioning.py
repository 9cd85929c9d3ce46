"""The trainee that also writes: a decoder learns each caption from its image, word by word, beside the pairs."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from diptych.core.backbone import Space, State
from diptych.core.errors import UsageError
from diptych.core.run import Run
from diptych.core.train import Embedded, Learns, Objective, everything
from diptych.train.pair import PairTrainee

PAD, START, END, UNKNOWN = range(4)
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class WordIds:
    """A vocabulary of whole words, in lower case; punctuation marks are words.

    Args:
        words: those with ids, from id 4; ids 0 to 3 are padding, start, end and unknown.
        context: longest caption in ids, start and end included.
    """

    words: tuple[str, ...]
    context: int = 64

    @classmethod
    def of(cls, captions: Sequence[str], least: int = 2, context: int = 64) -> WordIds:
        """Return the words that occur at least ``least`` times in the captions, sorted."""
        counts: dict[str, int] = {}
        for caption in captions:
            for word in _WORD.findall(caption.lower()):
                counts[word] = counts.get(word, 0) + 1
        return cls(tuple(sorted(w for w, n in counts.items() if n >= least)), context)

    def __len__(self) -> int:
        return len(self.words) + 4

    def ids(self, captions: Sequence[str]) -> Tensor:
        """Return (B, L) int64 ids, start and end included, padded to the longest.

        Raises:
            UsageError: a caption is longer than the context.
        """
        number = {word: i for i, word in enumerate(self.words, 4)}
        rows = [[START, *(number.get(w, UNKNOWN) for w in _WORD.findall(c.lower())), END] for c in captions]
        longest = max((len(row) for row in rows), default=0)
        if longest > self.context:
            raise UsageError(
                f"A caption has {longest} words and marks, and the decoder reads {self.context}: shorten it."
            )
        return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


def next_logits(decoder: Any, ids: Tensor, images: Tensor) -> Tensor:
    """Return (B, L - 1, V) logits of the words after the first.

    Args:
        decoder: a language model with cross-attention; see ``core.language.LanguageModel``.
        ids: (B, L) of captions.
        images: (B, D) embeddings, which the decoder sees as a memory of one token.
    """
    read = ids[:, :-1]
    logits: Tensor = decoder.logits(decoder.embed(read), read != PAD, images[:, None])[0]
    return logits


class CaptionTrainee(PairTrainee):
    """Pairs, and a decoder that reads the image's embedding: what ``coca-loss`` minimises.

    Args:
        space: as for ``PairTrainee``.
        objective: reads ``tokens["caption"]`` as logits and ``targets["caption"]`` as ids with padding 0.
        run: as for ``PairTrainee``.
        decoder: a module that is a language model whose memory is D wide; trained in place.
        words: its vocabulary.
        learns: as for ``PairTrainee``.
    """

    def __init__(
        self,
        space: Space,
        objective: Objective,
        run: Run,
        decoder: nn.Module,
        words: WordIds,
        *,
        learns: Learns = everything,
    ) -> None:
        super().__init__(space, objective, run, learns=learns)
        self.words = words
        self._module["decoder"] = decoder

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return inputs of both encoders, and the words' ids."""
        return {**super().collate(views), "ids": self.words.ids([v["text"] for v in views])}

    def embed(self, batch: Mapping[str, Any]) -> Embedded:
        """Return both vectors, the decoder's logits and the words that they predict."""
        e = super().embed(batch)
        logits = next_logits(self._module["decoder"], batch["ids"], e.vectors["image"])
        return replace(e, tokens={"caption": State(logits)}, targets={"caption": batch["ids"][:, 1:]})

    def parts(self) -> Mapping[str, nn.Module]:
        """Return a copy of the decoder."""
        return {"decoder": copy.deepcopy(self._module["decoder"])}
