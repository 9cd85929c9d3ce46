from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from diptych.core import Column, Evidence, Kit, MissingEvidence, MissingPart, Run, Table, UsageError
from diptych.features import portable
from diptych.methods.caption.user_aware_prefix import UserAwarePrefix
from diptych.nn.text.likelihood import padded_ids, word_loss
from diptych.nn.text.vocabulary import Vocabulary
from tests.support.pictures import Pictures, picture
from tests.support.refused import refused
from tests.support.sentences import ENTROPY, sentences
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


def test_the_language_model_speaks_behind_a_prefix_as_well_as_without() -> None:
    seen, held_out = sentences()
    table = Table(
        Pictures(IMAGES.images + IMAGES.images[:16]), {"captions": Column("captions", tuple((text,) for text in seen))}
    )
    method = UserAwarePrefix(**{**SMALL, "queries": 4, "limit": 9, "lm_epochs": 12, "lm_rate": 1e-2})
    speaker = method.speaker(table, Run())
    lm, vocabulary = method.language_model(len(speaker.words) + 4, Run()), Vocabulary(speaker.words)
    lm.load_state_dict(dict(speaker.weights))
    ids = torch.stack([padded_ids(vocabulary, text, method.limit) for text in held_out])
    with torch.no_grad():
        without, behind = (float(word_loss(lm.eval(), ids, prefix)) for prefix in (None, torch.zeros(len(ids), 4, 32)))
    assert behind < 1.05 * without
    assert behind < 1.5 * ENTROPY


def test_folders_that_state_no_heads_have_four(clip: Any, tmp_path: Path) -> None:
    kit = Kit({"main": clip})
    fitted = UserAwarePrefix(**SMALL).fit(kit, Evidence(train=posts()), Run())
    assert fitted.heads == 8
    earlier = replace(fitted, heads=4)
    portable.save(earlier, tmp_path / "fitted")
    stated = tmp_path / "fitted" / "fitted.json"
    facts = json.loads(stated.read_text())
    del facts["fitted"]["fields"]["heads"]
    stated.write_text(json.dumps(facts))
    images = Pictures(IMAGES.images[:2])
    loaded = portable.load(tmp_path / "fitted", kit)
    assert loaded.heads == 4
    assert loaded.caption(images, Run(), n=2) == earlier.caption(images, Run(), n=2)


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
