"""A causal language model of transformers as a writer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from diptych.backbones.causal import SMOLLM2, load_causal
from diptych.core import Ask, Run, Text, UsageError


class CausalLM:
    """Continues each prompt, with the model's chat template where it has one.

    Draws are fixed by (run.seed, prompt), so a reply depends on its request alone. The replies of SmolLM2, with 135 M
    weights, are poor; a better model's can be recorded and shared.

    Args:
        model: in eval mode.
        name: writer of every text.
        limit: largest number of tokens of a text.
        temperature: >= 0; 0 takes the most likely token each time and writes one text, whatever n.
        top_p: in (0, 1]; cuts the least likely tokens.

    Raises:
        UsageError: a setting is out of its range; on writing: a request with an image, an empty prompt, or one too long
            for the model.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        name: str,
        run: Run,
        *,
        limit: int = 64,
        temperature: float = 0.7,
        top_p: float = 0.95,
    ) -> None:
        if limit < 1 or temperature < 0 or not 0 < top_p <= 1:
            raise UsageError("A writer needs limit >= 1, temperature >= 0 and 0 < top_p <= 1.")
        self.model: Any = model.to(torch.device(run.device))
        self.tokenizer, self.name, self.run = tokenizer, name, run
        self.limit, self.temperature, self.top_p = limit, temperature, top_p

    @classmethod
    def load(
        cls,
        name: str,
        run: Run,
        *,
        offline: bool | None = None,
        limit: int = 64,
        temperature: float = 0.7,
        top_p: float = 0.95,
    ) -> CausalLM:
        """Load a model by name: "smollm2", "hf:org/name" or a folder; raises as ``load_causal`` does."""
        model, tokenizer = load_causal(name, offline=offline)
        writer = Path(SMOLLM2).stem if name == "smollm2" else Path(name).name
        return cls(model, tokenizer, writer, run, limit=limit, temperature=temperature, top_p=top_p)

    def write(self, asks: Sequence[Ask]) -> list[list[Text]]:
        """Return up to n texts for each prompt; empty ones are left out."""
        today = datetime.now(UTC).date().isoformat()
        return [[Text(value, self.name, ask.prompt, today) for value in self._texts(ask)] for ask in asks]

    @torch.no_grad()
    def _texts(self, ask: Ask) -> list[str]:
        from transformers import GenerationConfig

        ids = self._ids(ask)
        sampled = self.temperature > 0
        settings = GenerationConfig(
            max_new_tokens=self.limit,
            do_sample=sampled,
            num_return_sequences=ask.n if sampled else 1,
            eos_token_id=self.model.generation_config.eos_token_id,
            pad_token_id=self.tokenizer.pad_token_id
            if self.tokenizer.pad_token_id is not None
            else self.tokenizer.eos_token_id,
            **({"temperature": self.temperature, "top_p": self.top_p, "top_k": 0} if sampled else {}),
        )
        with self.run.seeded(f"write/{ask.prompt}"):
            written = self.model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        texts = (self.tokenizer.decode(row, skip_special_tokens=True).strip() for row in written[:, ids.shape[1] :])
        return [text for text in texts if text]

    def _ids(self, ask: Ask) -> torch.Tensor:
        """Return the (1, T) ids of a prompt."""
        if ask.image is not None:
            raise UsageError(f"{self.name} cannot see: ask without an image, or use a captioner.")
        if not ask.prompt.strip():
            raise UsageError(
                f"{self.name} continues a prompt, and the one about {ask.about!r} is empty: say what it should write."
            )
        text = ask.prompt
        if self.tokenizer.chat_template:
            text = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], add_generation_prompt=True, tokenize=False
            )
        ids = self.tokenizer(text, add_special_tokens=not self.tokenizer.chat_template)["input_ids"]
        room = getattr(self.model.config, "max_position_embeddings", None)
        if room is not None and len(ids) + self.limit > room:
            raise UsageError(
                f"A prompt of {len(ids)} tokens and {self.limit} more do not fit in {self.name}'s {room}: shorten it, "
                f"or the limit."
            )
        return torch.tensor([ids], device=torch.device(self.run.device))
