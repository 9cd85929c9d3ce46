from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from diptych.backbones.diffusion.load import load_diffusion
from diptych.backbones.diffusion.small import TextTokens
from diptych.core import (
    Ask,
    Backbone,
    Column,
    DataError,
    Evidence,
    Kit,
    MissingEvidence,
    MissingHook,
    MissingPart,
    Run,
    Table,
    TextReading,
    UsageError,
    Writer,
)
from diptych.features import portable
from diptych.methods.rewrite.uf_fgtg import UFFGTG, FittedUFFGTG, check_reads, own_tower, short_and_long
from diptych.nn.diffusion.noise_error import noise_error
from diptych.nn.style_space import square_of
from tests.backbones.diffusion.test_pipeline_folders import clip_pipeline, small_pipeline
from tests.support.backbone import SmallBackbone
from tests.support.diffusion import random_diffusion
from tests.support.pictures import Pictures, picture
from tests.support.refused import refused
from tests.support.small_clip import small_clip

SHORT: dict[str, Any] = {"epochs": 2, "batch": 4, "rate": 1e-3, "warmup": 0, "width": 16, "layers": 1, "read": 16}
SHORT |= {"choices": 3, "limit": 10}
COLOURS = ("red", "blue", "green", "pink")
PHOTOS = Pictures(tuple(picture(k % 4, k) for k in range(8)))
CAPTIONS = [(f"a {COLOURS[k % 4]} cup", f"a large {COLOURS[k % 4]} cup on a table, at dusk") for k in range(8)]
EVIDENCE = Evidence(train=Table(PHOTOS, {"captions": Column("captions", CAPTIONS)}))


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    vit = small_clip(tmp_path_factory.mktemp("clip") / Path("vit"))
    return Kit({"main": vit, "diffusion": random_diffusion(vit)})


@pytest.fixture(scope="module")
def fitted(kit: Kit) -> FittedUFFGTG:
    return UFFGTG(**SHORT).fit(kit, EVIDENCE, Run(seed=1))


def test_the_longest_caption_is_the_long_prompt() -> None:
    assert short_and_long(["one two three", "one", ""]) == (("one",), "one two three")
    with pytest.raises(UsageError, match="a short prompt and a long one"):
        short_and_long(["one", " "])


def test_both_losses_reach_the_tower_and_each_part_moves(kit: Kit, fitted: FittedUFFGTG) -> None:
    backbone = kit.need(Backbone)
    _, names = own_tower(backbone, TextReading())
    old = backbone.module().state_dict()
    moved = [n for n in names if not torch.equal(fitted.learnt[f"space.{n}"], old[n])]
    assert len(moved) > len(names) // 2
    assert not any(n.startswith("space.visual") for n in fitted.learnt)
    still = UFFGTG(**{**SHORT, "tower_rate": 0.0}).fit(kit, EVIDENCE, Run(seed=1))
    assert not any(n.startswith("space.") for n in still.learnt)
    words = TextTokens(backbone)
    told = words.condition(words.ids(["a red cup"])).tokens
    assert not torch.allclose(told, fitted.condition(["a red cup"]).tokens)


def test_the_image_loss_teaches_the_encoder_what_pictures_show(kit: Kit) -> None:
    pictures = [PHOTOS[k] for k in range(4)]
    method = UFFGTG(**{**SHORT, "epochs": 30, "rate": 3e-3, "text": 0.0})
    fitted = method.fit(kit, EVIDENCE, Run(seed=1))
    diffusion = kit.parts["diffusion"]
    z = diffusion.to_latent(torch.stack([square_of(p, 8) for p in pictures])).repeat(16, 1, 1, 1)
    g = torch.Generator().manual_seed(5)
    t, noise = torch.randint(1000, (64,), generator=g), torch.randn(64, *diffusion.latent, generator=g)
    prompts = [f"a {c} cup" for c in COLOURS] * 16

    def errors(encode: Any) -> tuple[float, float]:
        """Return the errors with each picture's own prompt, and the mean of those with the prompts of the others."""
        told = [[*prompts[k:], *prompts[:k]] for k in range(4)]
        with torch.no_grad():
            own, *others = (float(noise_error(diffusion, z, encode(p), t, noise).mean()) for p in told)
        return own, sum(others) / 3

    (before, _), (after, other) = errors(diffusion.encode_text), errors(fitted.condition)
    assert after < before
    assert after < other  # what was learnt belongs to the picture, and is no better guess of noise as such


