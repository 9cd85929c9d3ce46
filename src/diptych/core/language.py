"""Language models, and writers that return texts for a request."""

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
    """Keys and values of the tokens that a language model has read.

    It is never modified after it is returned.

    Args:
        layers: tensors of each layer, whose first axis is the sequences.
    """

    layers: tuple[tuple[Tensor, ...], ...]

    def take(self, rows: Tensor) -> Cache:
        """Return the cache of the given rows, (R,) int64, in that order; rows may repeat."""
        return Cache(tuple(tuple(t.index_select(0, rows) for t in layer) for layer in self.layers))


@runtime_checkable
class LanguageModel(Protocol):
    """A decoder that predicts the next token, such as GPT-2, OPT or CoCa's decoder.

    ``nn.text.decode`` has the decoding algorithms.

    Attributes:
        width: C, width of the input token embeddings.
        vocabulary: V, number of tokens.
    """

    @property
    def width(self) -> int:
        """Width C of the input token embeddings."""

    @property
    def vocabulary(self) -> int:
        """Number V of tokens."""

    def embed(self, ids: Tensor, /) -> Tensor:
        """Return (B, T, C) token embeddings of (B, T) ids, before positions are added."""

    def logits(
        self, embeds: Tensor, mask: Tensor, memory: Tensor | None = None, cache: Cache | None = None, /
    ) -> tuple[Tensor, Cache]:
        """Read T more tokens of B sequences. The gradient mode stays as it is.

        Args:
            embeds: (B, T, C) embeddings of the new tokens.
            mask: (B, P + T) bool, True where a token is not padding, over the P tokens in the cache and the new ones.
                Padding takes no position, so it does not change the result of a sequence.
            memory: (B, M, D) vectors to attend to (image tokens), the same at every call; None: no cross-attention.
            cache: result of the previous call; None for the first tokens.

        Returns:
            (B, T, V) logits of the token after each new token (undefined at padding), and the cache of all P + T
            tokens.
        """


@runtime_checkable
class TokenStates(Protocol):
    """A language model whose hidden states can be read, so that texts become vectors.

    Attributes:
        width: C, width of token embeddings and states.
    """

    @property
    def width(self) -> int:
        """Width C of token embeddings and states."""

    def embed(self, ids: Tensor, /) -> Tensor:
        """Return (B, T, C) token embeddings of (B, T) ids, before positions are added."""

    def states(self, embeds: Tensor, mask: Tensor, /, *, bidirectional: bool) -> Tensor:
        """Return the (B, T, C) normed states of the last block. The gradient mode stays as it is.

        Args:
            embeds: (B, T, C) token embeddings.
            mask: (B, T) bool, False for padding, which takes no position; states at padding are undefined.
            bidirectional: whether a token attends to all tokens, and not to earlier ones alone as in training.
        """


@dataclass(frozen=True)
class Ask:
    """One request to a writer.

    Args:
        prompt: the request in words, the input of a language model; "" where the writer looks up ``about`` alone.
        about: subject of the text, such as a class name; the key in stored pools and WordNet.
        n: number of texts wanted, >= 1.
        image: the picture to write about, for multimodal writers.
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
    """Source of texts with provenance: a language model, captioner, translator, stored pool or WordNet."""

    def write(self, asks: Sequence[Ask], /) -> list[list[Text]]:
        """Return the texts of every request, at most ``n`` each; [] where the writer has none.

        The texts of a request do not depend on the other requests.
        """
