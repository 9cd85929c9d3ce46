from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass, replace
from multiprocessing import active_children
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from diptych.core import DataError, Diverged, ParamGroup, Run, UnreadableItem, UsageError
from diptych.train import checkpoint, stopping
from diptych.train.batches import Shuffle
from diptych.train.groups import training
from diptych.train.loop import train
from diptych.train.schedule import Fit, Schedule
from tests.train.toy import FIT, Lines, Toy, table

RUN = Run(seed=3, workers=0)
SHORT = replace(FIT, steps=10)


def weights(toy: Toy) -> dict[str, torch.Tensor]:
    return {n: t.clone() for n, t in toy.net.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def trained(run: Run = RUN, fit: Fit = SHORT, data=None, **how) -> tuple[Toy, object]:
    toy = Toy(run)
    return toy, train(toy, data or table(), fit, run, **how)


def test_equals_a_loop_by_hand() -> None:
    """AdamW, warm-up and cosine, clipping, mean over two batches: against torch alone, on the batches that the trainee
    saw.
    """
    toy, reference = Toy(RUN, dropout=0.0), Toy(RUN, dropout=0.0)
    fit = replace(SHORT, ema=None)
    batches, clocks = [], []
    losses = toy.losses
    toy.losses = lambda batch, phase, clock: (
        batches.append(batch),
        clocks.append(clock),
        losses(batch, phase, replace(clock, generator=torch.Generator().manual_seed(clock.step))),
    )[2]  # type: ignore[method-assign]
    train(toy, table(), fit, RUN)
    assert len(batches) == 20
    named = dict(reference.net.named_parameters())
    sets = [
        {"params": [p for n, p in named.items() if "weight" in n], "weight_decay": 0.2},
        {"params": [p for n, p in named.items() if "weight" not in n], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(sets, lr=1.0, betas=(0.9, 0.98), eps=1e-6)
    for step in range(10):
        adam.zero_grad()
        for group in adam.param_groups:
            group["lr"] = fit.lr * Schedule(warmup=5).factor(step, 10)
        for i in (2 * step, 2 * step + 1):
            clock = replace(clocks[i], generator=torch.Generator().manual_seed(step))
            (reference.losses(batches[i], "main", clock)["pair"] / 2).backward()
        nn.utils.clip_grad_norm_([p for group in sets for p in group["params"]], 1.0)
        adam.step()
    for name, p in toy.net.named_parameters():
        assert torch.equal(p, named[name]), name


# Workers hand tensors over by a Unix socket, which the suite's guard of the network stops too.
@pytest.mark.enable_socket
def test_workers_change_nothing() -> None:
    alone, _ = trained()
    helped, _ = trained(replace(RUN, workers=2))
    assert same(weights(alone), weights(helped))


@pytest.mark.parametrize("data", [None, Lines(52)])
@pytest.mark.parametrize("until", [3, 7])
def test_resumes_with_the_same_bits(tmp_path, data, until) -> None:
    whole, log = trained(replace(RUN, out=tmp_path / "whole"), data=data)
    run = replace(RUN, out=tmp_path / "cut")
    cut = Toy(run)
    inner = cut.losses

    def dies(batch, phase, clock):
        if clock.step == until:
            raise RuntimeError("killed")
        return inner(batch, phase, clock)

    cut.losses = dies  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="killed"):
        train(cut, data or table(), SHORT, run)
    again, log_again = trained(run, data=data, resume=True)
    assert min(s for s, _ in again.seen) == until // 3 * 3 > 0
    assert same(weights(whole), weights(again))
    plain = [
        [{k: v for k, v in r.items() if k not in ("seconds", "samples_per_second")} for r in x.records]
        for x in (log, log_again)
    ]
    assert plain[0] == plain[1]


@pytest.mark.parametrize(("when", "number"), [("save", 2), ("save", 4), ("save", 5), ("save", 12), ("watch", 2)])
def test_a_training_that_is_killed_between_log_and_checkpoint_has_each_record_once(
    tmp_path, monkeypatch, when, number
) -> None:
    """Records of a step lie in the log before its checkpoint, and those of the end of an epoch are measured again."""
    fit = replace(SHORT, epochs=4, steps=None, accumulate=1, save_every=2, watch_every=4, ema=None)

    def measured(step: int) -> dict[str, float]:
        return {"seen": float(step)}

    def run_of(name: str) -> Run:
        return replace(RUN, out=tmp_path / name)

    _, whole = trained(run_of("whole"), fit, val=table(11), watch=measured)
    calls, save = {"save": 0, "watch": 0}, checkpoint.save

    def may_die(here: str) -> None:
        calls[here] += 1
        if (when, number) == (here, calls[here]):
            raise RuntimeError("killed")

    def saved(*args, **how):
        may_die("save")
        return save(*args, **how)

    def watched(step: int) -> dict[str, float]:
        may_die("watch")
        return measured(step)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save", saved)
        with pytest.raises(RuntimeError, match="killed"):
            trained(run_of("cut"), fit, val=table(11), watch=watched)
    _, again = trained(run_of("cut"), fit, val=table(11), watch=measured, resume=True)
    plain = [
        [{k: v for k, v in r.items() if k not in ("seconds", "samples_per_second")} for r in x.records]
        for x in (whole, again)
    ]
    assert plain[0] == plain[1]
    assert [r["seen"] for r in plain[0] if "seen" in r] == [4, 8, 12, 16, 20]


@pytest.mark.enable_socket
@pytest.mark.parametrize("data", [table(), Lines(52)])
def test_errors_of_workers_keep_their_type(data) -> None:
    toy = Toy(RUN)

    def broken(row, g):
        raise UnreadableItem(f"row {row.index}", "truncated JPEG")

    toy.views = broken  # type: ignore[method-assign]
    with pytest.raises(UnreadableItem, match="truncated JPEG") as kept:
        train(toy, data, SHORT, replace(RUN, workers=2))
    assert kept.value.__traceback__ is not None
    assert not active_children(), "an error that is kept keeps no worker"


@pytest.mark.enable_socket
def test_draws_from_the_global_generator_are_fixed_too() -> None:
    def views(row, g):
        return {v: torch.randn(6) for v in ("a", "b")}  # as torchvision's transforms draw

    ends = []
    for workers in (0, 2):
        toy = Toy(RUN)
        toy.views = views  # type: ignore[method-assign]
        train(toy, table(), SHORT, replace(RUN, workers=workers))
        ends.append(weights(toy))
    assert same(*ends)


@pytest.mark.enable_socket
@pytest.mark.parametrize("data", [table(), Lines(52)], ids=["table", "stream"])
def test_an_error_that_is_kept_keeps_no_worker(data) -> None:
    def end(step: int) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as kept:
        train(Toy(RUN), data, replace(SHORT, watch_every=1), replace(RUN, workers=2), watch=end)
    assert kept.value.__traceback__ is not None
    assert not active_children()


@pytest.mark.enable_socket
def test_stream_with_workers_keeps_its_order() -> None:
    alone, _ = trained(data=Lines(52))
    helped, _ = trained(replace(RUN, workers=2), data=Lines(52))
    assert same(weights(alone), weights(helped))


def test_a_training_learns_whatever_the_gradient_mode_around_it() -> None:
    plain, _ = trained()
    with torch.no_grad():
        inside, _ = trained()
        assert not torch.is_grad_enabled()
    assert same(weights(inside), weights(plain))


def test_randomness_comes_from_the_seed_and_leaves_no_trace() -> None:
    before = torch.random.get_rng_state()
    one, _ = trained()
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(99)
    two, _ = trained()
    other, _ = trained(replace(RUN, seed=4))
    assert same(weights(one), weights(two))
    assert not same(weights(one), weights(other))
    assert not one.net.training or Toy(RUN).net.training  # the mode is as it was
    assert all(p.requires_grad and p.grad is None for p in one.net.parameters())


def test_epochs_are_counted_and_seen_by_the_trainee() -> None:
    toy, done = trained(fit=replace(SHORT, steps=None, epochs=4, accumulate=1))
    assert (done.position.step, done.position.epoch) == (4 * 6, 4)
    assert int(toy.net.epochs) == 4


def test_each_epoch_shows_every_row_once_in_a_new_order() -> None:
    toy = Toy(RUN)
    seen = []
    losses = toy.losses
    toy.losses = lambda batch, phase, clock: (seen.extend(batch["index"].tolist()), losses(batch, phase, clock))[1]  # type: ignore[method-assign]
    train(toy, table(48), replace(FIT, steps=None, epochs=2, accumulate=1), RUN)
    assert sorted(seen[:48]) == sorted(seen[48:]) == list(range(48))
    assert seen[:48] != seen[48:]


def test_an_item_looks_different_in_every_epoch_and_the_same_in_every_order() -> None:
    toy, looks = Toy(RUN), {}
    losses = toy.losses

    def watched(batch, phase, clock):
        looks.update({(clock.epoch, int(i)): x for i, x in zip(batch["index"], batch["a"], strict=True)})
        return losses(batch, phase, clock)

    toy.losses = watched  # type: ignore[method-assign]
    train(toy, table(8), replace(FIT, steps=None, epochs=2, accumulate=1), RUN)
    assert len(looks) == 16
    assert not any(torch.equal(looks[0, i], looks[1, i]) for i in range(8))
    one_by_one = dict(looks)
    train(toy, table(8), replace(FIT, steps=None, epochs=2, accumulate=1, batch=2), RUN)
    assert all(torch.equal(looks[k], one_by_one[k]) for k in looks)


def test_frozen_is_what_no_group_names() -> None:
    toy, start = Toy(RUN), Toy(RUN)
    toy.groups = lambda: [ParamGroup(("a.0.weight",))]  # type: ignore[method-assign]
    train(toy, table(), SHORT, RUN)
    moved = {n for n, t in weights(toy).items() if not torch.equal(t, weights(start)[n])}
    assert moved == {"a.0.weight", "epochs"}


def test_ema_is_the_running_mean() -> None:
    toy, expected, ema = Toy(RUN), [], {}
    after = toy.after

    def keep(what, clock):
        after(what, clock)
        if what == "step":
            expected.append({n: p.detach().clone() for n, p in toy.net.named_parameters()})

    toy.after = keep  # type: ignore[method-assign]
    ema = {n: p.detach().clone() for n, p in toy.net.named_parameters()}
    train(toy, table(), SHORT, RUN)
    for state in expected:
        ema = {n: 0.9 * ema[n] + 0.1 * state[n] for n in ema}
    for n, p in toy.net.named_parameters():
        torch.testing.assert_close(p, ema[n], rtol=1e-5, atol=1e-6)


def test_early_stop_ends_with_the_best_weights(tmp_path) -> None:
    run = replace(RUN, out=tmp_path)
    toy = Toy(run)
    values, states = iter([3.0, 1.0, 2.0, 1.5, 0.5]), []
    toy.validate = lambda batches, clock: (list(batches), states.append(weights(toy)), next(values))[2]  # type: ignore[method-assign]
    fit = replace(SHORT, steps=None, epochs=9, patience=2, ema=None)
    done = train(toy, table(), fit, run, val=table(11))
    assert (done.position.epoch, done.position.best, done.position.stopped) == (4, 1.0, True)
    assert same(weights(toy), states[1])
    assert [r["val"] for r in done.records if "val" in r] == [3.0, 1.0, 2.0, 1.5]
    again, _ = trained(run, fit, val=table(11), resume=True)  # nothing is left to do, and the best weights come back
    assert again.seen == []
    assert same(weights(again), states[1])


def test_validation_is_repeatable_and_without_gradient() -> None:
    toy = Toy(RUN)
    modes = []
    inner = toy.losses
    toy.losses = lambda b, p, c: (modes.append((toy.net.training, torch.is_grad_enabled())), inner(b, p, c))[1]  # type: ignore[method-assign]
    done = train(toy, table(), replace(SHORT, lr=0.0, decay=0.0, steps=None, epochs=2), RUN, val=table(9))
    values = [r["val"] for r in done.records if "val" in r]
    assert len(values) == 2
    assert set(modes) == {(True, True), (False, False)}


@pytest.fixture
def heard():
    """Let Ctrl-C be heard where the suite runs in the background: a shell starts such jobs with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_ctrl_c_writes_a_checkpoint_and_then_interrupts(tmp_path) -> None:
    run = replace(RUN, out=tmp_path / "cut")
    whole, _ = trained(replace(RUN, out=tmp_path / "whole"), replace(SHORT, save_every=None))
    toy = Toy(run)
    inner = toy.losses

    def interrupted(batch, phase, clock):
        if clock.step == 4 and toy.seen[-1][0] < 4:
            os.kill(os.getpid(), signal.SIGINT)
        return inner(batch, phase, clock)

    toy.losses = interrupted  # type: ignore[method-assign]
    before = signal.getsignal(signal.SIGINT)
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt) as error, stopping.announced(said.append, "the same goes on"):
        train(toy, table(), replace(SHORT, save_every=None), run)
    assert signal.getsignal(signal.SIGINT) is before
    assert (str(error.value), said) == ("Stopped after step 5 of 10: the same goes on.", [])
    again, _ = trained(run, replace(SHORT, save_every=None), resume=True)
    assert min(s for s, _ in again.seen) == 5
    assert same(weights(whole), weights(again))


@pytest.mark.usefixtures("heard")
def test_a_second_ctrl_c_does_not_wait(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("diptych.train.stopping.TOGETHER", 0.0)
    toy = Toy(RUN)
    toy.losses = lambda batch, phase, clock: [os.kill(os.getpid(), signal.SIGINT) for _ in range(2)]  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        train(toy, table(), SHORT, replace(RUN, out=tmp_path))
    assert not (tmp_path / "checkpoints").exists()


def test_checkpoints_are_safetensors_and_json_and_only_the_last_are_kept(tmp_path) -> None:
    _, done = trained(replace(RUN, out=tmp_path), replace(SHORT, keep=2))
    folders = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert folders == ["step-00000009-epoch-0003", "step-00000010-epoch-0004"]
    assert {p.suffix for f in folders for p in (tmp_path / "checkpoints" / f).iterdir()} == {".safetensors", ".json"}
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == list(done.records)


def test_tensorboard_holds_the_losses(tmp_path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    _, done = trained(replace(RUN, out=tmp_path))
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    shown = [(e.step, e.value) for e in events.Scalars("main/pair")]
    assert shown == [(r["step"], pytest.approx(r["main/pair"], rel=1e-6)) for r in done.records if "main/pair" in r]


def test_mixed_precision_keeps_float32_weights() -> None:
    toy, _ = trained(replace(RUN, precision="bf16"))
    full, _ = trained()
    assert all(p.dtype == torch.float32 for p in toy.net.parameters())
    assert not same(weights(toy), weights(full))
    torch.testing.assert_close(
        toy.net.state_dict()["a.0.weight"], full.net.state_dict()["a.0.weight"], rtol=0.3, atol=0.05
    )


def test_frozen_weights_are_not_written_and_must_be_the_same(tmp_path) -> None:
    def half(run: Run, shift: float = 0.0) -> Toy:
        toy = Toy(run)
        with torch.no_grad():
            toy.net["b"][0].weight.add_(shift)
        toy.groups = lambda: [ParamGroup(("a.0.weight", "log_scale"))]  # type: ignore[method-assign]
        return toy

    whole, run = half(RUN), replace(RUN, out=tmp_path)
    train(whole, table(), SHORT, RUN)
    cut = half(run)
    inner = cut.losses
    cut.losses = lambda b, p, c: 1 / 0 if c.step == 7 else inner(b, p, c)  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        train(cut, table(), SHORT, run)
    newest = sorted((tmp_path / "checkpoints").iterdir())[-1]
    assert set(load_file(newest / "module.safetensors")) == {"a.0.weight", "log_scale", "epochs"}
    with pytest.raises(UsageError, match="other frozen weights"):
        train(half(run, 0.5), table(), SHORT, run, resume=True)
    again = half(run)
    train(again, table(), SHORT, run, resume=True)
    assert same(weights(whole), weights(again))


def test_another_training_in_the_folder_is_refused(tmp_path) -> None:
    run = replace(RUN, out=tmp_path)
    trained(run)
    with pytest.raises(UsageError, match="resume=True"):
        trained(run)
    with pytest.raises(UsageError, match="another fit, seed or groups"):
        trained(run, replace(SHORT, lr=0.5), resume=True)
    with pytest.raises(UsageError, match="another fit, seed or groups"):
        trained(replace(run, seed=9), resume=True)


def test_a_finished_training_is_lengthened_to_the_bits_of_a_long_one(tmp_path) -> None:
    constant = replace(SHORT, steps=9, schedule=Schedule("constant", warmup=3))  # three epochs
    run = replace(RUN, out=tmp_path / "short")
    trained(run, constant)
    again, history = trained(run, replace(constant, steps=15), resume=True)
    whole, _ = trained(RUN, replace(constant, steps=15))
    assert same(weights(again), weights(whole))
    assert [r["step"] for r in history.records] == list(range(1, 16))
    with pytest.raises(UsageError, match="another fit, seed or groups"):
        trained(run, constant, resume=True)
    other = replace(RUN, out=tmp_path / "cosine")
    trained(other)
    with pytest.warns(UserWarning, match="its learning rate goes on as if it had been so from the start"):
        trained(other, replace(SHORT, steps=12), resume=True)


def test_a_damaged_checkpoint_is_named(tmp_path) -> None:
    run = replace(RUN, out=tmp_path)
    trained(run)
    last = sorted((tmp_path / "checkpoints").iterdir())[-1]
    (last / "module.safetensors").write_bytes(b"broken")
    with pytest.raises(DataError, match=last.name):
        trained(run, resume=True)
    (last / "state.json").write_text('{"schema": 9}')
    with pytest.raises(DataError):
        trained(run, resume=True)


def test_errors_name_the_remedy() -> None:
    with pytest.raises(DataError, match="smaller batch"):
        trained(fit=replace(SHORT, batch=100))
    with pytest.raises(DataError, match="smaller batch"):
        trained(fit=replace(SHORT, accumulate=100))
    with pytest.raises(DataError, match="smaller batch"):
        trained(fit=replace(SHORT, accumulate=100, steps=None, epochs=1))
    with pytest.raises(DataError, match="smaller batch"):
        trained(data=Lines(5))
    with pytest.raises(UsageError, match="in steps"):
        trained(data=Lines(50), fit=replace(SHORT, steps=None, epochs=1))
    with pytest.raises(DataError, match="do not fill"):
        trained(val=table().take([]))
    with pytest.raises(UsageError, match="A cool-down of 30 steps is longer than the training of"):
        trained(fit=replace(SHORT, steps=None, epochs=1, schedule=Schedule("constant", cooldown=30)))
    with pytest.raises(UsageError, match="give val"):
        trained(fit=replace(SHORT, patience=1))
    for groups in (
        [ParamGroup(("nothing",))],
        [ParamGroup(("log_scale", "log_scale"))],
        [],
        [ParamGroup(("log_scale",), phases=("x",))],
    ):
        toy = Toy(RUN)
        toy.groups = lambda groups=groups: groups  # type: ignore[method-assign]
        with pytest.raises(UsageError):
            train(toy, table(), SHORT, RUN)


def test_divergence_stops_before_it_is_saved(tmp_path) -> None:
    toy = Toy(replace(RUN, out=tmp_path))
    inner = toy.losses
    toy.losses = lambda b, p, c: {"pair": inner(b, p, c)["pair"] * (float("nan") if c.step == 4 else 1)}  # type: ignore[method-assign]
    with pytest.raises(Diverged, match=r"step 4 .*lower the learning rate of 0\.02"):
        train(toy, table(), SHORT, replace(RUN, out=tmp_path))
    assert all(torch.isfinite(p).all() for p in toy.net.parameters())


BAD = replace(SHORT, accumulate=1, save_every=3)


def with_bad_batches(run: Run, *bad: tuple[int, int]) -> Toy:
    """A toy whose gradients are NaN, under finite losses, in batches given as (epoch, number)."""
    toy, order = Toy(run), Shuffle(52, RUN.seed)
    rows = {(epoch, *order.batches(epoch, BAD.batch)[number]) for epoch, number in bad}
    inner, now = toy.losses, [False]

    def losses(batch, phase, clock):
        now[0] = (clock.epoch, *batch["index"].tolist()) in rows
        return inner(batch, phase, clock)

    toy.losses = losses  # type: ignore[method-assign]
    toy.net["b"][3].bias.register_hook(lambda grad: grad * (float("nan") if now[0] else 1.0))  # type: ignore[index]
    return toy


@pytest.mark.parametrize(("batch", "step"), [((0, 4), 4), ((1, 3), 9)])  # in the middle, and in the last step
def test_a_bad_gradient_is_neither_stepped_nor_saved(tmp_path, batch, step) -> None:
    run = replace(RUN, out=tmp_path)
    toy = with_bad_batches(run, batch)
    with pytest.raises(Diverged, match=f"The gradients are not finite in step {step} "):
        train(toy, table(), BAD, run)
    assert all(torch.isfinite(p).all() for p in toy.net.parameters())
    saved = [load_file(file) for file in (tmp_path / "checkpoints").rglob("*.safetensors")]
    assert all(torch.isfinite(t).all() for tensors in saved for t in tensors.values())


def test_weights_that_finite_gradients_made_infinite_are_not_saved_or_returned(tmp_path) -> None:
    def explodes(at: int) -> Toy:
        toy = Toy(RUN)
        after, inner = toy.after, toy.losses

        def infinite(what, clock):
            if (what, clock.step) == ("step", at):
                toy.net.log_scale.fill_(float("inf"))  # type: ignore[operator, union-attr]
            after(what, clock)

        toy.after = infinite  # type: ignore[method-assign]
        toy.losses = lambda b, p, c: {"pair": inner(b, p, c)["pair"].nan_to_num(0.0)}  # type: ignore[method-assign]
        return toy

    with pytest.raises(Diverged, match="The weights or a step are not finite after 6 steps"):
        train(explodes(5), table(), BAD, replace(RUN, out=tmp_path))
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000003-epoch-0000"]
    with pytest.raises(Diverged, match="The weights or a step are not finite after 10 steps"):
        train(explodes(9), table(), BAD, RUN)


@dataclass(frozen=True)
class Without:
    """The order of an epoch without a batch of the first one."""

    inner: Shuffle
    number: int

    def batches(self, epoch: int, size: int):
        every = self.inner.batches(epoch, size)
        return [batch for i, batch in enumerate(every) if (epoch, i) not in self.numbers]

    @property
    def numbers(self) -> list[tuple[int, int]]:
        return [(0, 3), (0, self.number)]  # the batch between the checkpoint and the bad step is not read again


def test_after_a_bad_step_the_latest_checkpoint_goes_on_with_the_next_batches(tmp_path) -> None:
    run, fit = replace(RUN, out=tmp_path), replace(BAD, skip_bad_steps=1)
    toy = with_bad_batches(run, (0, 4))
    with pytest.warns(UserWarning, match=r"not finite in step 4 .*The training goes back to step 3\."):
        history = train(toy, table(), fit, run)
    assert [r["step"] for r in history.records] == list(range(1, 11))
    assert [r.get("bad_steps", 0) for r in history.records] == [0] * 3 + [1] * 7
    assert [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()] == list(history.records)
    reference = Toy(RUN)
    reference.sampler = lambda rows, run: Without(Shuffle(52, RUN.seed), 4)  # type: ignore[method-assign]
    train(reference, table(), BAD, RUN)
    assert same(weights(toy), weights(reference))


def test_steps_that_are_not_read_go_back_at_the_next_one_that_is(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("diptych.train.steps.Steps.reads_all", False)
    fit = replace(BAD, skip_bad_steps=1, log_every=5, save_every=4)
    toy = with_bad_batches(RUN, (0, 1))
    with pytest.warns(UserWarning, match="The weights or a step are not finite after 4 steps.*goes back to step 0"):
        history = train(toy, table(), fit, replace(RUN, out=tmp_path))
    assert [r["step"] for r in history.records] == [1, 5, 10]
    assert (history.position.step, history.position.bad_steps) == (10, 1)
    with pytest.raises(Diverged, match="in a step before 4"):
        train(with_bad_batches(RUN, (0, 1)), table(), replace(BAD, log_every=5, save_every=None), RUN)


@pytest.mark.parametrize("every", [3, None])  # steps, and epochs
def test_measures_that_are_not_finite_are_a_bad_step(tmp_path, every) -> None:
    def watch(step: int) -> dict[str, float]:
        if not seen:
            seen.append(step)
            raise Diverged(f"The embeddings are not finite after {step} steps.")
        return {"seen": float(step)}

    seen: list[int] = []
    fit = replace(BAD, save_every=4, watch_every=every, skip_bad_steps=1)
    with pytest.warns(
        UserWarning, match=r"embeddings are not finite after . steps\. The training goes back to step [04]\."
    ):
        history = train(Toy(RUN), table(), fit, replace(RUN, out=tmp_path), watch=watch)
    assert (history.position.step, history.position.bad_steps) == (10, 1)
    measured = [r["step"] for r in history.records if "seen" in r]
    assert measured == sorted(set(measured))
    assert every is None or measured == [3, 6, 9]
    for other in (
        replace(fit, skip_bad_steps=0),
        replace(fit, watch_every=None, save_every=6),
    ):  # saved before measured
        seen.clear()
        with pytest.raises(Diverged, match="embeddings are not finite"):
            train(Toy(RUN), table(), other, replace(RUN, out=tmp_path / str(other.save_every)), watch=watch)


@pytest.mark.parametrize(("every", "steps"), [(1, [*range(1, 11)]), (4, [1, 4, 8, 10]), (50, [1, 10])])
def test_the_first_and_the_last_step_are_logged_and_every_nth(tmp_path, every, steps) -> None:
    fit = replace(SHORT, steps=10, log_every=every)
    _, history = trained(replace(RUN, out=tmp_path), fit)
    assert [r["step"] for r in history.records] == steps
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == steps
    _, other = trained(RUN, replace(fit, log_every=1))
    assert [r["main/pair"] for r in history.records] == [other.records[i - 1]["main/pair"] for i in steps]


def test_more_bad_steps_than_the_fit_allows_are_an_error(tmp_path) -> None:
    fit = replace(BAD, skip_bad_steps=1)
    toy = with_bad_batches(RUN, (0, 0), (0, 5))
    with pytest.warns(UserWarning, match="goes back to step 0"), pytest.raises(Diverged, match="not finite in step 4"):
        train(toy, table(), fit, replace(RUN, out=tmp_path))
    with pytest.raises(UsageError, match="skip_bad_steps=1 goes back to a checkpoint, and none is written"):
        train(toy, table(), fit, RUN)


@pytest.mark.filterwarnings("ignore:The gradients are not finite:UserWarning")
@pytest.mark.parametrize("until", [2, 4, 5, 7, 11])
def test_a_training_that_went_back_resumes_with_the_same_bits(tmp_path, until) -> None:
    fit, bad = replace(BAD, skip_bad_steps=2), ((0, 4), (1, 2))
    whole = with_bad_batches(RUN, *bad)
    train(whole, table(), fit, replace(RUN, out=tmp_path / "whole"))
    run = replace(RUN, out=tmp_path / "cut")
    cut = with_bad_batches(run, *bad)
    inner, taken = cut.losses, []

    def dies(batch, phase, clock):
        taken.append(clock.step)
        if len(taken) > until:
            raise RuntimeError("killed")
        return inner(batch, phase, clock)

    cut.losses = dies  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="killed"):
        train(cut, table(), fit, run)
    again = with_bad_batches(run, *bad)
    history = train(again, table(), fit, run, resume=True)
    assert same(weights(whole), weights(again))
    assert history.position.bad_steps == 2
    assert [r["step"] for r in history.records] == list(range(1, 11))


def test_frozen_parts_keep_their_statistics_and_drop_nothing() -> None:
    frozen = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    learnt = nn.Sequential(nn.Linear(3, 1), nn.Dropout(0.5))
    net = nn.ModuleDict({"frozen": frozen, "learnt": learnt})
    names = {n for n, _ in net.named_parameters() if n.startswith("learnt")}
    with training(net, names):
        assert [m.training for m in (net, frozen[1], learnt[1])] == [True, False, True]
        before = frozen[1].running_mean.clone()
        net["frozen"](torch.randn(8, 2))
        assert torch.equal(frozen[1].running_mean, before)


def slow(toy: Toy, monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    """Let the processor's clock run by ``step`` seconds a step of the toy, and not at all beside."""
    spent = [0.0]
    monkeypatch.setattr("diptych.train.length.time.process_time", lambda: spent[0])
    losses = toy.losses

    def counted(batch, phase, clock):
        spent[0] += step / FIT.accumulate
        return losses(batch, phase, clock)

    toy.losses = counted  # type: ignore[method-assign]


TIMED = replace(FIT, steps=None, seconds=1.0, schedule=Schedule(warmup=2), save_every=None)


def test_a_training_ends_when_its_seconds_are_spent(monkeypatch) -> None:
    toy, clocks = Toy(RUN), []
    losses = toy.losses
    toy.losses = lambda batch, phase, clock: (clocks.append(clock), losses(batch, phase, clock))[1]  # type: ignore[method-assign]
    slow(toy, monkeypatch, 0.125)
    history = train(toy, table(), TIMED, RUN)
    assert (history.position.step, history.position.seconds) == (8, 1.0)
    lengths = [clock.steps for clock in clocks[:: FIT.accumulate]]
    assert lengths == [3, 8, 8, 8, 8, 8, 8, 8], (
        "the warm-up and one more before the first step, then what the pace says"
    )


def test_slow_steps_do_not_spend_their_seconds_in_the_warm_up(monkeypatch) -> None:
    toy = Toy(RUN)
    slow(toy, monkeypatch, 0.125)
    fit = replace(TIMED, schedule=Schedule("constant", warmup=20), log_every=1)
    rates = [r["lr"] / fit.lr for r in train(toy, table(), fit, RUN).records if "lr" in r]
    assert rates == pytest.approx([1 / 20, *[1.0] * 7]), "a tenth of eight steps is none"


def test_validation_and_checkpoints_do_not_count(tmp_path, monkeypatch) -> None:
    toy = Toy(RUN)
    slow(toy, monkeypatch, 0.125)
    history = train(toy, table(), replace(TIMED, save_every=1), replace(RUN, out=tmp_path), val=table(16))
    plain = [r for r in history.records if "val" not in r]
    assert len(plain) == history.position.step
    assert history.position.seconds == pytest.approx(0.125 * history.position.step)


def test_seconds_that_were_spent_before_a_kill_count_after_it(tmp_path, monkeypatch) -> None:
    run = replace(RUN, out=tmp_path)
    cut = Toy(run)
    slow(cut, monkeypatch, 0.125)
    inner = cut.losses

    def dies(batch, phase, clock):
        if clock.step == 5:
            raise RuntimeError("killed")
        return inner(batch, phase, clock)

    cut.losses = dies  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="killed"):
        train(cut, table(), replace(TIMED, save_every=1), run)
    again = Toy(run)
    slow(again, monkeypatch, 0.125)
    history = train(again, table(), replace(TIMED, save_every=1), run, resume=True)
    assert (history.position.step, history.position.seconds) == (8, 1.0)
