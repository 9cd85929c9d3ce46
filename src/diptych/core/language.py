"""Language: models that continue a text, and writers that answer a question with texts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from diptych.core.data import Text

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


@dataclass(frozen=True)
class Cache:
    """What a language model remembers of the tokens it has read: keys and values. Never written after it was handed
    out.

    Args:
        layers: tensors of each layer, their first axis one row a sequence.
    """

    layers: tuple[tuple[Tensor, ...], ...]

    def take(self, rows: Tensor) -> Cache:
        """Return the memory of the chosen rows, (R,) int64, in the given order; rows may repeat."""
        return Cache(tuple(tuple(t.index_select(0, rows) for t in layer) for layer in self.layers))


@runtime_checkable
class LanguageModel(Protocol):
    """A decoder that predicts the next token: GPT-2, OPT, CoCa's decoder, our own small one. Decoding is
    ``nn.text.decode``.

    Attributes:
        width: C, of the token embeddings that it reads.
        vocabulary: V.
    """

    @property
    def width(self) -> int:
        """Width C of the token embeddings that it reads."""
        ...

    @property
    def vocabulary(self) -> int:
        """Number V of tokens."""
        ...

    def embed(self, ids: Tensor, /) -> Tensor:
        """Return (B, T, C) token embeddings of (B, T) ids, before positions: what a prefix is put in front of."""
        ...

    def logits(
        self, embeds: Tensor, mask: Tensor, memory: Tensor | None = None, cache: Cache | None = None, /
    ) -> tuple[Tensor, Cache]:
        """Read T more tokens of B sequences. Never touches grad mode.

        Args:
            embeds: (B, T, C) embeddings of the new tokens.
            mask: (B, P + T) bool, True where a token is real, over the P tokens in the cache and the new ones; padding
                counts for no position, so a sequence means the same with and without it.
            memory: (B, M, D) vectors to attend to (image tokens); the same at every call; None: no cross-attention.
            cache: what the last call returned; None where these are the first tokens.

        Returns:
            (B, T, V) logits of the token after each new token (of no meaning at padding), and the cache of all P + T
            tokens.
        """
        ...


@dataclass(frozen=True)
class Ask:
    """One request to a writer.

    Args:
        prompt: the request in words, as a language model reads it; "" where the writer only looks ``about`` up.
        about: what the text is to be about: a class name. Stored pools and WordNet go by it.
        n: number of texts wanted, >= 1.
        image: the picture to write about, for writers that see.
    """

    prompt: str = ""
    about: str = ""
    n: int = 1
    image: Image | None = None

    @property
    def picture(self) -> str:
        """SHA-256 of the image's mode, size and pixels; "" without an image."""
        if self.image is None:
            return ""
        head = f"{self.image.mode} {self.image.width} {self.image.height} ".encode()
        return hashlib.sha256(head + self.image.tobytes()).hexdigest()


@runtime_checkable
class Writer(Protocol):
    """Language model, captioner, translator, stored pool or WordNet: text out, with provenance."""

    def write(self, asks: Sequence[Ask], /) -> list[list[Text]]:
        """Return the texts of every ask, at most ``n`` each; [] where the writer knows nothing to say.

        An answer depends on its ask alone, not on the others.
        """
        ...
