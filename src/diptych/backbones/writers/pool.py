"""A pool of texts as a writer."""

from __future__ import annotations

import os
from collections.abc import Sequence

from diptych.core.data import Text
from diptych.core.language import Ask
from diptych.data.words.pools import read_pool


class StoredPool:
    """Returns texts by class name from a file, whatever the prompt; the texts keep their original prompt.

    Args:
        source: a packaged pool or ``.json`` file; read, and refused, as by ``data.words.pools.read_pool``.
    """

    def __init__(self, source: str | os.PathLike[str]) -> None:
        self.pool = read_pool(source).texts

    def write(self, asks: Sequence[Ask]) -> list[list[Text]]:
        """Return the first n texts of each request's ``about``, or of its prompt where that is empty.

        They are [] where the pool has none.
        """
        return [list(self.pool.texts.get(ask.about or ask.prompt, ())[: ask.n]) for ask in asks]
