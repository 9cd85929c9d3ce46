"""UF-FGTG's second half: the tokens of a prompt, adapted, are what a small language model reads to write a longer one.

    memory = norm(linear(gelu(linear(E(prompt)))))        (L, W);  zeros after the prompt's end

E(prompt): (L, C) tokens of a text encoder
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from diptych.core import Condition, UsageError
from diptych.nn.text.small_lm import SmallLM


class PromptRefiner(nn.Module):
    """The adapter and the language model. Their weights start from torch's global generator.

    Args:
        tokens: C, width of the encoder's tokens.
        vocabulary: number of words that are written.
        width: W, of the language model.
        layers: of the language model.
        read: L, tokens of a prompt that are read.
        limit: words that are written, at most.
    """

    def __init__(self, tokens: int, vocabulary: int, width: int, layers: int, read: int, limit: int) -> None:
        super().__init__()
        self.read = read
        self.adapter = nn.Sequential(nn.Linear(tokens, width), nn.GELU(), nn.Linear(width, width), nn.LayerNorm(width))
        self.lm = SmallLM(vocabulary, width, layers, context=limit + 2, memory=width)

    def memory(self, prompt: Condition) -> Tensor:
        """Return (B, L, W) of the tokens of B prompts; what follows a prompt is zero, however long its batch mates are.

        Raises:
            UsageError: a prompt is longer than what is read.
        """
        length = prompt.tokens.shape[1]
        if length > self.read:
            raise UsageError(f"A prompt has {length} tokens, and {self.read} are read: shorten it.")
        out = self.adapter(prompt.tokens)
        if prompt.mask is not None:
            out = torch.where(prompt.mask[..., None], out, 0.0)
        return pad(out, (0, 0, 0, self.read - length))
