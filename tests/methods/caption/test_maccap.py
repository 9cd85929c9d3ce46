from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from diptych.core import Evidence, Kit, MissingEvidence, MissingHook, Run, Text, TextPool, UsageError
from diptych.features import portable
from diptych.methods.caption import maccap as m
from diptych.methods.caption.maccap import MacCap
from diptych.nn.dense import image_regions
from diptych.nn.text.likelihood import padded_ids, word_loss
from diptych.nn.text.prefix import PrefixAligner, noisy
from diptych.nn.text.vocabulary import BEGIN, END, UNKNOWN, Vocabulary
from diptych.train.loop import train
from tests.support.backbone import SmallBackbone
from tests.support.pictures import Pictures, picture
from tests.support.refused import refused
from tests.support.sentences import ENTROPY, sentences
from tests.support.small_clip import small_clip

TEXTS = ("a red patch of paint", "a green patch , warm", "a blue wall", "a yellow wall by the sea")
EVIDENCE: Evidence[Any] = Evidence(texts=TextPool({"a": tuple(map(Text, TEXTS[:2])), "b": tuple(map(Text, TEXTS[2:]))}))
SMALL = {
    "queries": 2,
    "width": 16,
    "lm_width": 16,
    "layers": 1,
    "epochs": 2,
    "batch": 2,
    "copies": 3,
    "tries": 2,
    "limit": 8,
}
IMAGES = Pictures(tuple(picture(i, i) for i in range(3)))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


@pytest.fixture(scope="module")
def fitted(clip: Any) -> Any:
    return MacCap(**SMALL).fit(Kit({"main": clip}), EVIDENCE, Run())


def test_noise_keeps_the_cosine_that_the_closed_form_says() -> None:
    for d in (64, 512):
        f = torch.nn.functional.normalize(torch.randn(4000, d, generator=torch.Generator().manual_seed(0)), dim=-1)
        cosines = (noisy(f, m.NOISE / d, torch.Generator().manual_seed(1)) * f).sum(-1)
        assert float(cosines.mean()) == pytest.approx(1 / (1 + m.NOISE) ** 0.5, abs=0.02)
    assert torch.allclose(noisy(f, 0.0, torch.Generator()), f, atol=1e-6)


def test_region_weights() -> None:
    a = torch.tensor([[0.5, 0.2, 0.3]])
    assert torch.equal(image_regions.region_weights(a, "raw"), a)
    assert image_regions.region_weights(a, "renormalise").tolist()[0] == pytest.approx([0.0, 0.4, 0.6])
    double = image_regions.region_weights(a, "reference")
    assert float(double.max() / double.min()) < torch.e  # no weight exceeds e times another


def test_regions_against_a_loop_and_the_limit_of_no_region() -> None:
    g = torch.Generator().manual_seed(0)
    whole, tokens = (torch.nn.functional.normalize(torch.randn(*s, generator=g), dim=-1) for s in ((2, 8), (2, 5, 8)))
    attention = torch.randn(2, 5, 5, generator=g).softmax(-1)
    regions = image_regions.regions(whole, tokens, attention, 3, 0.5, "raw")
    for b in range(2):
        for k, j in enumerate(attention[b, 0].argsort(descending=True)[:3].tolist()):
            region = sum(attention[b, j, t] * tokens[b, t] for t in range(5))
            torch.testing.assert_close(regions[b, k], whole[b] + 0.5 * region / region.norm())
    assert torch.equal(image_regions.regions(whole, tokens, attention, 9, 0.0, "raw"), whole[:, None].expand(-1, 5, -1))


def test_tokens_and_attention_of_a_vit_and_of_a_dense_map(clip: Any, tmp_path: Path) -> None:
    x = clip.image.inputs([IMAGES[0]])
    with torch.no_grad():
        whole, tokens, attention = image_regions.tokens_and_attention(clip, x)
        expected = torch.nn.functional.normalize(clip.image.encode(x), dim=-1)
    torch.testing.assert_close(whole, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(tokens[:, 0], expected, rtol=1e-4, atol=1e-5)
    assert tokens.shape[:2] == (1, 5)
    torch.testing.assert_close(attention.sum(-1), torch.ones(1, 5))
    resnet = small_clip(tmp_path / "resnet", "resnet")
    with torch.no_grad():
        whole, tokens, attention = image_regions.tokens_and_attention(resnet, resnet.image.inputs([IMAGES[0]]))
    assert tokens.shape[1] == attention.shape[1] > 1
    torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:2]))
    torch.testing.assert_close(tokens[:, 0], whole)


