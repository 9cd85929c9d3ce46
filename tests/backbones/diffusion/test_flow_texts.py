"""Texts of three encoders, against the encoders themselves; T5 or zeros."""

from __future__ import annotations

import pytest
import torch

from diptych.backbones.diffusion.flow_pipelines import FlowDiffusion
from diptych.backbones.diffusion.flow_texts import T5_TOKENS
from diptych.backbones.diffusion.pipeline_folders import load_pipeline
from tests.backbones.diffusion.test_flow_folders import WIDTH, small_flow_pipeline

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module", params=[True, False])
def pipeline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FlowDiffusion:
    pytest.importorskip("diffusers")
    folder = tmp_path_factory.mktemp("pipeline") / "sd3"
    small_flow_pipeline(t5=request.param).save_pretrained(folder)
    loaded = load_pipeline(folder)
    assert isinstance(loaded, FlowDiffusion)
    return loaded


@torch.no_grad()
def test_a_condition_is_clip_s_tokens_and_then_t5_s(pipeline: FlowDiffusion) -> None:
    texts, condition, pooled = pipeline.texts, pipeline.encode_text(["a cat", ""]), []
    assert condition.tokens.shape == (2, 77 + T5_TOKENS, WIDTH)
    assert condition.mask is None
    first = 0
    for part in texts.clip.parts:
        ids = part.tokenizer(["a cat", ""], padding="max_length", max_length=77, return_tensors="pt").input_ids
        out = part.encoder(ids, output_hidden_states=True)
        torch.testing.assert_close(condition.tokens[:, :77, first : first + part.width], out.hidden_states[-2])
        first += part.width
        pooled.append(out.text_embeds)
    assert not condition.tokens[:, :77, first:].any()
    torch.testing.assert_close(condition.pooled, torch.cat(pooled, -1))
    assert condition.tokens[1, :77].any()  # "" is read like any text
    if texts.t5 is None:
        assert not condition.tokens[:, 77:].any()
        return
    ids = texts.t5.tokenizer(["a cat"]).input_ids
    filled = torch.tensor([ids[0] + [0] * (T5_TOKENS - len(ids[0]))])
    torch.testing.assert_close(condition.tokens[:1, 77:], texts.t5.encoder(filled).last_hidden_state)


def test_t5_reads_the_first_256_tokens_and_says_so(pipeline: FlowDiffusion) -> None:
    text = "a cat " * 60  # 6 pieces each, and the end
    if pipeline.texts.t5 is None:
        assert pipeline.encode_text([text]).tokens.shape[1] == 4 * 77 + T5_TOKENS
        return
    with pytest.warns(UserWarning, match="T5 reads the first 256 of a text's 361 tokens"):
        condition = pipeline.encode_text([text])
    assert condition.tokens.shape[1] == 4 * 77 + T5_TOKENS


def test_words_are_known_among_clip_s_tokens(pipeline: FlowDiffusion) -> None:
    assert pipeline.places("a cat", "cat") == (2, 3, 4)
    assert pipeline.places("a dog", "cat") == ()