def test_it_learns_to_write_long_prompts_that_name_the_short_ones_colour(kit: Kit) -> None:
    method = UFFGTG(
        **{
            **SHORT,
            "epochs": 60,
            "rate": 5e-3,
            "tower_rate": 0.1,
            "width": 32,
            "image": 0.0,
            "text": 1.0,
            "diversity": 0.0,
        }
    )
    fitted = method.fit(Kit({"main": kit.parts["main"]}), EVIDENCE, Run(seed=1))
    for colour in COLOURS:
        (found,) = fitted.write([Ask(about=f"a {colour} cup", n=1)])
        assert found[0].value == f"a large {colour} cup on a table, at dusk"
        assert (found[0].writer, found[0].prompt) == ("uf-fgtg", f"a {colour} cup")


def test_choices_differ_and_depend_on_their_own_prompt_alone(fitted: FittedUFFGTG) -> None:
    assert isinstance(fitted, Writer)
    asks = [Ask(about=text, n=3) for text in ("a red cup", "a pink cup on a very wide table")]
    both = fitted.write(asks)
    assert [fitted.write([ask])[0] for ask in asks] == both
    for own in both:
        assert len({t.value for t in own}) == len(own) == 3

    def starts(diversity: float) -> list[int]:
        """Return how many first words the rewrites of each prompt have."""
        written = replace(fitted, method=replace(fitted.method, diversity=diversity)).write(asks)
        return [len({t.value.split()[0] for t in own}) for own in written]

    assert starts(100.0) == [3, 3]  # no group may begin as another one
    assert starts(0.0) == [1, 1]  # the beams of one group stay with the likeliest start
    assert fitted.write([replace(asks[0], n=1)])[0] == both[0][:1]
    assert fitted.write([]) == []


def test_long_prompts_that_are_cut_are_counted(kit: Kit) -> None:
    method = UFFGTG(**{**SHORT, "epochs": 1, "image": 0.0, "limit": 4})
    with pytest.warns(UserWarning, match="8 of 8 long prompts have more than 4 words"):
        method.fit(Kit({"main": kit.parts["main"]}), EVIDENCE, Run(seed=1))


def test_a_training_that_ends_within_its_warm_up_is_warned_of(kit: Kit) -> None:
    method = UFFGTG(**{**SHORT, "epochs": 2, "image": 0.0, "warmup": 5})
    with pytest.warns(UserWarning, match="The training of 4 steps ends within its warm-up of 5, so"):
        method.fit(Kit({"main": kit.parts["main"]}), EVIDENCE, Run(seed=1))


def test_a_seed_fixes_it_and_nothing_else_moves(kit: Kit, fitted: FittedUFFGTG, tmp_path: Path) -> None:
    backbone = kit.need(Backbone)
    before, dice = {k: v.clone() for k, v in backbone.module().state_dict().items()}, torch.get_rng_state()
    with torch.no_grad():
        again = UFFGTG(**SHORT).fit(kit, EVIDENCE, Run(seed=1))
    asks = [Ask(about="a red cup", n=3)]
    written = fitted.write(asks)
    assert torch.equal(torch.get_rng_state(), dice)
    assert all(torch.equal(v, before[k]) for k, v in backbone.module().state_dict().items())
    assert all(torch.equal(t, again.learnt[n]) for n, t in fitted.learnt.items())
    portable.save(fitted, tmp_path / "kept")
    assert portable.load(tmp_path / "kept", kit).write(asks) == written


