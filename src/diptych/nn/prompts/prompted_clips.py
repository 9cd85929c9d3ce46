"""A backbone for clips whose two towers have learnt prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from diptych.core import Backbone, Parts
from diptych.features.clips import ClipEncoder
from diptych.features.derived_space import DerivedSpace, base_of, parts_of, restored
from diptych.features.released_tensors import check_released
from diptych.features.strict_weights import load_tensors
from diptych.nn.prompts.both_towers import PromptedImage, PromptedText, Prompts


class PromptedClips(DerivedSpace):
    """A backbone for clips: each is the mean of its frames, and both towers see learnt tokens.

    Args:
        base: frozen; the space of photos and texts.
        frames: T, number of frames.
        prompts: fixed.
        origin: the backbone from which the base was trained; None: the base.
    """

    def __init__(self, base: Backbone, frames: int, prompts: Prompts, origin: Backbone | None = None) -> None:
        learnt = b"".join(p.detach().cpu().numpy().tobytes() for p in prompts.parameters())
        digest = hashlib.sha256(learnt).hexdigest()[:16]
        clips = ClipEncoder(PromptedImage(base, prompts, digest), frames)
        text = PromptedText(base, prompts, digest)
        super().__init__(base, clips, text, f"prompts-{digest[:6]}-frames{frames}", origin=origin)
        self.frames, self.prompts = frames, prompts

    def parts(self) -> Parts:
        """Return the sizes and the prompts, and the tensors of the base where it was trained."""
        length = self.prompts.image_tokens.shape[1]
        depth = max(len(self.prompts.image_tokens), len(self.prompts.text_tokens))
        return parts_of(self, {"frames": self.frames, "length": length, "depth": depth}, self.prompts)

    @classmethod
    def of_parts(cls, parts: Parts) -> PromptedClips:
        """Return the space of these parts."""
        base, origin = base_of(parts)
        length, depth = int(parts.settings["length"]), int(parts.settings["depth"])
        prompts = restored(lambda: Prompts(base, length, depth), parts)
        return cls(base, int(parts.settings["frames"]), prompts, origin)

    @classmethod
    def of_released(
        cls, base: Backbone, frames: int, tokens: Mapping[str, Tensor], origin: Backbone, system: str
    ) -> PromptedClips:
        """Return the space with the prompts of a released file.

        All but the first ones of the texts are rounded to float16, as the authors' code rounds them.

        Args:
            base: its towers.
            frames: T.
            tokens: "image_tokens" and "text_tokens", (d, n, C) each.
            origin: the backbone from which the base was trained.
            system: for messages.

        Raises:
            DataError: tensors are missing, unexpected or of another shape.
        """
        depth, length = tokens["image_tokens"].shape[:2] if "image_tokens" in tokens else (1, 1)
        with torch.random.fork_rng(devices=[]):
            prompts = Prompts(base, length, depth)
        read = check_released(tokens, prompts.state_dict(), system)
        for name, first in (("image_tokens", 0), ("text_tokens", 1)):
            read[name][first:] = read[name][first:].half().float()
        load_tensors(prompts, read)
        prompts.to(next(base.module().parameters()).device).requires_grad_(False)
        return cls(base, frames, prompts, origin)
