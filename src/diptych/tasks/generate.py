"""Make pictures from words, by a denoiser or by an editor that begins with words alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from diptych.core import EditAsk, Edited, Run, TextDiffusion, UsageError
from diptych.nn.diffusion.ddim import levels, noise, sample
from diptych.tasks.edit import Edits, pairs_of

STEPS, GUIDANCE = 25, 3.0


def generate(
    texts: Sequence[str],
    diffusion: TextDiffusion,
    run: Run,
    *,
    count: int = 1,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
) -> Edits:
    """Sample pictures of each text from a denoiser.

    A picture depends on its text, its number and the seed, and not on the other texts.

    Args:
        texts: what the pictures shall show.
        diffusion: the denoiser.
        run: seed, device and batch.
        count: pictures a text, >= 1.
        steps: of sampling, at least 1 and fewer than those of the denoiser's training.
        guidance: how far the prediction goes away from that without a text, >= 0; 1 is none.

    Raises:
        UsageError: there is no text, a text is empty, or a number is out of its range.
    """
    check_texts(texts)
    levels(steps, len(diffusion.alphas_cumprod))
    if guidance < 0:
        raise UsageError(f"guidance must be at least 0, got {guidance:g}: 1 is none.")
    ask = EditAsk("", tuple(texts), count=count)
    pictures = []
    with run.track("generate", count * len(texts)) as bar:
        for text in ask.targets:
            told = diffusion.encode_text([text] * count)
            start = noise(diffusion, count, run.generator(f"generate/{text}"))
            z = sample(diffusion, told, start, steps=steps, guidance=guidance)
            pictures.append(diffusion.from_latent(z).cpu())
            bar.advance(count)
    return Edits(ask, pairs_of(ask, Edited((), torch.cat(pictures)), run))


def check_texts(texts: Sequence[str]) -> None:
    """Refuse texts from which nothing can be made.

    Raises:
        UsageError: there is none, or one is empty.
    """
    if not texts or not all(text.strip() for text in texts):
        raise UsageError('There is nothing to make a picture of: give a text, such as "a red circle".')
