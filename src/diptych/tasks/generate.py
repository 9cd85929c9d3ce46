"""Make pictures from words, by a denoiser or by an editor that begins with words alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from diptych.backbones.diffusion.pipelines import Pipeline
from diptych.backbones.diffusion.schedulers import DDIM, check_scheduler, sample_by, scheduler_for
from diptych.core import EditAsk, Edited, Run, TextDiffusion, UsageError
from diptych.nn.diffusion.ddim import levels, noise, sample
from diptych.tasks.edit import Edits, pairs_of

STEPS, FEW_STEPS, GUIDANCE = 25, 10, 3.0
"""Steps of a denoiser, and of the small one, whose pictures of 10 and of 25 steps ``recipes.small_denoiser`` reads
alike.
"""


def usual_steps(denoiser: str) -> int:
    """Return the steps of sampling of a denoiser, by its name, where none are given."""
    return FEW_STEPS if denoiser == "small" else STEPS


def generate(
    texts: Sequence[str],
    diffusion: TextDiffusion,
    run: Run,
    *,
    count: int = 1,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
    negative: str = "",
    scheduler: str | None = None,
) -> Edits:
    """Sample pictures of each text from a denoiser.

    A picture depends on its text, its number and the seed, and not on the other texts.

    Args:
        texts: what the pictures shall show.
        diffusion: the denoiser.
        run: seed, device and batch.
        count: pictures per text, >= 1.
        steps: of sampling, at least 1 and fewer than those of the denoiser's training.
        guidance: how far the prediction goes away from that of ``negative``, >= 0; 1 is none.
        negative: what the pictures shall not show; "": away from no text.
        scheduler: "ddim", or for a pipeline the name of another, see ``schedulers``; None: the denoiser's usual one.

    Raises:
        UsageError: there is no text, a text is empty, a number is out of its range, or the scheduler is none of the
            denoiser's.
        DataError: the scheduler does not fit the pipeline.
    """
    check_texts(texts)
    if scheduler not in (None, DDIM) and not isinstance(diffusion, Pipeline):
        check_scheduler(scheduler)
        raise UsageError(
            f"The scheduler {scheduler} belongs to pipelines: give one as {{denoiser}}, or leave {{scheduler}} out."
        )
    scheduler = scheduler_for(diffusion, scheduler)
    levels(steps, len(diffusion.alphas_cumprod))
    if guidance < 0:
        raise UsageError(f"guidance must be at least 0, got {guidance:g}: 1 is none.")
    ask = EditAsk("", tuple(texts), count=count)
    pictures = []
    with run.track("generate", count * len(texts)) as bar:
        for text in ask.targets:
            condition = diffusion.encode_text([text] * count)
            away = diffusion.encode_text([negative] * count) if negative and guidance != 1.0 else None
            g = run.generator(f"generate/{text}")
            start = noise(diffusion, count, g)
            if scheduler == DDIM:
                z = sample(diffusion, condition, start, steps=steps, guidance=guidance, away=away)
            else:
                assert isinstance(diffusion, Pipeline)
                z = sample_by(scheduler, diffusion, condition, start, steps=steps, guidance=guidance, away=away, g=g)
            pictures.append(diffusion.from_latent(z).cpu())
            bar.advance(count)
    return Edits(ask, pairs_of(ask, Edited((), torch.cat(pictures)), run))


def check_learnt(texts: Sequence[str]) -> None:
    """Refuse texts with words that the small denoiser never learnt, and say what it draws.

    Raises:
        UsageError: there is such a word.
    """
    from diptych.backbones.diffusion.load import SMALL_BANK, SMALL_SCENES

    if words := unlearnt_in(texts):
        bank, textures = SMALL_BANK, tuple(dict.fromkeys(SMALL_BANK.textures))
        raise UsageError(
            f"The small denoiser never learnt {words}: it draws one of {len(bank.shapes)} shapes "
            f"({_listed(bank.shapes, 'or')}) in one of {len(bank.colours)} colours ({_listed(bank.colours, 'or')}), "
            f"{_listed(textures, 'or')}, on a {_listed(SMALL_SCENES.backgrounds, 'or')} background. Name such a thing, "
            f"give a pipeline of yours as {{denoiser}}, or continue anyway with {{anyway}}."
        )


def unlearnt(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the words of texts that were in no text that the small denoiser was taught, each once."""
    from diptych.backbones.diffusion.load import taught_words, words_of

    return tuple(dict.fromkeys(w for text in texts for w in words_of(text) if w not in taught_words()))


def unlearnt_in(texts: Sequence[str]) -> str:
    """Return the words of ``unlearnt`` as a phrase, with the text that holds them where there are several; "" for none.

    Example:
        >>> unlearnt_in(["a dog on the beach"]), unlearnt_in(["a red circle", "a dog on the beach"])
        ('dog and beach', 'dog and beach in "a dog on the beach"')
    """
    words = {text: w for text in dict.fromkeys(texts) if (w := unlearnt([text]))}
    alone = len(set(texts)) == 1
    return _listed([
        _listed(w, "and") + ("" if alone or w == (text.strip(),) else f' in "{text}"') for text, w in words.items()
    ], "and")  # fmt: skip


def _listed(words: Sequence[str], last: str) -> str:
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else "".join(words)


def check_texts(texts: Sequence[str]) -> None:
    """Refuse texts from which nothing can be made.

    Raises:
        UsageError: there is none, or one is empty.
    """
    if not texts or not all(text.strip() for text in texts):
        raise UsageError('There is nothing to make a picture of: give a text, such as "a red circle".')
