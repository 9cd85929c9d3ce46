"""Texts on disk: pools of texts, and the recorded replies of any writer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.core import Ask, ClassNames, DataError, NotAvailable, Text, TextPool, UsageError, Writer
from diptych.data.files import append, write_json
from diptych.data.words.pools import LONGEST, read_pool

MAX_BYTES = 256 * 2**20
MAX_LINE = 2**20
MAX_CHARACTERS = 20_000
_PROVENANCE = ("writer", "prompt", "date")
_CHUNK = 16
"""Asks between two savings."""

Key = tuple[str, str, str]


@dataclass(frozen=True)
class Reply:
    """A request and its reply.

    Args:
        about: as for ``Ask``.
        prompt: as for ``Ask``.
        picture: SHA-256 of the image, or "".
        n: number of requested texts.
        texts: at most n.
    """

    about: str
    prompt: str
    picture: str
    n: int
    texts: tuple[Text, ...]


class StoredPool:
    """Returns texts by class name from a file, whatever the prompt; the texts keep their original prompt.

    Args:
        source: a packaged pool or ``.json`` file for ``data.words.pools.read_pool``, or a ``.jsonl`` file of
            ``Recorded``.

    Raises:
        UsageError: there is no such file.
        DataError: the file is too large, damaged, or no pool.
    """

    def __init__(self, source: str | os.PathLike[str]) -> None:
        if Path(source).suffix != ".jsonl":
            self.pool = read_pool(source).texts
            return
        texts: dict[str, list[Text]] = {}
        for reply in read_replies(Path(source)):
            texts.setdefault(reply.about or reply.prompt, []).extend(reply.texts)
        self.pool = TextPool({name: tuple(of_class) for name, of_class in texts.items()})

    def write(self, asks: Sequence[Ask]) -> list[list[Text]]:
        """Return the first n texts of each request's ``about``, or of its prompt where that is empty.

        They are [] where the pool has none.
        """
        return [list(self.pool.texts.get(ask.about or ask.prompt, ())[: ask.n]) for ask in asks]


class Recorded:
    """Records every reply of a writer, and sends only new requests to it.

    The key of a reply is ``about``, prompt and picture. A smaller n takes its first texts; a larger n is a new request.

    Args:
        writer: the writer; None: only recorded replies are used.
        path: ``.jsonl`` file, one reply per line, made with the first reply. An incomplete line of a killed process is
            requested again.

    Raises:
        UsageError: the file has another suffix, or there is neither a file nor a writer.
        DataError: the file is too large or damaged.
    """

    def __init__(self, writer: Writer | None, path: str | os.PathLike[str]) -> None:
        self.writer, self.path = writer, Path(path)
        if self.path.suffix != ".jsonl":
            raise UsageError(f"Replies are recorded in a .jsonl file, not {self.path}.")
        recorded = read_replies(self.path) if writer is None or self.path.exists() else ()
        self._replies: dict[Key, Reply] = {}
        for reply in recorded:
            self._keep(reply)

    def write(self, asks: Sequence[Ask]) -> list[list[Text]]:
        """Return the recorded texts, and request and record the others.

        Raises:
            NotAvailable: a reply is not recorded, and there is no writer.
        """
        missing: dict[Key, Ask] = {}
        for ask in asks:
            reply = self._replies.get(_key(ask))
            if (reply is None or reply.n < ask.n) and ask.n > getattr(missing.get(_key(ask)), "n", 0):
                missing[_key(ask)] = ask
        if missing and self.writer is None:
            first = next(iter(missing.values()))
            raise NotAvailable(
                f"{self.path} holds no reply to {len(missing)} of these requests (the first: "
                f"{first.about or first.prompt!r}):"
                " give a writer once, and the replies are kept."
            )
        wanted = list(missing.values())
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            assert self.writer is not None
            replies = [
                Reply(ask.about, ask.prompt, ask.picture, ask.n, tuple(texts[: ask.n]))
                for ask, texts in zip(chunk, self.writer.write(chunk), strict=True)
            ]
            _append(self.path, replies)
            for reply in replies:
                self._keep(reply)
        return [list(self._replies[_key(ask)].texts[: ask.n]) for ask in asks]

    def _keep(self, reply: Reply) -> None:
        key = (reply.about, reply.prompt, reply.picture)
        if key not in self._replies or self._replies[key].n < reply.n:
            self._replies[key] = reply


def write_about(writer: Writer, classes: ClassNames, prompt: str, n: int) -> TextPool:
    """Request texts about every class from a writer.

    Args:
        writer: any writer.
        classes: K names.
        prompt: the request, with "{}" where the class name goes.
        n: texts wanted for a class, >= 1.

    Returns:
        At least one text for every class.

    Raises:
        UsageError: the prompt has no "{}", or n is below 1.
        DataError: the writer has no text about a class.
    """
    if prompt.count("{}") != 1 or n < 1:
        raise UsageError(
            f"Ask for n >= 1 texts (not {n}) by a prompt with one '{{}}' where the class name goes (not {prompt!r})."
        )
    answers = writer.write([Ask(prompt.replace("{}", name), name, n) for name in classes])
    unknown = [name for name, texts in zip(classes, answers, strict=True) if not texts]
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise DataError(
            f"{type(writer).__name__} has no text about {', '.join(map(repr, unknown[:5]))}{more}: use other names, "
            f"or another writer."
        )
    return TextPool({name: tuple(texts) for name, texts in zip(classes, answers, strict=True)})


def save_pool(texts: TextPool, path: Path, prompt: str) -> None:
    """Write a pool for ``data.words.pools.read_pool``, and so for the descriptions that a classifier reads.

    Args:
        texts: class name -> texts, all of one writer.
        path: new ``.json`` file.
        prompt: the request, with "{}" where the class name went.

    Raises:
        UsageError: the file exists, or the texts have several writers (a pool file names one).
        DataError: a text is longer than a pool allows.
    """
    every = [text for of_class in texts.texts.values() for text in of_class]
    writers = sorted({text.writer for text in every})
    if path.exists() or len(writers) != 1:
        raise UsageError(
            f"{path} must be a new file, and its texts of one writer, not of {', '.join(writers) or 'none'}."
        )
    if any(len(text.value) > LONGEST for text in every):
        raise DataError(f"A text has more than {LONGEST} characters, too many for a pool: ask for shorter ones.")
    provenance = {"writer": writers[0], "prompt": prompt, "date": max(text.date for text in every)}
    value = {
        "schema": 1,
        "descriptions": provenance
        | {"texts": {name: [t.value for t in of_class] for name, of_class in texts.texts.items()}},
    }
    write_json(path, value)


def read_replies(path: Path) -> Iterator[Reply]:
    """Yield the replies of a ``.jsonl`` file, oldest first; an unfinished last line is passed over.

    Raises:
        UsageError: there is no such file.
        DataError: the file is too large, or a line is not a reply.
    """
    if not path.is_file():
        raise UsageError(f"There is no file {path} with recorded replies: check the spelling, or give a writer.")
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path} has more than {MAX_BYTES // 2**20} MiB, too much for replies: is it the right file?")
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            where = f"line {number} of {path}"
            if not line.endswith(b"\n"):
                if len(line) > MAX_LINE:
                    raise DataError(
                        f"{where} has more than {MAX_LINE // 2**20} MiB, too much for a reply: is it the right file?"
                    )
                return
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                raise DataError(
                    f"{where} is not valid JSON: delete the line, and its reply is requested again."
                ) from None
            yield _reply(row, where)


def _key(ask: Ask) -> Key:
    return ask.about, ask.prompt, ask.picture


def _append(path: Path, replies: Sequence[Reply]) -> None:
    rows = [
        {
            "about": r.about,
            "prompt": r.prompt,
            "picture": r.picture,
            "n": r.n,
            "texts": [{"value": t.value, "writer": t.writer, "prompt": t.prompt, "date": t.date} for t in r.texts],
        }
        for r in replies
    ]
    append(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), _cut(path))


def _cut(path: Path) -> int | None:
    """Return the bytes of whole lines, where a kill left a part of the last one; None where all are whole."""
    if not path.exists():
        return None
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - MAX_LINE))
        tail = file.read()
    return None if tail[-1:] in (b"", b"\n") else size - len(tail) + tail.rfind(b"\n") + 1


def _reply(row: Any, where: str) -> Reply:
    about, prompt, picture = (_string(row, key, where) for key in ("about", "prompt", "picture"))
    n, texts = row.get("n"), row.get("texts")
    if isinstance(n, bool) or not isinstance(n, int) or n < 1 or not isinstance(texts, list):
        raise DataError(
            f"{where} must hold a number 'n' and a list 'texts': delete the line, and its reply is requested again."
        )
    return Reply(about, prompt, picture, n, tuple(_text(_string(t, "value", where), t, where) for t in texts))


def _text(value: str, provenance: Any, where: str) -> Text:
    if not value.strip() or len(value) > MAX_CHARACTERS:
        raise DataError(
            f"{where} holds a text that is empty or longer than {MAX_CHARACTERS:,} characters: correct or delete it."
        )
    writer, prompt, date = (_string(provenance, key, where) for key in _PROVENANCE)
    if not writer:
        raise DataError(f"{where} does not say who wrote a text: fill in 'writer'.")
    return Text(value, writer, prompt, date)


def _string(row: Any, key: str, where: str) -> str:
    value = row.get(key) if isinstance(row, dict) else None
    if not isinstance(value, str):
        raise DataError(f"{where} must hold a string {key!r}: correct it.")
    return value
