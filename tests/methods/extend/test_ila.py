from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from diptych.core import Column, DataError, Evidence, Kit, MissingEvidence, MissingHook, Run, Table, Texts, UsageError
from diptych.features.embed import embed
from diptych.methods.extend.ila import ILA, shift_of
from diptych.nn.spaces.aligned_clips import ILASpace, cosines
from tests.support.backbone import SmallBackbone
from tests.support.moving import Clips, clip_task
from tests.support.refused import refused
from tests.support.visual_backbone import VisualBackbone

RUN = Run(workers=1)


def quick(**more: Any) -> ILA:
    given: dict[str, Any] = {"frames": 4, "hidden": 16, "epochs": 3, "batch": 6, "sampling": "middle", **more}
    return ILA(**given)


def fit(method: ILA, evidence: Evidence[Any] | None = None, seed: int = 0) -> ILASpace:
    return method.fit(
        Kit({"main": VisualBackbone()}), evidence or Evidence(train=clip_task()[0].train), Run(seed=seed, workers=1)
    )


def directed(count: int, seed: int) -> Table[Any]:
    """The clips of one class, half of them played backwards: texts say which."""
    clips = clip_task(1, count)[0].train if seed == 0 else clip_task(1, count)[1]
    assert clips is not None
    forth = [clips.items[i] for i in range(count)]
    both = Clips(tuple(forth) + tuple(tuple(reversed(c)) for c in forth))
    said = ["a thing that moves right."] * count + ["a thing that moves left."] * count
    return Table(both, {"captions": Column("captions", said)})


@pytest.mark.parametrize("blocks", [1, None])
def test_stored_tokens_give_the_training_of_whole_clips(blocks: int | None) -> None:
    """A training from stored tokens must learn what a pass through the whole tower gives at test."""
    space = fit(quick(blocks=blocks, epochs=2))
    items = clip_task()[1].items
    net, clips = space.encoder.net, space.encoder.clips
    method = quick(blocks=blocks)
    vectors, state = method._stored(net, clips, items, RUN)
    with torch.no_grad():
        stored = net(state(torch.stack([vectors[i] for i in range(2)])))
        whole = net(net.start(clips.inputs([items[0], items[1]])))
    torch.testing.assert_close(stored.clip, whole.clip)
    torch.testing.assert_close(stored.tokens, whole.tokens)


def test_it_learns_in_which_direction_clips_are_played() -> None:
    train, test = directed(8, 0), directed(8, 1)
    space = fit(quick(epochs=40, batch=16, rate=3e-3, smoothing=0.0), Evidence(train=train))
    texts = list(dict.fromkeys(train.columns["captions"].values))
    nearest = space.cosines(test.items, texts, RUN).argmax(1)
    right = [texts[k] == said for k, said in zip(nearest.tolist(), test.columns["captions"].values, strict=True)]
    assert sum(right) >= 14


def test_the_gaps_shrink() -> None:
    def gaps(space: ILASpace) -> float:
        net, clips = space.encoder.net, space.encoder.clips
        with torch.no_grad():
            return float(sum(net(net.start(clips.inputs([clip_task()[1].items[i] for i in range(6)]))).gaps))

    assert gaps(fit(quick(epochs=20, rate=3e-3))) < gaps(fit(quick(rate=0.0)))


def test_the_tower_and_its_statistics_stay() -> None:
    backbone = VisualBackbone()
    before = {n: t.clone() for n, t in backbone.module().state_dict().items()}
    space = quick(sampling="drawn").fit(Kit({"main": backbone}), Evidence(train=clip_task()[0].train), RUN)
    assert all(torch.equal(t, before[n]) for n, t in backbone.module().state_dict().items())
    moved = space.encoder.net.state_dict()
    assert any("running_mean" in n and t.abs().max() > 0 for n, t in moved.items())
    assert not space.module().training


def test_conditioned_cosines_are_those_of_the_net() -> None:
    space, texts = fit(quick()), ["a photo of a red fox.", "a photo of an oak."]
    items = clip_task()[1].items
    ours = space.cosines(items, texts, RUN)
    net, clips = space.encoder.net, space.encoder.clips
    with torch.no_grad():
        w = space.text.encode(space.text.inputs(texts))
        expected = cosines(net, net(net.start(clips.inputs([items[0]]))), w)
    torch.testing.assert_close(ours[:1], expected, rtol=1e-4, atol=1e-5)
    plain = normalize(embed(space.image, items, RUN), dim=-1) @ normalize(embed(space.text, Texts(tuple(texts)), RUN)).T
    assert not torch.allclose(ours, plain, atol=1e-3)


def test_the_shift_halves_from_epoch_thirty() -> None:
    assert [shift_of(e) for e in (0, 29, 30, 32)] == [0.2, 0.2, 0.1, 0.025]


def test_bad_input() -> None:
    train = clip_task()[0].train
    assert train is not None
    with pytest.raises(MissingEvidence, match="train"):
        fit(quick(), Evidence())
    with pytest.raises(DataError, match="no captions"):
        fit(quick(), Evidence(train=Table(train.items)))
    with pytest.raises(MissingHook, match="small"):
        quick().fit(Kit({"main": SmallBackbone()}), Evidence(train=train), RUN)
    with pytest.raises(UsageError, match="hidden must be a multiple of 16, got 20"):
        ILA(hidden=20)
    refused(ILA, {"frames": 1}, {"blocks": 0}, {"sampling": "random"}, {"rate": -1.0}, {"batch": 1}, {"smoothing": 1.0})
