"""Token ids of texts from a model's tokenizer, cleaned as in training, with special tokens escaped.

Texts that are too long raise, unless truncation is requested.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from diptych.backbones import hub
from diptych.core import DataError, NotAvailable, UsageError

TOKENIZER_FILES = ("tokenizer*", "*.model", "vocab*", "merges.txt", "special_tokens_map.json", "config.json")


class Tokens(Protocol):
    """A tokenizer that belongs to one checkpoint.

    Attributes:
        name: kind, such as "clip-bpe".
        identity: hash of everything that decides on the ids.
        pad: id that fills short texts.
    """

    name: str
    identity: str
    pad: int

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids, start and end tokens included, neither padded nor cut."""


class ClipBpe:
    """CLIP's byte-pair encoding as open_clip runs it (ftfy, HTML entities, lower case).

    Args:
        clean: open_clip's cleaning: "lower", "canonicalize" or "whitespace".
        special: special tokens beyond start and end of text, in the order of their ids.
    """

    name = "clip-bpe"
    pad = 0

    def __init__(self, clean: str = "lower", special: Sequence[str] = ()) -> None:
        self._built_from = (clean, tuple(special))
        self._bpe = _simple_tokenizer(*self._built_from)
        self._word = lru_cache(maxsize=2**16)(self._word_ids)
        self.identity = hashlib.sha256("\n".join(["open_clip-bpe", clean, *special]).encode()).hexdigest()

    def __reduce__(self) -> tuple[type[ClipBpe], tuple[str, tuple[str, ...]]]:
        return ClipBpe, self._built_from  # read again in the other process, since closures cannot be sent

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids between start and end token."""
        start, end, split, clean = (
            self._bpe.sot_token_id,
            self._bpe.eot_token_id,
            self._bpe.pat.findall,
            self._bpe.clean_fn,
        )
        return [[start, *(i for word in split(clean(text)) for i in self._word(word)), end] for text in texts]

    def _word_ids(self, word: str) -> tuple[int, ...]:
        """Return the ids of one word of a cleaned text, as open_clip's ``encode`` makes them."""
        letters = "".join(self._bpe.byte_encoder[b] for b in word.encode("utf-8"))
        return tuple(self._bpe.encoder[part] for part in self._bpe.bpe(letters).split(" "))


@lru_cache(maxsize=4)
def _simple_tokenizer(clean: str, special: tuple[str, ...]) -> Any:
    """Return open_clip's tokenizer, read once for all backbones, with special tokens escaped in texts."""
    from open_clip import SimpleTokenizer

    bpe = SimpleTokenizer(clean=clean, additional_special_tokens=list(special) or None)
    # open_clip looks for special tokens in the cleaned text, where entities and full-width letters are already
    # repaired, so this is the only place at which none of them can slip through.
    clean_text, names = bpe.clean_fn, [bpe.decoder[i] for i in bpe.all_special_ids]

    def cleaned(text: str) -> str:
        # ftfy and entities leave printable ASCII without "&" as it is, and take most of the time of a sentence.
        known = clean == "lower" and text.isascii() and text.isprintable() and "&" not in text
        return escape(" ".join(text.split()).lower() if known else clean_text(text), names)

    bpe.clean_fn = cleaned
    return bpe


def escape(text: str, special: Sequence[str]) -> str:
    """Set a space inside both ends of literal special tokens, so that they become the ids of their letters.

    Example:
        >>> escape("a <END_of_text> b", ["<end_of_text>"])
        'a < END_of_text > b'
    """
    pattern = "|".join(re.escape(s) for s in special)
    return re.sub(pattern, lambda m: f"{m[0][0]} {m[0][1:-1]} {m[0][-1]}", text, flags=re.IGNORECASE)


class HubTokens:
    """A transformers tokenizer.

    Args:
        tokenizer: a tokenizer of ``AutoTokenizer``.
        name: kind, such as "siglip-sentencepiece".
        clean: open_clip's cleaning before it ("whitespace", "lower", "canonicalize"); "" for transformers' own models.
        pad: id that fills short texts; None: the tokenizer's own.
        blank_separator: replace the separator token by 0 (open_clip's ``strip_sep_token``).

    Raises:
        DataError: neither ``pad`` nor the tokenizer has a padding id.
    """

    def __init__(
        self, tokenizer: Any, name: str, clean: str = "", pad: int | None = None, *, blank_separator: bool = False
    ) -> None:
        padding = tokenizer.pad_token_id if pad is None else pad
        if padding is None:
            raise DataError(f"The tokenizer of {name} has no padding token: set pad_token in tokenizer_config.json.")
        self.name, self.pad = name, int(padding)
        self.tokenizer = tokenizer
        self._clean = _cleaning(clean)
        self._blank = tokenizer.sep_token_id if blank_separator else None
        fast = getattr(tokenizer, "backend_tokenizer", None)
        words = fast.to_str() if fast is not None else repr(sorted(tokenizer.get_vocab().items()))
        facts = [type(tokenizer).__name__, clean, str(self.pad), str(blank_separator), words]
        self.identity = hashlib.sha256("\n".join(facts).encode()).hexdigest()

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's ids; literal special tokens in the text are split like other words."""
        cleaned = [self._clean(t) for t in texts]
        # An empty list makes transformers fail, and its length warning would repeat what our own error says.
        rows = self.tokenizer(cleaned, split_special_tokens=True, verbose=False)["input_ids"] if cleaned else []
        return [[0 if i == self._blank else int(i) for i in row] for row in rows]


