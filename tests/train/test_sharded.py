"""Weights divided over two processes train as whole ones do, and their checkpoints fit any number of processes."""

from __future__ import annotations

import contextlib
import copy
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from diptych.core import DataError, Row, Run, Trainee, UsageError
from diptych.methods.pretrain.siglip_loss import SigLIPLoss
from diptych.train.layers import is_block
from diptych.train.loop import train
from diptych.train.pair import PairTrainee
from diptych.train.precision import Precision
from diptych.train.schedule import Fit
from diptych.train.sharded import _writes_safetensors
from diptych.train.weights import Weights
from tests.train.processes import together
from tests.train.test_pair import FIT as PAIRS
from tests.train.test_pair import small, squares
from tests.train.toy import FIT, Toy, table

pytestmark = pytest.mark.skipif(
    "ignored_params" not in signature(fully_shard).parameters or not _writes_safetensors(),
    reason="this torch cannot leave scalars whole, or writes pickles alone",
)
SHORT = replace(FIT, steps=12, save_every=4, keep=9)


class Plain(Toy):
    """The toy in float64 without dropout, which does nothing after a step."""

    after = Trainee.after

    def __init__(self, run: Run) -> None:
        super().__init__(run, dtype=torch.float64, dropout=0.0)


def state(trainee: Trainee) -> dict[str, Any]:
    return {n: t.tolist() for n, t in trainee.module().state_dict().items()}


def fitted(run: Run, fit: Fit, until: int | None = None, **how: Any) -> Plain:
    toy = Plain(run)
    inner = toy.losses

    def losses(batch: Any, phase: str, clock: Any) -> Any:
        if clock.step == until:
            raise ZeroDivisionError
        return inner(batch, phase, clock)

    toy.losses = losses  # type: ignore[method-assign]
    with contextlib.suppress(ZeroDivisionError):
        train(toy, table(), fit, run, **how)
    return toy


def pairs(run: Run, fit: Fit) -> dict[str, Any]:
    trainee = PairTrainee(small(init_logit_bias=-10.0), SigLIPLoss(), run)
    seen = []
    done = train(
        trainee, squares(), fit, run, watch=lambda step: (seen.append(copy.deepcopy(trainee.trained())), {})[1]
    )
    space = seen[0]
    x = space.image.encode(space.image.inputs([squares(1).items[0]]))
    return {"state": state(trainee), "seen": x.tolist(), "log": [r["main/sigmoid"] for r in done.records]}


def most_whole(trainee: PairTrainee, weights: Weights) -> tuple[int, int, list[str]]:
    """Return the most weights of blocks that are whole in a step, all of them, and the types of blocks afterwards."""
    named = [(n, m) for n, m in trainee.module().named_modules() if is_block(n)]
    numbers = []

    def count(*given: Any) -> None:
        whole = [sum(p.numel() for p in m.parameters() if not isinstance(p, DTensor)) for _, m in named]
        numbers.append(sum(whole))

    hooks = [m.mlp.register_forward_hook(count) for _, m in named]
    batch = trainee.collate(
        [trainee.views(Row(squares(4).items[i], i, str(i), {"captions": ("a",)}), None) for i in range(4)]
    )
    sum(weights.sharded(trainee.losses, batch, "main", None).values()).backward()
    for hook in hooks:
        hook.remove()
    weights.close()
    total = sum(p.numel() for _, m in named for p in m.parameters())
    return max(numbers), total, sorted({type(m).__name__ for _, m in named})


def process(run: Run, out: Path) -> dict[str, Any]:
    whole, divided = (replace(run, seed=3, out=out / name) for name in ("whole", "divided"))
    shard = replace(SHORT, shard=True)
    found: dict[str, Any] = {"whole": state(fitted(whole, SHORT))}
    toy = fitted(divided, shard)
    found["divided"] = state(toy)
    found["plain"] = [type(p).__name__ + str(p.requires_grad) for p in toy.net.parameters()]
    cut = replace(divided, out=out / "cut")
    fitted(cut, shard, until=6)
    found["cut"] = sorted(p.name for p in (out / "cut" / "checkpoints").iterdir())
    found["resumed"] = state(fitted(cut, shard, resume=True))
    far = replace(shard, shard_offload=True)
    moved = replace(divided, out=out / "offloaded")
    fitted(moved, far, until=6)
    found["offloaded"] = state(fitted(moved, far, resume=True))
    half = replace(whole, out=out / "half")
    fitted(half, SHORT, until=6)
    found["whole, then divided"] = state(fitted(half, shard, resume=True))
    patient = replace(SHORT, steps=None, epochs=3, patience=1, lr=0.5)
    for name, fit in (("whole", patient), ("divided", replace(patient, shard=True))):
        found[f"patient, {name}"] = state(fitted(replace(run, seed=3), fit, val=table(11)))
    cached = replace(PAIRS, steps=3, accumulate=2, cached=True, watch_every=2)
    found["pairs"] = [pairs(run, fit) for fit in (cached, replace(cached, shard=True))]
    plain = replace(PAIRS, steps=3, watch_every=2, ema=0.9)
    one_by_one = replace(plain, shard=True, shard_blocks=True)
    ways = (plain, one_by_one, replace(cached, shard=True, shard_blocks=True), replace(one_by_one, shard_offload=True))
    found["blocks"] = [pairs(run, fit) for fit in ways]
    trainee = PairTrainee(small(init_logit_bias=-10.0), SigLIPLoss(), run)
    found["whole at once"] = most_whole(trainee, Weights(trainee, ways[1], run, Precision(run)))
    weights = Weights(Plain(run), replace(shard, ema=0.9), run, Precision(run))
    weights.optimizers["main"].zero_grad()
    for p in weights.parameters.values():
        p.grad = torch.zeros_like(p)
    weights.optimizers["main"].step()
    moments = [s["exp_avg"] for s in weights.optimizers["main"].state.values()]
    found["numbers"] = [
        sum(weights.sharded.local(t).numel() for t in tensors)  # type: ignore[union-attr]
        for tensors in (weights.parameters.values(), moments, weights.ema.values())
    ]
    refused = []
    in_blocks = replace(shard, shard_blocks=True)
    tried = ((Toy(run), shard, run), (Plain(run), shard, replace(run, precision="fp16")), (Plain(run), in_blocks, run))
    for trainee, fit, own in tried:
        try:
            Weights(trainee, fit, own, Precision(run))
        except UsageError as error:
            refused.append(str(error))
    return found | {"refused": refused}


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("sharded")
    first, second = together(2, process, out)
    for name in ("divided", "resumed", "numbers"):
        assert first[name] == second[name]
    return first | {"out": out}


