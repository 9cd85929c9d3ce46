from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor

from diptych.backbones.mask_models.clipseg import ClipSegProposals
from diptych.core import UsageError
from tests.support.mask_models import quarters


def test_clipseg_finds_words() -> None:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2}
    config = hf.CLIPSegConfig(
        text_config={**sizes, "vocab_size": 99, "eos_token_id": 98},
        vision_config={**sizes, "image_size": 32, "patch_size": 8}, projection_dim=16, reduce_dim=8,
        extract_layers=[0, 1, 2], decoder_num_attention_heads=2, decoder_intermediate_size=16,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = hf.CLIPSegForImageSegmentation(config)

    class Processor:
        image_processor = hf.ViTImageProcessor(size={"height": 32, "width": 32})

        @staticmethod
        def tokenizer(texts: list[str], **_: Any) -> dict[str, Tensor]:
            ids = torch.tensor([[1, len(t), 98] for t in texts])
            return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    proposer = ClipSegProposals(model, Processor())
    found = proposer.propose(quarters(), ("a red square", "sky"))
    assert found.masks.shape == (2, 32, 32)
    alone = proposer.propose(quarters(), ("sky",))
    torch.testing.assert_close(alone.masks[0], found.masks[1])
    with pytest.raises(UsageError, match="finds words"):
        proposer.propose(quarters())
