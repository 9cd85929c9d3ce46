"""Agents by the words of a command line: models behind OpenAI-compatible addresses."""

from __future__ import annotations

from collections.abc import Iterable

from diptych.backbones.writers.openai_compatible import OpenAICompatible
from diptych.core import UsageError
from diptych.nn.text.agents import AGENTS

FORM = "[describe=|revise=|judge=|shorten=]MODEL@http://host/v1"


def agents_of(words: Iterable[str], key: str = "") -> dict[str, OpenAICompatible]:
    """Return name of an agent -> its writer.

    Args:
        words: each ``FORM``; without a name a model is all agents that no other word names.
        key: environment variable with the API key; "": none.

    Raises:
        UsageError: a word has another form, an agent is named twice, or no agent describes.

    Example:
        >>> {n: a.model for n, a in agents_of(["m@http://h/v1", "judge=big@http://h/v1"]).items()}
        {'describe': 'm', 'revise': 'm', 'judge': 'big', 'shorten': 'm'}
    """
    named: dict[str, OpenAICompatible] = {}
    for word in words:
        name, mark, rest = word.partition("=")
        name, rest = (name, rest) if mark and name in AGENTS else ("", word)
        model, at, address = rest.rpartition("@")
        if not at or not model:
            raise UsageError(f"{word!r} names no agent: write {FORM}.")
        if name in named:
            raise UsageError(f"The agent {name or 'of all'} is given twice, the second time by {word!r}: give it once.")
        named[name] = OpenAICompatible(address, model, key)
    agents = {name: named.get(name, named.get("")) for name in AGENTS}
    present = {name: agent for name, agent in agents.items() if agent is not None}
    if AGENTS[0] not in present:
        raise UsageError(f"Agents write the captions: give {{agent}} {FORM}.")
    return present
