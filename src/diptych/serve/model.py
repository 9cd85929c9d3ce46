"""A loaded model behind the batcher: inputs are prepared in the threads of requests, and encoded in batches.

The vectors are those of ``diptych encode`` on the same inputs, bit for bit, at the precision "exact". The last bits of
a vector may depend on its batch mates (docs/decisions/2026-11-26-batch-mates.md). So inputs of several requests share a
batch only where ``merges`` finds that this changes no bit: any inputs, or texts of equal length, which need no padding.
Otherwise every request is a batch of its own, as it is on the command line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diptych.api.model import Model
from diptych.core import Encoder, Run, UsageError
from diptych.data.modalities import Modality
from diptych.features.modality_space import ModalitySpace, NoTexts
from diptych.features.pipeline import encoded_rows, joined
from diptych.serve.batcher import Lane

Vectors = NDArray[np.float32]
Sharing = Literal["all", "equal_lengths", "none"]
"""Which inputs of several requests share batches."""
Cut = Literal["", "start", "end"]
"""Which end of a text that is too long is left out."""
SIZES = (2, 3, 5, 8, 16, 32)
"""Batches that are compared with single inputs."""
PROBED = ("image", "text")
"""Modalities of which inputs are drawn and compared; others share batches where the precision allows it."""
WORDS = (3, 9, 20)
"""Words of the texts whose batches of equal length are compared; longer texts share none."""
_LOADED = re.compile(r"(load with )?truncate=True( \(NAME\?truncate\))?")
SENTENCE = "a red car on the road at night with many people around it while a dog looks into the camera"


@dataclass(frozen=True)
class Prepared:
    """An input that is ready for an encoder.

    Args:
        key: hash of its content; equal inputs of a request are encoded once, as on the command line.
        value: a text, or (1, 3, S, S) pixels.
        length: tokens of a text; 0 of a picture.
    """

    key: str
    value: Any = field(repr=False, compare=False)
    length: int = 0


class ServedModel:
    """A model and its lanes: one for each modality, and one for each length of texts where only these share batches.

    Args:
        name: under which clients ask for it.
        batch: inputs of a batch within one request, as ``--batch`` of the command line.
    """

    def __init__(self, name: str, model: Model, batch: int = 32) -> None:
        self.name, self.model = name, model
        # Requests write no vectors to the disk: a full one must not stop answers, and pictures are private.
        self.run: Run = replace(model.run, cache=None, shared_cache=None, batch=batch)
        self.sharing: dict[str, Sharing] = {}
        self.lanes = {m: self._lane(model.encoders[m]) for m in ("image", "text")}
        self._by_length: dict[int, Lane] = {}
        self._longest = 0 if isinstance(self.model.text, NoTexts) else self.text(SENTENCE).length

    @property
    def dim(self) -> int:
        """Width D of the vectors."""
        return self.model.image.dim

    @cached_property
    def calls(self) -> Run:
        """The run of work that is no plain encoding: one thread, since the batcher's thread runs it."""
        return replace(self.run, workers=1)

    @property
    def modality(self) -> Modality | None:
        """What a fitted space takes in the place of pictures; None for a model of photos."""
        space = self.model.unwrapped
        return space.modality if isinstance(space, ModalitySpace) else None

    def image(self, picture: Any, key: str) -> Prepared:
        """Return an upright RGB picture, or a sample in its place, as the tower's input; ``key``: the file's hash."""
        encoder = self.model.image
        return Prepared(key, picture if encoder.size is None else encoder.inputs([picture]))

    def text(self, text: str, cut: Cut = "") -> Prepared:
        """Return a text as an input.

        Args:
            text: words.
            cut: which end of a text that is too long is left out; "": none.

        Raises:
            UsageError: it is too long; refused here, it does not make its batch fail.
        """
        try:
            return Prepared(text, text, _length(self.model.text, text))
        except UsageError as error:
            if not cut:  # the sentence below names what loads a model
                raise UsageError(_LOADED.sub("have the server started so that it cuts texts", str(error))) from None
        short = shortened(text, cut, self._fits)
        return Prepared(short, short, _length(self.model.text, short))

    def _fits(self, text: str) -> bool:
        try:
            self.model.text.inputs([text])
        except UsageError:
            return False
        return True

    def lane(self, modality: str, items: Sequence[Prepared]) -> Lane:
        """Return the lane of the inputs of a request.

        Args:
            modality: "image" or "text".
            items: its inputs of this modality, at least one.
        """
        lane, lengths = self.lanes[modality], {item.length for item in items}
        if self.sharing[modality] != "equal_lengths" or len(lengths) > 1 or max(lengths) > self._longest:
            return lane
        return self._by_length.setdefault(max(lengths), replace(lane, merges=True))

    def _lane(self, encoder: Encoder[Any]) -> Lane:
        runner = self.run.engine.runner(encoder, self.run) if self.run.engine else None

        def rows(values: Sequence[Any]) -> Vectors:
            inputs = encoder.inputs(values) if encoder.size is None else joined(values)
            return encoded_rows(encoder, inputs, self.run, runner, lambda i: f"input {i + 1} of {len(values)}")

        def run(items: list[Prepared]) -> Sequence[Any]:
            values = {item.key: item.value for item in items}
            parts = list(values.values())
            blocks = [rows(parts[i : i + self.run.batch]) for i in range(0, len(parts), self.run.batch)]
            raw = dict(zip(values, np.concatenate(blocks), strict=True))
            return [raw[item.key] for item in items]

        shared: Sharing = "none"
        if encoder.modality not in PROBED or isinstance(encoder, NoTexts):  # nothing is known that could be compared
            shared = "all" if self.run.precision != "fp32" else "none"
        elif self.run.precision != "fp32" or merges(rows, _probes(encoder)):
            shared = "all"
        elif encoder.modality == "text" and all(merges(rows, _equal_texts(encoder, count)) for count in WORDS):
            shared = "equal_lengths"
        self.sharing["text" if encoder.modality == "text" else "image"] = shared
        return Lane(f"{self.name}/{encoder.modality}", run, shared == "all")


