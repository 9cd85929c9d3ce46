"""Parts beside the backbone that some systems of ``pretrain`` need, from their names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from diptych.backbones.sources.load import load
from diptych.core import Backbone, Card, UsageError


def named_parts(
    device: str,
    *,
    rewrites: str | os.PathLike[str] | None = None,
    scorer: str | Backbone | None = None,
    teacher: str | Backbone | None = None,
    language_model: str | None = None,
    proposer: str | None = None,
) -> dict[str, Any]:
    """Return the parts that are named, loaded, by their names in a kit.

    Args:
        device: of torch.
        rewrites: rewritten captions: a .json pool or recorded .jsonl.
        scorer: backbone that scores captions, or its name.
        teacher: backbone that teaches, or its name.
        language_model: reads texts: "smollm2", "hf:org/name" or a folder.
        proposer: finds regions: "merged-cells", or a detector or mask model of transformers.

    Raises:
        UsageError, DataError, NotAvailable: a part cannot be loaded.

    Example:
        >>> named_parts("cpu")
        {}
    """
    kit: dict[str, Any] = {}
    if language_model is not None:
        from diptych.backbones.language_text import LanguageText

        kit["language_model"] = LanguageText.load(language_model)
    if rewrites is not None:
        from diptych.backbones.writers.pool import StoredPool

        kit["writer"] = StoredPool(rewrites)
    for part, given in (("scorer", scorer), ("teacher", teacher)):
        if given is not None:
            kit[part] = load(given, device=device) if isinstance(given, str) else given
    if proposer is not None:
        from diptych.backbones.sources.proposers import load_proposer

        kit["proposer"] = load_proposer(proposer)
    return kit


def need_parts(card: Card, names: Mapping[str, Any]) -> None:
    """Check that every part which a system needs, and which has no default, is named; see ``named_parts``.

    Raises:
        UsageError: one is not.
    """
    needed = card.needs.parts
    if "Writer" in needed and names.get("rewrites") is None:
        raise UsageError(
            f"{card.slug} draws among rewrites: give {{rewrites}} POOL.json, captions with other wordings of each."
        )
    if "Backbone" in needed and names.get("teacher") is None:
        raise UsageError(f"{card.slug} learns from a teacher: give {{teacher}} BACKBONE, such as hf:BAAI/AltCLIP.")
    if "TokenStates" in needed and names.get("language_model") is None:
        raise UsageError(f"{card.slug} reads texts by a language model: give {{language_model}} smollm2 or a folder.")


def parts_for(card: Card, device: str, *, denoiser: str = "small", **names: Any) -> dict[str, Any]:
    """Return the parts of one system, loaded.

    Args:
        card: of the system.
        device: of torch.
        denoiser: teaches details, for systems that learn from one: "small", or "local:FOLDER" with a diffusers
            pipeline.
        names: the other parts, see ``named_parts``.

    Raises:
        UsageError: the system needs a part that is not named.
    """
    need_parts(card, names)
    kit = named_parts(device, **names)
    if "TextDiffusion" in card.needs.parts:
        from diptych.backbones.diffusion.load import load_diffusion

        # The small one reads its texts by tiny, whatever backbone is trained.
        kit["diffusion"] = load_diffusion(denoiser, load("tiny", device=device))
    return kit
