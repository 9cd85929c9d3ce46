"""Texts of one chunk and of several, against the text encoders themselves."""

from __future__ import annotations

import pytest
import torch

from diptych.backbones.diffusion.pipeline_folders import load_pipeline
from diptych.backbones.diffusion.pipelines import PipelineDiffusion
from diptych.core import TextReading
from tests.backbones.diffusion.test_pipeline_folders import LAYOUTS, small_pipeline

pytestmark = pytest.mark.filterwarnings("ignore")
LONG = "a red cat and " * 12 + "a dog"  # 10 tokens a time, and 4


@pytest.fixture(scope="module", params=LAYOUTS)
def pipeline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PipelineDiffusion:
    pytest.importorskip("diffusers")
    folder = tmp_path_factory.mktemp("pipeline") / request.param
    small_pipeline(request.param).save_pretrained(folder)
    return load_pipeline(folder)


@torch.no_grad()
def test_a_short_text_is_what_the_encoders_give(pipeline: PipelineDiffusion) -> None:
    condition, tokens = pipeline.encode_text(["a cat"]), []
    for part in pipeline.texts.parts:
        ids = part.tokenizer(["a cat"], padding="max_length", max_length=77, return_tensors="pt").input_ids
        out = part.encoder(ids, output_hidden_states=True)
        tokens.append(out.hidden_states[-2] if part.penultimate else out.last_hidden_state)
    assert torch.equal(condition.tokens, torch.cat(tokens, -1))
    assert condition.mask is None
    if len(pipeline.texts.parts) == 2:
        assert condition.pooled is not None
        assert torch.equal(condition.pooled, out.text_embeds)
        assert not pipeline.encode_text([""]).tokens.any()
    else:
        assert condition.pooled is None
        pad = pipeline.texts.parts[0].tokenizer.pad_token_id
        assert pipeline.reading == TextReading(77, pad, 3)


@torch.no_grad()
def test_a_long_text_is_read_in_chunks_of_75_with_start_and_end(pipeline: PipelineDiffusion) -> None:
    condition = pipeline.encode_text([LONG, "a cat"])
    assert condition.tokens.shape[1] == 2 * 77
    assert condition.mask is not None
    assert condition.mask.sum(1).tolist() == [154, 77]
    first, second = [], []
    for part in pipeline.texts.parts:
        ids = part.tokenizer(LONG)["input_ids"][1:-1]
        assert len(ids) == 124
        start, end, pad = part.tokenizer.bos_token_id, part.tokenizer.eos_token_id, part.tokenizer.pad_token_id
        for out, rows in ((first, [start, *ids[:75], end]), (second, [start, *ids[75:], end, *[pad] * 26])):
            states = part.encoder(torch.tensor([rows]), output_hidden_states=True)
            out.append(states.hidden_states[-2] if part.penultimate else states.last_hidden_state)
    expected = torch.cat([torch.cat(first, -1), torch.cat(second, -1)], 1)
    torch.testing.assert_close(condition.tokens[:1], expected, rtol=1e-4, atol=1e-5)
    alone = pipeline.encode_text(["a cat"])
    torch.testing.assert_close(condition.tokens[1:, :77], alone.tokens, rtol=1e-4, atol=1e-5)
    if condition.pooled is not None and alone.pooled is not None:
        torch.testing.assert_close(condition.pooled[1:], alone.pooled, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_text_counts_alike_alone_and_beside_a_longer_one(pipeline: PipelineDiffusion) -> None:
    z = torch.randn(2, *pipeline.latent, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([400, 400])
    both = pipeline.eps(z, t, pipeline.encode_text([LONG, "a cat"]))
    alone = pipeline.eps(z[1:], t[1:], pipeline.encode_text(["a cat"]))
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-5)
    cut = pipeline.eps(z[:1], t[:1], pipeline.encode_text([LONG.removesuffix("a dog")]))
    assert not torch.allclose(both[:1], cut, atol=1e-6)  # what stands behind token 75 counts


def test_words_are_found_in_any_chunk(pipeline: PipelineDiffusion) -> None:
    assert pipeline.places("a cat", "cat") == (2, 3, 4)
    at = pipeline.places(LONG, "dog")
    assert at == (77 + 1 + 121 - 75, 77 + 1 + 122 - 75, 77 + 1 + 123 - 75)
    crossing = pipeline.places(LONG, "cat")[7 * 3 : 8 * 3]  # tokens 74, 75 and 76 of the text
    assert crossing == (75, 78, 79)
    assert pipeline.places("a dog", "cat") == ()
