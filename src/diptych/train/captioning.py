"""The trainees that also caption: a decoder learns to predict each caption from its image, word by word."""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from diptych.core import Embedded, Learns, MissingHook, Objective, Run, Space, State, Tower, UsageError
from diptych.core.train import everything
from diptych.features.frozen import HeadSpace
from diptych.train.distributed import gather
from diptych.train.pair import PairTrainee

PAD = 0
"""Id of padding."""
START = 1
"""Id of the start of a caption."""
END = 2
"""Id of the end of a caption."""
UNKNOWN = 3
"""Id of a word that is not in the vocabulary."""
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class WordIds:
    """A vocabulary of whole words in lower case, in which punctuation marks are words.

    Args:
        words: with the ids from 4 on; ids 0 to 3 are padding, start, end and unknown.
        context: longest caption in ids, start and end included.

    Example:
        >>> words = WordIds.of(["A dog runs.", "A cat sits.", "a dog"])
        >>> words.words
        ('.', 'a', 'dog')
        >>> words.ids(["a dog runs"]).tolist()
        [[1, 5, 6, 3, 2]]
    """

    words: tuple[str, ...]
    context: int = 64

    @classmethod
    def of(cls, captions: Sequence[str], least: int = 2, context: int = 64) -> WordIds:
        """Return the vocabulary of the words that occur at least ``least`` times in the captions, sorted."""
        counts: dict[str, int] = {}
        for caption in captions:
            for word in _WORD.findall(caption.lower()):
                counts[word] = counts.get(word, 0) + 1
        return cls(tuple(sorted(w for w, n in counts.items() if n >= least)), context)

    def __len__(self) -> int:
        return len(self.words) + 4

    def ids(self, captions: Sequence[str]) -> Tensor:
        """Return the ids of B captions, (B, L) int64, with start and end, padded to the longest.

        Raises:
            UsageError: a caption is longer than the context.
        """
        number = {word: i for i, word in enumerate(self.words, 4)}
        rows = [[START, *(number.get(w, UNKNOWN) for w in _WORD.findall(c.lower())), END] for c in captions]
        longest = max((len(row) for row in rows), default=0)
        if longest > self.context:
            raise UsageError(
                f"A caption must have at most {self.context} words and marks, with start and end, got {longest}: "
                f"shorten it."
            )
        return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


def next_logits(decoder: Any, ids: Tensor, images: Tensor) -> Tensor:
    """Return the logits of each id after the first, (B, L - 1, V).

    Args:
        decoder: a language model with cross-attention; see ``core.language.LanguageModel``.
        ids: (B, L) of captions.
        images: (B, T, D) image tokens that the decoder attends to, or (B, D) embeddings, each a memory of one token.
    """
    inputs = ids[:, :-1]
    memory = images if images.ndim == 3 else images[:, None]
    logits: Tensor = decoder.logits(decoder.embed(inputs), inputs != PAD, memory)[0]
    return logits


def has_decoder(space: Space) -> bool:
    """Return whether a space is a CoCa, whose own decoder captions its image tokens."""
    return not isinstance(space, HeadSpace) and hasattr(space.module(), "text_decoder")


class CoCaTrainee(PairTrainee):
    """Trains a CoCa whole: pairs, and its own decoder on the image tokens of its own tower.

    Args:
        space, objective, run, learns: as for ``PairTrainee``; the space is an open_clip CoCa.
    """

    def embed(self, batch: Mapping[str, Any]) -> Embedded:
        """Return the embeddings of both modalities, the decoder's logits, and the ids that they predict.

        Padding of the tokenizer, whatever its id, has that of the objective, which does not predict it.
        """
        coca: Any = self.space.module()
        ids = batch["text"]
        image, memory = coca.visual(batch["image"])
        text, words = coca.text(ids)
        logits = coca.text_decoder(memory, words[:, :-1])
        vectors = {"image": image.float(), "text": text.float()}
        padding = ids[:, 1:] == self.space.spec.pad
        targets = {"caption": ids[:, 1:].masked_fill(padding, getattr(self.objective, "pad", PAD))}
        tokens = {"caption": State(logits)}
        return Embedded(vectors, self.scale, gather(self.run.world), self.run.world.rank, tokens, targets)


class CaptionTrainee(PairTrainee):
    """Trains pairs, and a decoder beside a space that has none, which predicts captions from image tokens.

    Where heads alone are trained, or the image tower cannot be cut in blocks, the decoder sees the one image embedding.
    With a CoCa it sees the pooled queries that the CoCa's own decoder sees, which is not trained then.

    Args:
        space: as for ``PairTrainee``.
        objective: uses ``tokens["caption"]``, the logits, and ``targets["caption"]``, the ids with padding 0.
        run: as for ``PairTrainee``.
        decoder: a module that is a language model with a memory of width D. Modified in place.
        words: vocabulary of the decoder.
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
        self.tower: Tower | None = None
        if not isinstance(space, HeadSpace):
            with contextlib.suppress(MissingHook):
                self.tower = self.space.tower("image")

    def collate(self, views: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return the inputs of both encoders, and the ids of the captions."""
        return {**super().collate(views), "ids": self.words.ids([v["text"] for v in views])}

    def embed(self, batch: Mapping[str, Any]) -> Embedded:
        """Return the embeddings of both modalities, the decoder's logits, and the ids that they predict."""
        e = super().embed(batch)
        seen = e.vectors["image"] if self.tower is None else self._tokens(batch["image"])
        logits = next_logits(self._module["decoder"], batch["ids"], seen)
        return replace(e, tokens={"caption": State(logits)}, targets={"caption": batch["ids"][:, 1:]})

    def _tokens(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, T, D)."""
        if has_decoder(self.space):
            coca: Any = self.space.module()
            tokens: Tensor = coca.visual(pixels)[1]
            return tokens
        assert self.tower is not None
        return self.tower.project(self.tower.norm(self.tower.blocks(self.tower.start(pixels)).h))

    def parts(self) -> Mapping[str, nn.Module]:
        """Return a copy of the decoder."""
        return {"decoder": copy.deepcopy(self._module["decoder"])}
