from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from diptych.backbones.diffusion.small import SmallDiffusion
from diptych.core import Run, UsageError
from diptych.nn.diffusion.ddim import noise, sample
from diptych.tasks.generate import check_learnt, generate, unlearnt, usual_steps
from diptych.tasks.provenance import MADE, origin
from tests.support.diffusion import random_diffusion
from tests.support.small_clip import small_clip


@pytest.fixture(scope="module")
def diffusion(tmp_path_factory: pytest.TempPathFactory) -> SmallDiffusion:
    return random_diffusion(small_clip(tmp_path_factory.mktemp("clip") / "vit"))


def test_a_picture_depends_on_its_text_number_and_seed_alone(diffusion: SmallDiffusion, tmp_path: Path) -> None:
    run = Run(seed=3)
    found = generate(["a red circle", "a dog"], diffusion, run, count=2, steps=3)
    assert [p.name for p in found.pairs] == ["a-red-circle-1", "a-red-circle-2", "a-dog-1", "a-dog-2"]
    alone = generate(["a dog"], diffusion, run, count=2, steps=3)
    assert torch.equal(alone.pairs[1].after, found.pairs[3].after)
    start = noise(diffusion, 2, run.generator("generate/a dog"))
    z = sample(diffusion, diffusion.encode_text(["a dog", "a dog"]), start, steps=3, guidance=3.0)
    assert torch.equal(torch.stack([p.after for p in alone.pairs]), diffusion.from_latent(z))
    other = generate(["a dog"], diffusion, Run(seed=4), count=2, steps=3)
    assert not torch.equal(other.pairs[0].after, alone.pairs[0].after)
    assert [found.row(p)["text"] for p in found.pairs] == ["a red circle"] * 2 + ["a dog"] * 2
    found.write(found.pairs[0], tmp_path / "one.png", "")
    with Image.open(tmp_path / "one.png") as picture:
        assert origin(picture) == MADE
        assert "target: a red circle; " in str(picture.info)  # one prompt, not all of them


def test_words_that_were_never_learnt_are_known() -> None:
    assert unlearnt(["A red circle", "a yellow striped star on a dark background"]) == ()
    assert unlearnt(["a dog on the beach", "a purple dog"]) == ("dog", "beach")
    assert unlearnt(["a small heart", "a brown ring", "a dotted cross"]) == ("small", "brown", "ring", "dotted")
    check_learnt(["a pink heart"])
    with pytest.raises(UsageError, match=r'learnt dog and beach in "a dog on the beach": it draws'):
        check_learnt(["a red circle", "a dog on the beach"])
    with pytest.raises(UsageError, match=r"never learnt dog and beach: it draws one of 6 shapes .* one of 8 colours"):
        check_learnt(["a dog on the beach"])


def test_bad_requests_are_named(diffusion: SmallDiffusion) -> None:
    for texts in ([], ["a dog", " "]):
        with pytest.raises(UsageError, match="nothing to make a picture of"):
            generate(texts, diffusion, Run())
    with pytest.raises(UsageError, match="got 1000"):
        generate(["a dog"], diffusion, Run(), steps=1000)
    with pytest.raises(UsageError, match="guidance must be at least 0, got -1"):
        generate(["a dog"], diffusion, Run(), guidance=-1.0)


def test_the_small_denoiser_takes_fewer_steps_than_others_unless_they_are_given() -> None:
    assert (usual_steps("small"), usual_steps("local:sd15")) == (10, 25)
