"""Caption checks drop texts that no training should see, and keep one of each group of equal texts; no model is run.

    short:     fewer than least_words words
    long:      more tokens than the text tower reads
    echo:      the text is the name of its file, or contains one of the given phrases
    repeated:  a sentence of the text occurs twice in it
    duplicate: another pair of lesser id has the same words, or shares a band of min-hashes (data.words.near_texts)

Ids are hashes of name and position, so which pair of a group stays is random, and the same however a pool is divided.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from posixpath import basename, splitext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diptych.core import Backbone, Curator, DataError, Kit, Plan, Run, Stream, UsageError, Verdicts
from diptych.core.blocks import Block, blocks
from diptych.core.ranges import at_least, check
from diptych.data.images import SUFFIXES
from diptych.data.sorted_runs import RunWriter
from diptych.data.words.near_texts import Hashes, band_hashes, exact_hashes, joined_words
from diptych.data.words.textfiles import read_text
from diptych.features.first_of_texts import LAYOUT, FirstOfTexts, read_first
from diptych.features.pair_vectors import identities

_MARKS = ".!?;\n"
_ENDS = _MARKS + string.whitespace
_SUFFIXES = tuple(SUFFIXES)
_LONGEST = max(map(len, SUFFIXES))
_SENTENCE = re.compile(r"[.!?;\n\u0964\u3002\uff01\uff0e\uff1b\uff1f\uff61]+")


@dataclass(frozen=True)
class CaptionChecks(Curator):
    """Drop texts that are too short, too long, echoes of a file name or a prompt, or say something twice; and
    duplicates.

    Use it first, on raw alt-texts and on captions that a model wrote: it takes no picture and runs no model; of the
    backbone, the tokenizer alone is used.

    Args:
        least_words: words that a text has at least, >= 0; 3 (ours). In scripts without spaces, letters.
        phrases: file with phrases, one per line, that no text may contain, such as parts of a captioner's prompt; "":
            none.
        long: drop texts that the text tower of the backbone does not read whole.
        near: texts are duplicates also where nearly all pairs of neighbouring words agree; see
            ``data.words.near_texts``. A plan then takes 144 bytes per text instead of 16.

    Raises:
        UsageError: a number is out of its range.

    Source: Lee et al. 2022, for near duplicates by min-hashes; the other rules are ours.

    Example:
        >>> checks = CaptionChecks(long=False)
        >>> checks.rules("dog_on_grass.jpg", "IMG dog_on_grass.JPG"), checks.rules("a.jpg", "A dog runs. A dog runs.")
        ((), ('repeated',))
        >>> checks.rules("dog_on_grass.jpg", "dog on grass"), checks.rules("a.jpg", "a dog")
        (('echo',), ('short',))
    """

    least_words: int = 3
    phrases: str = ""
    long: bool = True
    near: bool = True

    def __post_init__(self) -> None:
        check(self, at_least(0), "least_words")

    @cached_property
    def echoes(self) -> tuple[str, ...]:
        """The phrases as joined words; raises UsageError or DataError where the file cannot be read or has none."""
        if not self.phrases:
            return ()
        lines = [joined_words(line) for line in read_text(Path(self.phrases), "phrases").splitlines()]
        distinct = tuple(dict.fromkeys(line for line in lines if line))
        if not distinct:
            raise DataError(f"{self.phrases} holds no phrase: give one per line.")
        return distinct

    def rules(self, name: str, text: str) -> tuple[str, ...]:
        """Return the rules that a text fails by itself, but for its length in tokens.

        Args:
            name: of the item, usually the path of its picture.
            text: its text.
        """
        return self._rules(name, text, joined_words(text))

    def _rules(self, name: str, text: str, joined: str) -> tuple[str, ...]:
        failed = list[str]()
        if (joined.count(" ") + 1 if joined else 0) < self.least_words:
            failed.append("short")
        if _names_file(name, text, joined) or (self.echoes and any(f" {e} " in f" {joined} " for e in self.echoes)):
            failed.append("echo")
        if _repeats(text):
            failed.append("repeated")
        return tuple(failed)

    def plan(self, kit: Kit, stream: Stream[Any], run: Run) -> FirstOfTexts:
        """Count the texts that fail each rule, and note which pair is the first of each group of texts that do not.

        Raises:
            MissingPart: the kit has no backbone.
            UsageError: there is no such file of phrases.
        """
        backbone = kit.need(Backbone)
        counts, rows = Counter[str](), RunWriter(LAYOUT)
        with run.track("check texts") as bar:
            for some in blocks(stream):
                failed, hashes, ids = self._checked(backbone, some)
                whole = np.array([not rules for rules in failed])
                counts.update(rule for rules in failed for rule in rules)
                counts.update(texts=len(some), failed=int((~whole).sum()))
                used = hashes[whole]
                rows.add({"hash": used.reshape(-1), "id": np.repeat(ids[whole], used.shape[1])})
                bar.advance(len(some))
        return FirstOfTexts(self._settings(backbone), rows.finished(), dict(sorted(counts.items())))

    def decide(self, kit: Kit, plan: Plan, stream: Stream[Any], run: Run) -> Iterator[Verdicts]:
        """Yield a verdict for each text, with score 1 where it is kept, else 0, and the rules that it fails as labels.

        Raises:
            MissingPart: the kit has no backbone.
            UsageError: the plan is of another system, or has other settings.
        """
        backbone = kit.need(Backbone)
        if not isinstance(plan, FirstOfTexts) or plan.settings != self._settings(backbone):
            raise UsageError("The plan is from another system, or has other settings: plan and apply alike.")
        for some in blocks(stream):
            failed, hashes, ids = self._checked(backbone, some)
            firsts = plan.first(hashes, ids).tolist()
            labels = [rules or (() if first else ("duplicate",)) for rules, first in zip(failed, firsts, strict=True)]
            keep = np.array([not rules for rules in labels], dtype=bool)
            yield Verdicts(some.positions, keep, keep.astype(np.float64), labels=labels)

    def read_plan(self, path: Path) -> FirstOfTexts:
        """Read what ``FirstOfTexts.write`` wrote; see ``Curator.read_plan``."""
        return read_first(path, "caption-checks")

    def _settings(self, backbone: Backbone) -> dict[str, Any]:
        text = backbone.text.fingerprint if self.long else ""
        return {"least_words": self.least_words, "phrases": list(self.echoes), "text": text, "near": self.near}

    def _checked(self, backbone: Backbone, some: Block) -> tuple[list[tuple[str, ...]], Hashes, Hashes]:
        """Return the rules that each text fails by itself, (N, H) hashes of its words, and (N,) ids."""
        names, texts = some.names, some.texts()
        joined = [joined_words(text) for text in texts]
        failed = [self._rules(*of_one) for of_one in zip(names, texts, joined, strict=True)]
        if self.long:
            failed = [
                (*rules, "long") if long else rules for rules, long in zip(failed, _long(backbone, texts), strict=True)
            ]
        hashes = exact_hashes(joined)[:, None]
        if self.near:
            hashes = np.concatenate([hashes, band_hashes([text.split() for text in joined])], axis=1)
        return failed, hashes, identities(some)


def _repeats(text: str) -> bool:
    """Return whether a sentence of a text occurs twice in it."""
    core = text.rstrip(_ENDS)
    if core.isascii() and not any(map(core.__contains__, _MARKS)):
        return False  # as of most captions, which the pattern would be tried on at each letter
    parts = [part for part in _SENTENCE.split(text) if part.strip()]
    sentences = [s for s in map(joined_words, parts) if s] if len(parts) > 1 else []
    return len(set(sentences)) < len(sentences)


def _names_file(name: str, text: str, joined: str) -> bool:
    """Return whether a text is one file name, or the words of the name of its own file."""
    caption = text.strip()
    if caption[-_LONGEST:].lower().endswith(_SUFFIXES) and len(caption.split()) == 1:
        return True
    path = name.replace("\\", "/").rpartition("!")[2] or name
    stem = splitext(basename(path))[0]  # pathlib takes longer than all other rules
    if not joined or (stem.isascii() and len(joined) > len(stem)):  # its words are no longer than itself
        return False
    return joined == joined_words(stem)


def _long(backbone: Backbone, texts: Sequence[str]) -> NDArray[np.bool_]:
    """Return (N,) whether the text tower does not read a text whole; a chunk without such texts is asked once."""

    def refused(some: Sequence[str]) -> bool:
        try:
            backbone.text.inputs(some)
        except UsageError:
            return True
        return False

    out = np.zeros(len(texts), dtype=bool)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # so few ranges hold texts of both kinds
    pending, stop, step = list[tuple[range, bool]](), len(texts), 1
    while stop:  # from the longest text on: of most chunks it is read, and so are the others
        rows = range(max(0, stop - step), stop)
        stop, step, refuses = rows.start, 4 * step, refused([texts[order[i]] for i in rows])
        if not refuses:
            pending.append((range(stop), False))
            break
        pending.append((rows, True))
    while pending:
        rows, refuses = pending.pop()
        if rows and (refuses or refused([texts[order[i]] for i in rows])):
            if len(rows) == 1:
                out[order[rows.start]] = True
            else:
                middle = rows.start + len(rows) // 2
                pending += [(range(rows.start, middle), False), (range(middle, rows.stop), False)]
    return out
