"""Spaces with a language model on disk: the backbone, the language model and the adaptor, each in its own format.

image/            the backbone, as ``save`` writes it alone
language/         the language model and its tokenizer, for transformers' ``from_pretrained``
adaptor.safetensors
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from diptych.backbones.causal import load_causal, quiet
from diptych.backbones.language_space import Adaptor, LanguageSpace
from diptych.backbones.language_text import LanguageText
from diptych.backbones.weights import read_state
from diptych.core import Backbone, DataError, UsageError

IMAGE, LANGUAGE, ADAPTOR = "image", "language", "adaptor.safetensors"


def save_language(space: LanguageSpace, folder: Path, save: Callable[[Backbone, Path], None]) -> dict[str, Any]:
    """Write the three parts of a space, and return the facts that ``load_language`` needs.

    Args:
        space: the space.
        folder: exists, and has none of the parts.
        save: writes a backbone to a new folder.

    Raises:
        UsageError: the language model is not one of transformers, or the backbone can't be written.
    """
    from safetensors.torch import save_file

    language = space.language
    network: Any = language.network
    if language.tokenizer is None or not hasattr(network, "save_pretrained"):
        raise UsageError("This language model is not one of transformers and has no format on disk: give one that is.")
    save(space.base, folder / IMAGE)
    with quiet():
        network.save_pretrained(str(folder / LANGUAGE), safe_serialization=True)
    language.tokenizer.save_pretrained(str(folder / LANGUAGE))
    tensors = {n: t.detach().cpu().clone().contiguous() for n, t in space.adaptor.state_dict().items()}
    save_file(tensors, folder / ADAPTOR)
    adaptor: Any = space.adaptor
    return {"bidirectional": language.bidirectional, "limit": language.limit, "blocks": len(adaptor.blocks)}


def load_language(folder: Path, facts: Mapping[str, Any], load: Callable[[str], Backbone]) -> LanguageSpace:
    """Load the three parts of a space.

    Raises:
        DataError: the adaptor is damaged, or does not fit the others.
    """
    base = load(f"local:{folder / IMAGE}")
    model, tokenizer = load_causal(str(folder / LANGUAGE), offline=True)
    language = LanguageText.of(model, tokenizer, bidirectional=facts["bidirectional"], limit=facts["limit"])
    adaptor = Adaptor(language.dim, base.spec.dim, facts["blocks"])
    try:
        adaptor.load_state_dict(read_state(folder / ADAPTOR))
    except RuntimeError as error:
        raise DataError(f"{folder / ADAPTOR} does not fit the other parts: save the space again.") from error
    return LanguageSpace(base, language, adaptor, name=f"local:{folder}")