def test_bad_input_is_named(kit: Kit, fitted: FittedUFFGTG) -> None:
    refused(UFFGTG, {"epochs": 0}, {"batch": 0}, {"rate": 0.0}, {"image": -1.0}, {"choices": 0}, {"read": 2})
    refused(UFFGTG, {"width": 0}, {"limit": 0}, {"diversity": -0.5}, {"tower_rate": -1.0})
    with pytest.raises(MissingPart, match="TextDiffusion named 'diffusion'"):
        UFFGTG(**SHORT).fit(Kit({"main": kit.parts["main"]}), EVIDENCE, Run())
    with pytest.raises(MissingEvidence, match="images with captions"):
        UFFGTG(**SHORT).fit(kit, Evidence(), Run())
    one = Table(PHOTOS, {"captions": Column("captions", [("a cup",)] * 8)})
    with pytest.raises(DataError, match="picture 0: A picture needs a short prompt and a long one"):
        UFFGTG(**SHORT).fit(kit, Evidence(train=one), Run())
    with pytest.raises(MissingHook):
        UFFGTG(**SHORT).fit(Kit({**kit.parts, "main": SmallBackbone()}), EVIDENCE, Run())
    with pytest.raises(MissingHook, match="reads other tokens"):
        check_reads(random_diffusion(other_tower(kit.need(Backbone))), kit.need(Backbone))
    for ask, said in (
        (Ask(about=" "), "no prompt to rewrite"),
        (Ask(about="a cup", n=4), "4 rewrites are wanted, and this writer has 3"),
        (Ask(about="a very long prompt " * 9), "16 are read"),
    ):
        with pytest.raises(UsageError, match=said):
            fitted.write([ask])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("layers", "pad"), [(2, "<|endoftext|>"), (1, "!")])
def test_a_pipeline_whose_text_encoder_is_the_backbone_s_tower_teaches_it(
    kit: Kit, tmp_path: Path, layers: int, pad: str
) -> None:
    """As in Stable Diffusion 1, padded with the end token, and as in 2: one layer earlier, padded with "!"."""
    pytest.importorskip("diffusers")
    vit = kit.need(Backbone)
    clip_pipeline(vit, layers, pad).save_pretrained(tmp_path / "pipeline")
    diffusion = load_diffusion(f"local:{tmp_path / 'pipeline'}", vit)
    assert check_reads(diffusion, vit) == diffusion.reading
    assert diffusion.reading.layers == layers
    both = Kit({"main": vit, "diffusion": diffusion})
    fitted = UFFGTG(**{**SHORT, "epochs": 12, "rate": 3e-3, "tower_rate": 0.1}).fit(both, EVIDENCE, Run(seed=1))
    assert fitted.condition(["a red cup"]).tokens.shape == diffusion.encode_text(["a red cup"]).tokens.shape
    words = "a red cup", "a large pink cup on a table"
    told, padded = (f(list(words)).tokens for f in (fitted.condition, diffusion.encode_text))
    assert not torch.allclose(told, padded, atol=1e-3)  # the tower learnt
    assert len(fitted.write([Ask(about="a red cup", n=3)])[0]) == 3
    portable.save(fitted, tmp_path / "kept")
    again = portable.load(tmp_path / "kept", Kit({"main": vit}))
    assert torch.equal(again.condition(list(words)).tokens, told)


@pytest.mark.filterwarnings("ignore")
def test_pipelines_of_other_encoders_are_refused(kit: Kit, tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    vit = kit.need(Backbone)
    for layout, said in (
        ("sdxl", "reads several text encoders"),
        ("sd1", "3 blocks of a text tower and 77 tokens are read"),
    ):
        small_pipeline(layout).save_pretrained(tmp_path / layout)
        with pytest.raises(MissingHook, match=said):
            check_reads(load_diffusion(f"local:{tmp_path / layout}", vit), vit)
    clip_pipeline(vit, 1, "!").save_pretrained(tmp_path / "one")
    with pytest.raises(MissingHook, match="reads other tokens"):
        check_reads(load_diffusion(f"local:{tmp_path / 'one'}", vit), other_tower(vit))


def other_tower(backbone: Backbone) -> Backbone:
    """Return a copy with another text tower."""
    other, names = own_tower(backbone, TextReading())
    with torch.no_grad():
        for name, p in other.module().named_parameters():
            p.add_(0.1 if name in names else 0.0)
    return other
