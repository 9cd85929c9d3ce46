from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from diptych.backbones.causal import HuggingFaceLM
from diptych.core.data import Column, Evidence, Table
from diptych.core.errors import MissingEvidence, MissingPart, UsageError
from diptych.core.kit import Kit
from diptych.core.run import Run
from diptych.features import portable
from diptych.methods.caption import user_aware_prefix as m
from diptych.methods.caption.user_aware_prefix import UserAwarePrefix
from diptych.nn.text.user_prefix import UserPrefix
from diptych.nn.text.vocabulary import Vocabulary
from tests.support.pictures import Pictures, picture
from tests.support.refused import refused
from tests.support.small_clip import small_clip

SMALL: dict[str, Any] = {
    "words": 5,
    "queries": 2,
    "mapping": 1,
    "fusion": 1,
    "lm_width": 32,
    "layers": 1,
    "limit": 8,
    "lm_epochs": 1,
    "epochs": 1,
    "batch": 8,
    "beams": 2,
}
IMAGES = Pictures(tuple(picture(i % 4, i) for i in range(24)))
HABITS = {"anna": "look , {}", "ben": "{} again"}


def posts(nouns: tuple[str, ...] = ("fox", "oak", "cup", "horse")) -> Table[Any]:
    users = tuple(list(HABITS)[i // 4 % 2] for i in range(24))
    captions = tuple((HABITS[u].format(f"a {nouns[i % 4]}"),) for i, u in enumerate(users))
    return Table(IMAGES, {"captions": Column("captions", captions), "user": Column("user", users)})


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return small_clip(tmp_path_factory.mktemp("clip") / "vit")


def test_the_loss_is_that_of_transformers_and_reaches_the_prefix_alone() -> None:
    torch.manual_seed(0)
    gpt = GPT2LMHeadModel(GPT2Config(vocab_size=12, n_positions=16, n_embd=8, n_layer=1, n_head=2)).eval()
    gpt.requires_grad_(False)
    prefix = UserPrefix(dim=6, out=8, queries=2, mapping=1, fusion=1, heads=2)
    ids, context = torch.tensor([[1, 5, 6, 2, 0], [1, 7, 8, 9, 2]]), torch.tensor([[4, 5, 0], [0, 0, 0]])
    batch = {"ids": ids, "tokens": torch.randn(2, 3, 6), "context": context}
    table = gpt.get_input_embeddings()
    made = prefix(batch["tokens"], table(context), context != 0)
    labels = torch.cat([torch.full((2, 3), -100), ids[:, 1:].masked_fill(ids[:, 1:] == 0, -100)], dim=1)
    mask = torch.cat([torch.ones(2, 2), (ids != 0).float()], dim=1)
    expected = gpt(inputs_embeds=torch.cat([made, table(ids)], dim=1), attention_mask=mask, labels=labels).loss
    loss = m.prefix_loss(HuggingFaceLM(gpt), prefix, batch)["words"]
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert prefix.queries.grad is not None
    assert all(p.grad is None for p in gpt.parameters())


def test_context_ids() -> None:
    v = Vocabulary.of(["a pup runs"])
    assert m.context_ids(v, ("runs", "pup"), 3).tolist() == [v.number["runs"], v.number["pup"], 0]
    assert m.context_ids(v, (), 0).tolist() == [0]


def test_users_write_in_their_own_way_and_without_words_all_alike(clip: Any) -> None:
    how: dict[str, Any] = {**SMALL, "queries": 4, "lm_epochs": 40, "epochs": 60, "rate": 3e-3, "lm_rate": 3e-3}
    fitted = UserAwarePrefix(**how).fit(Kit({"main": clip}), Evidence(train=posts()), Run())
    assert set(fitted.users) == {"anna", "ben"}
    assert "again" in fitted.users["ben"]
    said = {u: [own[0].value for own in fitted.for_user(u).caption(IMAGES, Run())] for u in HABITS}
    assert sum(c.startswith("Look, ") and "again" not in c for c in said["anna"]) >= 20
    assert sum(c.endswith(" again.") and "ook" not in c for c in said["ben"]) >= 20
    nobody = UserAwarePrefix(**{**SMALL, "words": 0}).fit(Kit({"main": clip}), Evidence(train=posts()), Run())
    assert nobody.for_user("anna").caption(IMAGES, Run()) == nobody.caption(IMAGES, Run())


def test_captions_depend_on_the_image_and_the_seed_alone_and_are_saved(clip: Any, tmp_path: Path) -> None:
    kit, evidence = Kit({"main": clip}), Evidence(train=posts())
    fitted = UserAwarePrefix(**SMALL).fit(kit, evidence, Run(seed=2)).for_user("ben")
    images = Pictures(IMAGES.images[:3])
    whole = fitted.caption(images, Run(), n=3)
    assert [fitted.caption(Pictures((i,)), Run(), n=3)[0] for i in images.images] == whole
    assert all(len({t.value for t in own}) == len(own) <= 3 for own in whole)
    again = UserAwarePrefix(**SMALL).fit(kit, evidence, Run(seed=2))
    assert all(torch.equal(t, fitted.prefix[name]) for name, t in again.prefix.items())
    portable.save(fitted, tmp_path / "fitted")
    loaded = portable.load(tmp_path / "fitted", kit)
    assert loaded.user == "ben"
    assert loaded.caption(images, Run(), n=3) == whole


def test_bad_input_is_named(clip: Any) -> None:
    kit, table = Kit({"main": clip}), posts()
    with pytest.raises(MissingPart):
        UserAwarePrefix(**SMALL).fit(Kit(), Evidence(train=table), Run())
    with pytest.raises(MissingEvidence, match="images with captions"):
        UserAwarePrefix(**SMALL).fit(kit, Evidence(), Run())
    without = Table(table.items, {"captions": table.columns["captions"]})
    with pytest.raises(MissingEvidence, match="column user"):
        UserAwarePrefix(**SMALL).fit(kit, Evidence(train=without), Run())
    run = Run()
    fitted = UserAwarePrefix(**{**SMALL, "limit": 3}).fit(kit, Evidence(train=table), run)
    assert run.tally["cut"] == 4  # "look , a fox" has four words and marks
    with pytest.raises(UsageError, match=r"'eve' wrote none .* anna, ben"):
        fitted.for_user("eve")
    refused(UserAwarePrefix, {"lm_width": 10}, {"words": -1}, {"nobody": 1.0}, {"queries": 0}, {"tokens": "grid"})
