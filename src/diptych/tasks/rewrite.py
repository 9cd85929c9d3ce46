"""Rewrite prompts by a system that learnt from short and long ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.core import Ask, DataError, Evidence, Kit, Rewriter, Run, Text, UsageError, Writer
from diptych.data.words.textfiles import read_text
from diptych.features import artefacts
from diptych.metrics.caption import distinct
from diptych.train.parameters import resumable

CHOICES = 5


class Rewrites(tuple[str, ...]):
    """The rewrites of a prompt, the likeliest first.

    Args:
        rewrites: the texts.
        prompt: that they say more about.
    """

    prompt: str

    def __new__(cls, rewrites: Iterable[str] = (), prompt: str = "") -> Rewrites:
        """Return the texts, with their prompt."""
        texts = super().__new__(cls, rewrites)
        texts.prompt = prompt
        return texts

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"prompt": self.prompt, "rewrites": list(self)}


@dataclass(frozen=True)
class Rewritten:
    """Prompts with their rewrites.

    Args:
        rewrites: of each, the likeliest first.
    """

    prompts: tuple[str, ...]
    rewrites: tuple[tuple[Text, ...], ...]

    def of_prompts(self) -> tuple[Rewrites, ...]:
        """Return the rewrites of each prompt."""
        pairs = zip(self.rewrites, self.prompts, strict=True)
        return tuple(Rewrites((t.value for t in texts), prompt) for texts, prompt in pairs)

    @property
    def distinct(self) -> float:
        """The share of different pairs of words among all rewrites."""
        return distinct([t.value for texts in self.rewrites for t in texts], 2)


def read_prompts(given: Sequence[str]) -> tuple[str, ...]:
    """Return prompts: the lines of each .txt file, and all other texts themselves.

    Raises:
        UsageError: a file does not exist, or all texts are empty.
        DataError: the files hold no prompt.
    """
    prompts: list[str] = []
    for text in given:
        lines = read_text(Path(text), "prompts").splitlines() if text.lower().endswith(".txt") else [text]
        prompts += [line.strip() for line in lines if line.strip()]
    if not prompts:
        if not any(given):
            raise UsageError("There is no prompt: give one, or a .txt file with one per line.")
        raise DataError(f"There are no prompts in {', '.join(given)}: give one per line.")
    return tuple(prompts)


def check_choices(method: Rewriter, choices: int) -> None:
    """Refuse more rewrites than a system has, before anything is loaded.

    Raises:
        UsageError: it has fewer.
    """
    most = getattr(method, "choices", None)
    if most is not None and choices > most:
        raise UsageError(f"{choices} rewrites are wanted, and {method.card.name} has {most}: give a lower {{choices}}.")


def fitted_rewriter(
    kit: Kit,
    run: Run,
    method: Rewriter,
    *,
    evidence: Evidence[Any] | None = None,
    folder: Path | None = None,
    workers: int = 0,
    facts: Mapping[str, Any] | None = None,
) -> Writer:
    """Fit a rewriter on its evidence, or read one that was fitted before.

    Args:
        kit: backbone, and a denoiser for a method that learns from one.
        run: device and seed.
        method: the rewriter.
        evidence: what it learns from.
        folder: of the fitted rewriter: read where it is, else written; None keeps nothing.
        workers: processes that load and augment what it learns from, see ``train.parameters.checkpointed``.
        facts: what the folder says beside, see ``features.artefacts.save``.

    Raises:
        UsageError: the folder holds a rewriter of another method.
        DataError: the folder holds none.
    """
    of = None if folder is None else artefacts.begins(method, kit.parts)
    with resumable(folder, workers=workers, of=of):
        fitted: Writer = artefacts.read_or_fit(
            folder, lambda: kit, method, lambda: method.fit(kit, evidence or Evidence(), run), **(facts or {})
        )[0]
    return fitted


def rewrite(writer: Writer, prompts: Sequence[str], *, choices: int = CHOICES) -> Rewritten:
    """Rewrite prompts, each independently of the others.

    Raises:
        UsageError: there is no prompt, or the writer refuses one.
    """
    if not prompts:
        raise UsageError("There is no prompt to rewrite: give words.")
    replies = writer.write([Ask(about=prompt, n=choices) for prompt in prompts])
    return Rewritten(tuple(prompts), tuple(tuple(texts) for texts in replies))