def test_the_aligner_does_not_mind_the_order_and_its_layer_is_torchs() -> None:
    aligner = PrefixAligner(12, 6, width=16, queries=4, hidden=32).eval()
    v = torch.randn(2, 5, 12)
    assert aligner(v).shape == (2, 4, 6)
    torch.testing.assert_close(aligner(v), aligner(v[:, [4, 2, 0, 1, 3]]), rtol=1e-4, atol=1e-5)
    with torch.device("meta"):
        paper = PrefixAligner(512, 2048)
    assert round(sum(p.numel() for p in paper.parameters()) / 1e6, 2) == 5.80  # as the authors state


def test_vocabulary() -> None:
    v = Vocabulary.of(TEXTS)
    assert v.words[0] == "a"
    ids = v.encode("A red zebra", 8)
    assert (ids[0], ids[-1], ids[3]) == (BEGIN, END, UNKNOWN)
    assert len(v.encode("a a a a", 2)) == 3
    assert v.decode(v.encode(TEXTS[1], 9)[1:]) == "A green patch, warm."
    assert v.decode([END, 4]) == ""
    with pytest.raises(UsageError, match="no word"):
        Vocabulary.of([" "])


def test_training_learns_the_sentences(clip: Any) -> None:
    lm = m.SmallLM(len(Vocabulary.of(TEXTS)), 32, 1, context=20)
    trainee = m.Step(lm, m.view_of(Vocabulary.of(TEXTS), 8, 1, 0.0), partial(MacCap(**SMALL).lm_losses, lm))
    data = m.Table(m.Vectors(torch.zeros(4, 3), m.Texts(TEXTS)), {"captions": m.Column("captions", TEXTS)})
    history = train(trainee, data, m.Fit(1e-2, 4, 60, decay=0.0), Run(workers=0))
    losses = [r.losses["words"] if hasattr(r, "losses") else None for r in (history.records[0], history.records[-1])]
    assert losses[0] is None or losses[1] < 0.5 * losses[0]


def test_the_language_model_speaks_behind_a_prefix_as_well_as_without(clip: Any) -> None:
    seen, held_out = sentences()
    method = MacCap(**{**SMALL, "queries": 6, "lm_width": 32, "epochs": 12, "batch": 8, "limit": 9, "lm_rate": 1e-2})
    pool = TextPool({"": tuple(map(Text, seen))})
    fitted = method.fit(Kit({"main": clip}), Evidence(texts=pool), Run())
    lm, _ = fitted.models(Run())
    ids = torch.stack([padded_ids(Vocabulary(fitted.words), text, method.limit) for text in held_out])
    with torch.no_grad():
        without, behind = (float(word_loss(lm, ids, prefix)) for prefix in (None, torch.zeros(len(ids), 6, 32)))
    assert behind < 1.05 * without
    assert behind < 1.5 * ENTROPY


def test_sentences_beyond_the_limit_are_counted(clip: Any) -> None:
    run = Run()
    MacCap(**{**SMALL, "limit": 5, "epochs": 1}).fit(Kit({"main": clip}), EVIDENCE, run)
    assert run.tally["cut"] == 1  # the last one; the comma of another is its fourth word
    assert END not in Vocabulary.of(TEXTS).encode(TEXTS[3], 5)


def test_captions_are_the_seeds_and_the_images_alone(clip: Any, fitted: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    whole = fitted.caption(IMAGES, Run(), n=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert [fitted.caption(Pictures((i,)), Run(), n=2)[0] for i in IMAGES.images] == whole
    assert all(1 <= len(own) <= 2 and own[0].writer == "maccap" for own in whole if own)
    again = MacCap(**SMALL).fit(Kit({"main": clip}), EVIDENCE, Run())
    assert all(torch.equal(t, fitted.lm[name]) for name, t in again.lm.items())
    portable.save(fitted, tmp_path / "fitted")
    assert portable.load(tmp_path / "fitted", Kit({"main": clip})).caption(IMAGES, Run(), n=2) == whole


def test_bad_input_is_named(clip: Any) -> None:
    with pytest.raises(MissingEvidence, match="sentences"):
        MacCap(**SMALL).fit(Kit({"main": clip}), Evidence(), Run())
    with pytest.raises(MissingHook, match="small"):
        MacCap(**SMALL).fit(Kit({"main": SmallBackbone()}), EVIDENCE, Run())
    refused(MacCap, {"queries": 0}, {"weighting": "soft"})
