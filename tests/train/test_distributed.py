"""Two processes on loopback do what one does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.loss import ClipLoss as TheirClipLoss
from torch import distributed as dist
from torch import nn
from torch.nn.functional import normalize

from diptych.core import (
    Clock,
    DataError,
    DiptychError,
    Diverged,
    Embedded,
    Row,
    Run,
    State,
    UnreadableItem,
    UsageError,
    World,
)
from diptych.methods.pretrain.clip_loss import CLIPLoss
from diptych.methods.pretrain.coca_loss import CoCaLoss
from diptych.methods.pretrain.siglip_loss import SigLIPLoss
from diptych.nn.projector import GatheredNorm
from diptych.train import distributed
from diptych.train.averaging import Averaging
from diptych.train.loop import train
from tests.train.processes import free_port, quick_start, together
from tests.train.toy import FIT, Toy, fit_here, table

CLOCK = Clock(0, 1, 0, torch.Generator())
WORDS = torch.tensor(
    [[3, 1, 0, 0, 0], [2, 2, 1, 4, 1], [1, 0, 0, 0, 0], [5, 5, 2, 1, 0], [6, 1, 2, 0, 0], [3, 3, 3, 3, 3]]
)


def parameters() -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    sizes = [(6, 5), (5, 4), (5, 4), (6, 5), ()]
    return [torch.randn(s, generator=g, dtype=torch.float64).requires_grad_() for s in sizes] + [
        torch.tensor(-3.0).double().requires_grad_()
    ]


def embedded(p: list[torch.Tensor], rows: slice, world: World) -> Embedded:
    g = torch.Generator().manual_seed(1)
    items, states = torch.randn(6, 6, generator=g).double(), torch.randn(6, 5, 7, generator=g).double()
    hidden = torch.tanh(items @ p[0])[rows]
    return Embedded(
        {"image": hidden @ p[1], "text": hidden @ p[2]},
        lambda a, b: (p[4].exp(), p[5]),
        distributed.gather(world),
        world.rank,
        {"caption": State(states[rows] * p[4])},
        {"caption": WORDS[rows]},
    )


def gradients(kind: str, rows: slice, world: World) -> tuple[float, list[torch.Tensor]]:
    p = parameters()
    ours = {
        "clip": CLIPLoss(),
        "clip-chunked": CLIPLoss(chunk=2),
        "siglip": SigLIPLoss(chunk=1),
        "coca": CoCaLoss(chunk=4),
    }
    if kind == "norm":
        e = embedded(p, rows, world)
        norm = GatheredNorm(4, e.gather).double()
        loss = (norm(e.vectors["image"]) * e.vectors["text"]).square().mean()
    elif kind in ours:
        loss = sum(ours[kind].terms(embedded(p, rows, world), nn.Identity(), CLOCK).values())
    else:  # open_clip's two ways of gathering, as the oracle and as the control
        local, grad = {"theirs": (True, True), "wrong": (True, False)}[kind]
        e = embedded(p, rows, world)
        x, y = normalize(e.vectors["image"], dim=-1), normalize(e.vectors["text"], dim=-1)
        loss = TheirClipLoss(local, grad, rank=world.rank, world_size=world.size)(x, y, p[4].exp())
    grads = torch.autograd.grad(loss, p, allow_unused=True)
    return loss.item(), [torch.zeros_like(q) if g is None else g for q, g in zip(p, grads, strict=True)]


def averaged(parameters: list[nn.Parameter], world: World) -> None:
    averaging = Averaging(parameters, world)
    averaging.finish()
    averaging.close()


def process(rank: int, port: str, kinds: tuple[str, ...], answers: multiprocessing.SimpleQueue, out: Path) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port, RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank))
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it, and so would this
    run = distributed.join(Run())
    assert run.world == World(rank, 2)
    found = {}
    for kind in kinds:
        loss, grads = gradients(kind, slice(3 * rank, 3 * rank + 3), run.world)
        holders = [nn.Parameter(torch.zeros_like(g)) for g in grads]
        for h, g in zip(holders, grads, strict=True):
            h.grad = g.clone() if g.abs().sum() > 0 else None
        averaged(holders, run.world)
        found[kind] = (
            distributed.mean(loss, run.world),
            [h.grad.tolist() if h.grad is not None else None for h in holders],
        )
    made: list[int] = []
    numbers = distributed.from_first(lambda: (made.append(rank), np.arange(3) + 5 * rank)[1], run.world)
    found["from first"] = (numbers.tolist(), made)
    try:
        distributed.from_first(no_numbers, run.world)
    except DiptychError as error:
        found["no numbers"] = str(error)
    net = nn.BatchNorm1d(2)
    net.running_mean.fill_(rank)
    distributed.equalise(net, run.world, buffers_only=True)
    found["ends"] = {trouble: ending(trouble, run) for trouble in ("signal", "unreadable", "nan")}
    found["buffers"] = net.running_mean.tolist()
    fit_here(out, "float64")
    answers.put((rank, found))
    dist.barrier()
    dist.destroy_process_group()


def no_numbers() -> Any:
    raise DataError("No group fills a batch.")


def ending(trouble: str, run: Run) -> str:
    """Train a toy whose second process meets a trouble in its third step; return how this process ended."""
    toy = Toy(run)
    views, losses = toy.views, toy.losses

    def troubled_views(row: Row, g: torch.Generator) -> Any:
        if trouble == "unreadable" and run.world.rank == 1 and toy.seen and toy.seen[-1][0] == 2:
            raise UnreadableItem("photo", "truncated")
        return views(row, g)

    def troubled_losses(batch: Any, phase: str, clock: Clock) -> Any:
        result = losses(batch, phase, clock)
        if run.world.rank == 1 and len(toy.seen) == 5 and trouble == "signal":
            os.kill(os.getpid(), signal.SIGINT)
        bad = trouble == "nan" and run.world.rank == 1 and clock.step == 2
        return {name: value * (float("nan") if bad else 1.0) for name, value in result.items()}

    toy.views, toy.losses = troubled_views, troubled_losses  # type: ignore[method-assign]
    try:
        train(toy, table(), FIT, replace(run, workers=0))
    except (KeyboardInterrupt, DiptychError) as error:
        return f"{type(error).__name__}, {len(toy.seen)} batches: {error}"
    return "finished"


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict:
    context = quick_start()
    queue, port = context.SimpleQueue(), free_port()
    out = tmp_path_factory.mktemp("two")
    kinds = ("clip", "clip-chunked", "siglip", "coca", "norm", "theirs", "wrong")
    workers = [context.Process(target=process, args=(rank, port, kinds, queue, out)) for rank in range(2)]
    for w in workers:
        w.start()
    found = dict(queue.get() for _ in workers)
    for w in workers:
        w.join(300)
        assert w.exitcode == 0
    return found | {"out": out}


@pytest.mark.parametrize("kind", ["clip", "clip-chunked", "siglip", "coca", "norm"])
def test_two_processes_give_the_gradient_of_one(answers, kind) -> None:
    value, expected = gradients(kind, slice(None), World())
    for rank in range(2):
        got_value, got = answers[rank][kind]
        assert got_value == pytest.approx(value, rel=1e-12)
        for g, e in zip(got, expected, strict=True):
            assert (
                e.abs().sum() == 0
                if g is None
                else torch.allclose(torch.tensor(g, dtype=torch.float64), e, rtol=1e-9, atol=1e-12)
            )


def test_what_the_first_process_makes_the_others_are_sent(answers) -> None:
    assert [answers[rank]["from first"] for rank in range(2)] == [([0, 1, 2], [0]), ([0, 1, 2], [])]
    assert answers[0]["no numbers"] == "No group fills a batch."
    assert answers[1]["no numbers"].startswith("The first process cannot make")
    assert distributed.from_first(lambda: np.arange(2), World()).tolist() == [0, 1]


def test_open_clip_agrees_and_its_wrong_form_is_told_apart(answers) -> None:
    _, expected = gradients("clip", slice(None), World())
    _, theirs = answers[0]["theirs"]
    _, wrong = answers[0]["wrong"]
    assert torch.allclose(torch.tensor(theirs[0], dtype=torch.float64), expected[0], rtol=1e-9, atol=1e-12)
    assert not torch.allclose(torch.tensor(wrong[0], dtype=torch.float64), expected[0], rtol=1e-2)


def test_buffers_are_those_of_the_first_process(answers) -> None:
    for rank in range(2):
        assert answers[rank]["buffers"] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("trouble", "ends"),
    [
        ("signal", ("KeyboardInterrupt, 6 batches", "KeyboardInterrupt, 6 batches")),
        ("unreadable", ("DataError, 6 batches: Another process cannot read", "UnreadableItem, 6 batches")),
        ("nan", ("Diverged, 6 batches", "Diverged, 6 batches")),
    ],
)
def test_processes_end_together(answers, trouble, ends) -> None:
    for rank in range(2):
        assert answers[rank]["ends"][trouble].startswith(ends[rank])


def watched(
    run: Run, out: Path, every: int | None, troubled: int
) -> tuple[list[Any], list[dict[str, float]], list[str]]:
    """Train a toy whose measures diverge once, in some processes alone; return its end, its log, and what was said."""
    seen: list[int] = []

    def watch(step: int) -> dict[str, float]:
        seen.append(step)
        if len(seen) == 2 and run.world.rank >= troubled:
            raise Diverged(f"The embeddings are not finite after {step} steps.")
        return {"seen": float(step)}

    fit = replace(FIT, epochs=None, steps=12, save_every=4, watch_every=every, skip_bad_steps=1)
    toy = Toy(run, dtype=torch.float64, dropout=0.0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        history = train(toy, table(), fit, replace(run, out=out, workers=0), watch=watch)
    weights = [p.detach().tolist() for p in toy.net.parameters()]
    return [weights, replace(history.position, seconds=0.0)], list(history.records), [str(w.message) for w in said]


@pytest.mark.parametrize("every", [3, None])  # steps, and epochs, which are of three
@pytest.mark.parametrize("troubled", [0, 1])  # both processes, and the second alone
def test_measures_that_diverge_in_one_process_take_all_back(tmp_path, every, troubled) -> None:
    (first, log, said), (second, _, also) = together(2, watched, tmp_path / "two", every, troubled)
    assert first == second
    assert (first[1].step, first[1].bad_steps) == (12, 1)
    assert any("not finite after 6 steps. The training goes back to step 4." in line for line in also)
    if troubled:
        assert any("of another process" in line and "goes back to step 4." in line for line in said)
    (alone, of_one, _) = watched(Run(workers=0), tmp_path / "one", every, 0)
    torch.testing.assert_close(first[0], alone[0], rtol=1e-6, atol=1e-9)
    assert [(r["step"], r.get("seen")) for r in log] == [(r["step"], r.get("seen")) for r in of_one]


def test_half_a_launch_is_refused(monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(UsageError, match=r"MASTER_ADDR.* is not set: start the processes with torchrun"):
        distributed.join(Run())


def test_whole_training_in_two_processes_equals_one(answers, tmp_path) -> None:
    fit_here(tmp_path, "float64")
    a, b = (torch.load(out / "final.pt", weights_only=True) for out in (tmp_path, answers["out"]))
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-6, atol=1e-9)
    logs = [(out / "log.jsonl").read_text().count("\n") for out in (tmp_path, answers["out"])]
    assert logs == [40, 40]


def test_a_run_that_does_not_know_its_place_is_refused() -> None:
    with pytest.raises(UsageError, match=r"distributed\.join"):
        distributed.check(Run(world=World(0, 2)))


def test_a_launch_that_is_not_joined_is_refused(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    run = Run(out=tmp_path, workers=0)
    with pytest.raises(UsageError, match=r"WORLD_SIZE is 2, and the processes are not joined.*distributed\.join"):
        train(Toy(run), table(), FIT, run)
    assert list(tmp_path.iterdir()) == []
    distributed.check(Run())  # writes nothing


def test_alone_everything_is_the_identity() -> None:
    x = torch.randn(3, 2)
    assert distributed.gather(World())(x) is x
    assert distributed.mean(0.3, World()) == 0.3
    run = Run()
    assert distributed.join(run) is run
