"""Two texts that differ in one stretch of words: where the tokens of both are, and which of them are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diptych.core import TextDiffusion, UsageError
from diptych.nn.diffusion.attention import difference


@dataclass(frozen=True)
class Exchange:
    """Which words of a source are exchanged for which of a target.

    Args:
        gone: words of the source that are replaced; "" where the texts are equal.
        fresh: words of the target in their place; "" where none are.
        old: positions of the tokens of ``gone`` in the source's condition.
        new: positions of the tokens of ``fresh`` in the target's.
        columns: position in the target -> position in the source, of all tokens that both have.
    """

    gone: str
    fresh: str
    old: tuple[int, ...]
    new: tuple[int, ...]
    columns: Mapping[int, int]


def exchanged(diffusion: TextDiffusion, source: str, target: str) -> Exchange:
    """Return what differs between two texts: the shortest stretch of words outside which they are equal.

    Raises:
        UsageError: words are only added, so that nothing is replaced; or a text is longer than what the denoiser reads
            at once, so that its tokens lie in several chunks.
    """
    was, shall = source.split(), target.split()
    fresh, gone = difference(shall, was)
    for words in (was, shall):
        every = diffusion.places(" ".join(words), " ".join(words))
        if every and every[-1] - every[0] + 1 != len(every):
            raise UsageError(f"{' '.join(words)[:57]!r} is longer than what this denoiser reads at once: shorten it.")
    lengths = [diffusion.encode_text([" ".join(words)]).tokens.shape[1] for words in (shall, was)]
    if was == shall:
        return Exchange("", "", (), (), {i: i for i in range(lengths[0])})
    if gone.start == gone.stop:
        raise UsageError(f"{target!r} only adds words to {source!r}: name in the source what is replaced.")
    old, new = (places_of(diffusion, words, part) for words, part in ((was, gone), (shall, fresh)))
    head, shift = min(old), len(new) - len(old)
    tail = range(head + len(new), min(lengths[0], lengths[1] + shift))
    columns = {**{i: i for i in range(head)}, **{i: i - shift for i in tail}}
    return Exchange(" ".join(was[gone]), " ".join(shall[fresh]), old, new, columns)


def places_of(diffusion: TextDiffusion, words: Sequence[str], stretch: slice) -> tuple[int, ...]:
    """Return the positions of the tokens of a stretch of words in the condition of all words; () for no words."""
    tokens = list(words[stretch])
    if not tokens:
        return ()
    every = diffusion.places(" ".join(words), " ".join(tokens))
    starts = [i for i in range(len(words) - len(tokens) + 1) if list(words[i : i + len(tokens)]) == tokens]
    each = len(every) // len(starts)
    number = starts.index(stretch.start)
    return every[number * each : (number + 1) * each]
