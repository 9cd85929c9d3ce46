"""Who writes: a CoCa's own decoder, or a small one beside the space, on image tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from diptych.backbones.sources.openclip_config import build
from diptych.backbones.sources.openclip_sources import from_model
from diptych.core import Evidence, Kit, Run
from diptych.features.frozen import Headed
from diptych.methods.pretrain.coca_loss import CoCaLoss
from diptych.nn.text.small_lm import SmallLM
from diptych.train.captioning import CaptionTrainee, CoCaTrainee, WordIds, has_decoder, next_logits
from diptych.train.recipe import DECODER, WORDS, train_space
from tests.support.checkpoints import COCA
from tests.train.test_pair import FIT, RUN, SPEC, rows, small, squares


def coca():
    config = {**COCA, "embed_dim": COCA["text_cfg"]["width"]}  # one width for texts, image tokens and decoder
    return from_model(build(config, seed=0), replace(SPEC, context=76, dim=config["embed_dim"]))


def batch_of(trainee):
    return trainee.collate([trainee.views(row, RUN.generator(str(row.index))) for row in rows()])


def test_a_coca_is_trained_as_the_library_runs_it() -> None:
    space = coca()
    assert has_decoder(space)
    assert not has_decoder(small())
    trainee = CoCaTrainee(space, CoCaLoss(), RUN)
    batch = batch_of(trainee)
    e = trainee.embed(batch)
    theirs = trainee.space.module()(batch["image"], batch["text"])
    torch.testing.assert_close(e.tokens["caption"].h, theirs["logits"])
    assert torch.equal(e.targets["caption"], theirs["labels"])
    for m in ("image", "text"):
        torch.testing.assert_close(normalize(e.vectors[m], dim=-1), theirs[f"{m}_features"])


def test_the_padding_of_another_tokenizer_is_not_predicted() -> None:
    space = coca()
    other = from_model(space.module(), replace(space.spec, pad=7))
    trainee = CoCaTrainee(other, CoCaLoss(), RUN)
    batch = batch_of(trainee)
    ids = torch.where(batch["text"] == 0, 7, batch["text"])
    found = trainee.embed({**batch, "text": ids}).targets["caption"]
    assert torch.equal(found, batch["text"][:, 1:])
    explicit = CoCaTrainee(other, CoCaLoss(pad=7), RUN)
    assert torch.equal(explicit.embed({**batch, "text": ids}).targets["caption"], ids[:, 1:])


def test_its_own_decoder_moves_and_the_loss_falls() -> None:
    space = coca()
    fit = replace(FIT, steps=6, lr=0.01)  # a step predicts 49,408 words, which takes half a second
    trained = train_space(CoCaLoss(), Kit({"main": space}), Evidence(train=squares()), fit, RUN)
    before, after = space.module().state_dict(), trained.space.module().state_dict()
    still = [n for n in before if n.startswith("text_decoder.") and torch.equal(before[n], after[n])]
    assert not still
    assert trained.log[-1]["main/caption"] < 0.9 * trained.log[0]["main/caption"]


@pytest.mark.parametrize("heads", [False, True])
def test_a_small_decoder_sees_tokens_where_there_is_a_tower(heads) -> None:
    space = Headed(small()) if heads else small()
    words = WordIds.of(["a red square", "a green square"], least=1)
    with Run().seeded("decoder"):
        decoder = SmallLM(len(words), width=8, depth=1, heads=2, memory=12)
    trainee = CaptionTrainee(space, CoCaLoss(), RUN, decoder, words)
    assert (trainee.tower is None) == heads
    if heads:
        return
    batch = batch_of(trainee)
    e = trainee.embed(batch)
    pooled = next_logits(decoder, batch["ids"], e.vectors["image"])
    assert pooled.shape == e.tokens["caption"].h.shape
    assert not torch.allclose(pooled, e.tokens["caption"].h)


def test_a_decoder_beside_a_coca_sees_its_pooled_queries() -> None:
    space, words = coca(), WordIds.of([c for own in squares().columns["captions"].values for c in own], least=1)
    with Run().seeded("decoder"):
        decoder = SmallLM(len(words), width=8, depth=1, heads=2, memory=space.spec.dim)
    kit = Kit({"main": space, DECODER: decoder, WORDS: words})
    trainee = CaptionTrainee(space, CoCaLoss(), RUN, decoder, words)
    batch = batch_of(trainee)
    memory = trainee.space.module().visual(batch["image"])[1]
    torch.testing.assert_close(trainee.embed(batch).tokens["caption"].h, next_logits(decoder, batch["ids"], memory))
    trained = train_space(CoCaLoss(), kit, Evidence(train=squares()), replace(FIT, steps=3), RUN)
    assert set(trained.parts) == {"decoder"}