def _cleaning(kind: str) -> Callable[[str], str]:
    if not kind:
        return str
    from open_clip.tokenizer import get_clean_fn

    return get_clean_fn(kind)


class NoTokens:
    """Stands where a random-weight model has no tokenizer on this machine: ids can be encoded, texts cannot.

    Args:
        name: kind of the tokenizer that is missing.
        where: where it was looked for.
        pad: id that fills short texts.
    """

    def __init__(self, name: str, where: str, pad: int = 0) -> None:
        self.name, self.pad, self._where = name, pad, where
        self.identity = hashlib.sha256(name.encode()).hexdigest()

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Raise NotAvailable."""
        raise NotAvailable(
            f"The {self.name} tokenizer is not on this machine ({self._where}): fetch it once online, or give token "
            f"ids."
        )


def padded(tokens: Tokens, texts: Sequence[str], context: int, *, trim: bool, truncate: bool) -> Tensor:
    """Return the ids of B texts as one tensor.

    Args:
        tokens: the tokenizer.
        texts: B texts.
        context: longest text of the tower, in tokens.
        trim: whether to cut padding to the longest text of the batch, where padding has no effect.
        truncate: whether to keep the first ``context - 1`` tokens and the end token of longer texts, instead of
            raising.

    Returns:
        (B, L) int64, L = context or, trimmed, the longest text's length.

    Raises:
        UsageError: a text has more than ``context`` tokens and ``truncate`` is False.
    """
    rows = tokens.ids(texts)
    for text, row in zip(texts, rows, strict=True):
        if len(row) > context and not truncate:
            start = text if len(text) <= 60 else f"{text[:57]}..."
            raise UsageError(
                f"The text {start!r} has {len(row)} tokens and this model reads {context}: shorten it, or "
                f"truncate=True (NAME?truncate)."
            )
    rows = [row if len(row) <= context else [*row[: context - 1], row[-1]] for row in rows]
    width = max((len(row) for row in rows), default=context) if trim else context
    filled = [[*row, *[tokens.pad] * (width - len(row))] for row in rows]
    return torch.tensor(filled, dtype=torch.int64).reshape(len(rows), width)


def openclip_tokens(config: Mapping[str, Any], folder: Path | None, *, offline: bool, optional: bool = False) -> Tokens:
    """Load the tokenizer of a configuration.

    It is CLIP's BPE, or a transformers tokenizer from the folder or the hub's cache.
    """
    text = config["text_cfg"]
    facts = dict(text.get("tokenizer_kwargs") or {})
    clean = facts.pop("clean", None)
    name = text.get("hf_tokenizer_name")
    if text.get("tokenizer_mode"):
        raise UsageError(f"The tokenizer mode {text['tokenizer_mode']!r} is not supported.")
    if not name:
        special = facts.pop("additional_special_tokens", None) or ()
        _refuse(facts)
        return ClipBpe(clean or "lower", special)
    blank = bool(facts.pop("strip_sep_token", False))
    facts.pop("context_length", None)
    _refuse(facts)
    kind = _tokenizer_kind(name)
    try:
        path = folder or hub.repository(
            name,
            ["tokenizer*", "*.model", "vocab*", "merges.txt", "special_tokens_map.json", "config.json"],
            offline=offline,
        )
        return HubTokens(load_tokenizer(path), kind, clean or "whitespace", blank_separator=blank)
    except NotAvailable:
        if not optional:
            raise
        return NoTokens(kind, f"hub repository {name}", pad=int(text.get("pad_id", 0)))


def _refuse(facts: Mapping[str, Any]) -> None:
    if facts:
        raise UsageError(f"The tokenizer settings {', '.join(facts)} are not supported.")


def _tokenizer_kind(name: str) -> str:
    lowered = name.lower()
    for mark, kind in (
        ("siglip2", "gemma-sentencepiece"),
        ("siglip", "siglip-sentencepiece"),
        ("bert", "bert-wordpiece"),
    ):
        if mark in lowered and "roberta" not in lowered:
            return kind
    return name.rpartition("/")[2]


def load_tokenizer(folder: Path) -> Any:
    """Load a transformers tokenizer from a folder, without network and without running code of the folder.

    Raises:
        NotAvailable: the folder has no tokenizer.
    """
    from transformers import AutoTokenizer

    if not any(path for p in ("tokenizer*", "*.model", "vocab*") for path in folder.glob(p)):
        raise NotAvailable(f"{folder} holds no tokenizer: put its tokenizer.json and tokenizer_config.json there.")
    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise NotAvailable(
            f"{folder} holds no tokenizer that transformers can read: put its tokenizer.json and "
            f"tokenizer_config.json there."
        ) from error