def same(a: dict[str, Any], b: dict[str, Any], tolerance: float = 1e-9) -> None:
    assert a.keys() == b.keys()
    for name, values in a.items():
        expected = torch.tensor(b[name], dtype=torch.float64)
        torch.testing.assert_close(
            torch.tensor(values, dtype=torch.float64), expected, rtol=tolerance, atol=tolerance, msg=name
        )


def test_a_divided_training_ends_with_the_weights_of_a_whole_one(answers) -> None:
    same(answers["divided"], answers["whole"])
    same(answers["patient, divided"], answers["patient, whole"])
    same(answers["offloaded"], answers["whole"])


def test_pairs_with_cached_batches_are_trained_and_watched_alike(answers) -> None:
    whole, divided = answers["pairs"]
    same(divided["state"], whole["state"], 1e-5)
    torch.testing.assert_close(torch.tensor(divided["seen"]), torch.tensor(whole["seen"]), rtol=1e-4, atol=1e-5)
    assert divided["log"] == pytest.approx(whole["log"], rel=1e-5)


def test_blocks_that_are_whole_one_at_a_time_train_alike(answers) -> None:
    whole, divided, cached, offloaded = answers["blocks"]
    for other, reference in ((divided, whole), (cached, answers["pairs"][0]), (offloaded, whole)):
        same(other["state"], reference["state"], 1e-5)
        torch.testing.assert_close(torch.tensor(other["seen"]), torch.tensor(reference["seen"]), rtol=1e-4, atol=1e-5)
        assert other["log"] == pytest.approx(reference["log"], rel=1e-5)


def test_one_block_is_whole_at_a_time_and_afterwards_none_has_traces(answers) -> None:
    most, total, kinds = answers["whole at once"]
    assert 0 < most < total
    assert kinds == ["ResidualAttentionBlock"]


def test_each_process_has_half_of_weights_moments_and_averages(answers) -> None:
    total = sum(p.numel() for p in Plain(Run()).net.parameters())
    assert answers["numbers"] == [total // 2 + 1] * 3, "all but the one scalar are divided"


def test_the_module_is_whole_afterwards(answers) -> None:
    assert set(answers["plain"]) == {"ParameterTrue"}


def test_a_stopped_training_goes_on_from_its_parts(answers) -> None:
    assert answers["cut"] == ["step-00000003-epoch-0001", "step-00000004-epoch-0001", "step-00000006-epoch-0002"]
    same(answers["resumed"], answers["whole"])
    files = [p.name for p in (answers["out"] / "cut" / "checkpoints" / answers["cut"][-1] / "parts").iterdir()]
    assert {Path(name).suffix for name in files} == {".safetensors"}  # nothing is pickled
    assert len(files) == 2


def test_a_whole_checkpoint_is_divided_and_parts_are_joined(answers) -> None:
    same(answers["whole, then divided"], answers["whole"])
    alone = fitted(Run(seed=3, workers=0, out=answers["out"] / "cut"), SHORT, resume=True)
    same(state(alone), answers["whole"])


def test_damaged_parts_are_named(answers) -> None:
    last = sorted((answers["out"] / "divided" / "checkpoints").iterdir())[-1]
    damaged = next((last / "parts").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-8])
    with pytest.raises(DataError, match=last.name):
        fitted(Run(seed=3, workers=0, out=answers["out"] / "divided"), SHORT, resume=True)


def test_what_needs_whole_weights_is_refused(answers) -> None:
    first, second, third = answers["refused"]
    assert "Toy changes its weights in several phases or after a step" in first
    assert "train in bf16" in second
    assert "Plain reads inside blocks, which must then be whole: leave out shard_blocks" in third
    for setting in ("shard_blocks", "shard_offload"):
        with pytest.raises(UsageError, match=f"{setting} says how weights are divided, and shard is False: give both"):
            replace(SHORT, **{setting: True})
    with pytest.raises(UsageError, match="start them with torchrun"):
        fitted(Run(), replace(SHORT, shard=True))