def shortened(text: str, cut: Cut, fits: Callable[[str], bool]) -> str:
    """Return as many words of a text as fit, or as many letters where not one word does.

    Args:
        text: words.
        cut: "end" keeps the first ones, "start" the last ones.
        fits: whether a text is short enough; of what fits, every part fits.

    Example:
        >>> shortened("a red car at night", "end", lambda text: len(text) <= 10)
        'a red car'
        >>> shortened("a red car at night", "start", lambda text: len(text) <= 10)
        'at night'
    """
    for parts, glue in ((text.split(), " "), (list(text), "")):
        low, high = 0, len(parts)  # the number of parts that fit lies between
        while low < high:
            middle = (low + high + 1) // 2
            some = parts[:middle] if cut == "end" else parts[len(parts) - middle :]
            low, high = (middle, high) if fits(glue.join(some)) else (low, middle - 1)
        if low:
            return glue.join(parts[:low] if cut == "end" else parts[len(parts) - low :])
    return text


def merges(rows: Any, probes: Sequence[Any]) -> bool:
    """Return whether batch mates change no bit of any probe.

    Args:
        rows: takes inputs and returns (B, D) vectors.
        probes: 32 different inputs or more; with fewer, no batch of the largest size would be compared: False.
    """
    if len(probes) < max(SIZES):
        return False
    alone = np.concatenate([rows([probe]) for probe in probes])
    for size in SIZES:
        parts = [rows(probes[i : i + size]) for i in range(0, len(probes), size)]
        if not np.array_equal(np.concatenate(parts), alone):
            return False
    return True


def _probes(encoder: Encoder[Any]) -> list[Any]:
    """Return 37 inputs, so that the last batch of every size is a smaller one."""
    rng = np.random.default_rng(0)
    if encoder.size is None:
        words = SENTENCE.split()
        return [" ".join(rng.permutation(words)[: 1 + i % len(words)]) for i in range(37)]  # of different lengths
    pictures = []
    for i in range(37):  # smooth and noisy parts, as photographs have
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((160, 120))
        noise = rng.integers(0, 1 + 2 * i, (120, 160, 3))
        pictures.append(Image.fromarray((np.asarray(coarse) // 2 + noise).astype(np.uint8)))
    return [encoder.inputs([picture]) for picture in pictures]


def _equal_texts(encoder: Encoder[Any], count: int) -> list[str]:
    """Return at most 37 texts of ``count`` words and equally many tokens."""
    rng, words = np.random.default_rng(0), SENTENCE.split()
    texts = [" ".join(rng.permutation(words)[:count]) for _ in range(100)]
    length = _length(encoder, texts[0])
    return [text for text in texts if _length(encoder, text) == length][:37]


def _length(encoder: Encoder[Any], text: str) -> int:
    """Return the length of a text's model input, in tokens."""
    inputs = encoder.inputs([text])
    return int((next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs).shape[1])
