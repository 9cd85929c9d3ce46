"""Heads on frozen towers give the backbone's own vectors, and only they learn."""

from __future__ import annotations

import pytest
import torch

from diptych.core import Backbone, Column, MissingHook, Run, Table
from diptych.features.frozen import Headed, Trunk, head_names, on_trunks, side_names
from proofs.benches.training.fresh import fresh_heads
from tests.support.small_clip import small_clip
from tests.train.test_pair import squares

TEXTS = ["a red square", "a blue square", "a dog"]


@pytest.fixture(scope="module", params=["vit", "convnext"])
def clip(request, tmp_path_factory) -> Backbone:
    return small_clip(tmp_path_factory.mktemp(request.param) / "clip", request.param)


def test_headed_encodes_as_the_backbone_does(clip: Backbone) -> None:
    own, items = Headed(clip), squares(4).items
    with torch.no_grad():
        for modality, batch in (("image", [items[i] for i in range(4)]), ("text", TEXTS)):
            a = clip.encoders[modality].encode(clip.encoders[modality].inputs(batch))
            b = own.encoders[modality].encode(own.encoders[modality].inputs(batch))
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    assert own.scale() == clip.scale()


def test_trunk_vectors_stand_for_their_items(clip: Backbone) -> None:
    own, table = Headed(clip), squares(4)
    vectors = on_trunks(own, table, Run(workers=1))
    assert [vectors.items.key(i) for i in range(4)] == [table.items.key(i) for i in range(4)]
    with torch.no_grad():
        a = own.image.encode(own.image.inputs([vectors.items[i] for i in range(4)]))
        b = own.image.encode(own.image.inputs([table.items[i] for i in range(4)]))
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    assert set(own.memory.known) == {t for c in table.columns["captions"].values for t in c}
    assert "a dog" not in own.memory.known


def test_head_names_are_the_projections(clip: Backbone) -> None:
    flags = [p.requires_grad for p in clip.module().parameters()]
    names = head_names(clip)
    assert {"text_projection", "logit_scale"} <= names
    assert all("proj" in n or "head" in n or n.startswith("logit") for n in names)
    assert [p.requires_grad for p in clip.module().parameters()] == flags


def test_each_side_has_parameters_of_its_own(clip: Backbone) -> None:
    image, text = (side_names(clip, side) for side in ("image", "text"))
    rest = {n for n, _ in clip.module().named_parameters()} - image - text
    assert not image & text
    assert {n.rsplit(".", 1)[-1] for n in rest} <= {"logit_scale", "logit_bias"}
    headed = Headed(clip)
    assert side_names(headed, "image") | side_names(headed, "text") | rest == head_names(clip)
    fresh = fresh_heads(headed, 7, Run())
    assert side_names(fresh, "text") == {"linear.text.weight", "linear.text.bias"}


def test_all_columns_of_captions_are_read(clip: Backbone) -> None:
    own, table = Headed(clip), squares(2)
    told = {"captions": Column("captions", [("a",), ("b",)]), "synthetic": Column("captions", [("c", "d"), ()])}
    on_trunks(own, Table(table.items, told), Run(workers=1))
    assert set(own.memory.known) == {"a", "b", "c", "d"}


def test_rebuilt_heads_share_what_was_read(clip: Backbone) -> None:
    import copy

    own = Headed(clip)
    own.memory.learn(TEXTS, Run())
    module = copy.deepcopy(own.module())
    with torch.no_grad():
        module.text_projection.mul_(2.0)  # type: ignore[operator, union-attr]
    other = own.rebuild(module, own.spec)
    assert other.memory is own.memory
    assert other.fingerprint != own.fingerprint
    with torch.no_grad():
        x = own.text.inputs(TEXTS)
        torch.testing.assert_close(other.text.encode(x), 2 * own.text.encode(x))


def test_fresh_heads_are_drawn_by_the_seed(clip: Backbone) -> None:
    own = Headed(clip)
    one, two, three = (fresh_heads(own, 7, Run(seed=s), scale=10.0, bias=-10.0) for s in (1, 1, 2))
    assert one.fingerprint == two.fingerprint != three.fingerprint
    assert [round(v.item(), 4) for v in one.scale()] == [10.0, -10.0]
    assert one.text.encode(one.text.inputs(TEXTS)).shape == (3, 7)
    with pytest.raises(MissingHook, match="Heads module only, got a Linear"):
        one.rebuild(torch.nn.Linear(2, 2), one.spec)


def test_a_backbone_without_towers_is_refused() -> None:
    from tests.support.backbone import SmallBackbone

    with pytest.raises(MissingHook):
        Trunk.of(SmallBackbone(), "text")
