"""Kill trainings, encodings of shards and indexings at random moments, let them go on, and count what was lost.

    python -m tools.kills --minutes 60 --out out/kills.json     # make kills

Each trial begins a command anew, kills it (SIGKILL, to the process or to its group) up to three times at random
moments of its time, lets it end, and compares the result with that of a run which nothing disturbed: the weights and
the log of a training, the vectors and names of an encoding, and the answers of an index, all to the last bit. Commands
run in forks of this process, which has imported everything, so that a minute holds many kills. The seed decides the
moments in seconds; what a process does then depends on the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 1800.0
"""Seconds after which a command counts as hung."""
CLOCKS = ("seconds", "samples_per_second")
"""Fields of a log that no two runs share."""


@dataclass(frozen=True)
class Work:
    """A command, how it goes on, and what is compared.

    Args:
        name: for the report.
        words: of the command line, which writes to ``out`` and keeps vectors in ``cache``, both below the folder of the
            trial.
        again: words that are added where it goes on.
        result: folder of a trial -> what must be equal, as plain data.
    """

    name: str
    words: tuple[str, ...]
    again: tuple[str, ...]
    result: Callable[[Path], Any]


@dataclass
class Count:
    """Trials of one work.

    Args:
        killed: kills that met a living process.
        lost: what differed, or did not go on, one sentence each.
    """

    trials: int = 0
    killed: int = 0
    lost: list[str] = field(default_factory=list)


def hashed(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def of_training(folder: Path) -> Any:
    """Return the weights, the losses of each step, the measures, and the drafts that lie about."""
    out = folder / "out"
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    report = json.loads((out / "report.json").read_text())
    return {
        "weights": hashed(out / "model" / "open_clip_model.safetensors"),
        "log": [{k: v for k, v in line.items() if k not in CLOCKS} for line in lines],
        "measures": [report["before"], report["after"], report["steps"]],
        "drafts": drafts(out),
    }


def of_encoding(folder: Path) -> Any:
    """Return the vectors, the names and the drafts."""
    import pyarrow.parquet as pq

    out = folder / "out"
    names = pq.read_table(out / "metadata" / "metadata_0.parquet").to_pylist()
    return {"vectors": hashed(out / "img_emb" / "img_emb_0.npy"), "names": names, "drafts": drafts(out)}


def of_index(folder: Path) -> Any:
    """Return the answers to two questions, with their scores."""
    answers = []
    for word in ("red", "blue"):
        reply = folder / f"{word}.json"
        words = ["search", str(folder / "out"), word, "--json", "--top", "20", "--engine", "torch"]
        code, _ = forked(words, folder / "stderr", None, group=False, said=reply)
        result = json.loads(reply.read_text()) if code == 0 else {}
        answers.append([result["results"], result["entries"]] if code == 0 else last_lines(folder))  # not where it lies
    return answers


def drafts(out: Path) -> list[str]:
    """Return files that a killed run left and the next one should have removed."""
    return sorted(str(p.relative_to(out)) for p in out.rglob("*.tmp"))


def forked(
    words: list[str], log: Path, after: float | None, *, group: bool, said: Path = Path(os.devnull)
) -> tuple[int, float]:
    """Run a command in a fork, and return its exit code, negative for a signal, and its seconds.

    Args:
        words: of the command.
        log: where its stderr goes.
        after: seconds before it is killed; None: it is not.
        group: whether its whole process group is killed, workers of its loader with it.
        said: where its stdout goes.
    """
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        os.setsid()
        with log.open("ab") as file:
            os.dup2(file.fileno(), 2)
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        code = 70
        try:
            from diptych.cli.main import app

            app(words)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    limit = start + (PATIENCE if after is None else after)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            break
        if time.monotonic() > limit:
            with contextlib.suppress(ProcessLookupError):  # it has no group of its own in its first moments
                (os.killpg if group else os.kill)(child, signal.SIGKILL)
            os.kill(child, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            break
        time.sleep(0.002)
    with contextlib.suppress(ProcessLookupError):  # what a killed process leaves behind is no part of the next run
        os.killpg(child, signal.SIGKILL)
    return code, time.monotonic() - start


def works(root: Path) -> Iterator[Work]:
    """Write what the commands read, and yield them."""
    import webdataset

    from tests.support.colours import COLOURS, coloured
    from tests.support.small_clip import small_clip

    small_clip(root / "clip")
    rows = ["path,caption_0,caption_1"]
    for number, name in enumerate(COLOURS):
        for i in range(12):
            coloured(root / "photos" / f"{name}{i}.png", name, 100 * number + i)
            rows.append(f"photos/{name}{i}.png,a {name} wall,{name} paint")
    (root / "said.csv").write_text("\n".join(rows))
    for shard in range(4):
        with webdataset.TarWriter(str(root / f"{shard}.tar")) as writer:
            for k, line in enumerate(rows[1:][shard::4]):
                path, caption, _ = line.split(",")
                png = (root / path).read_bytes()
                writer.write({"__key__": f"{shard}-{k}", "png": png, "txt": caption})
    clip, shards = f"local:{root / 'clip'}", str(root / "{0..3}.tar")
    loop = ("--save-every", "2", "--backbone", clip, "--measure-every", "6", "--cache", "CACHE", "--out", "OUT")
    yield Work(
        "pretrain on a table",
        ("pretrain", str(root / "said.csv"), "--steps", "12", "--train-batch", "8", "--workers", "0", *loop),
        ("--resume",),
        of_training,
    )
    stream = (
        "--steps",
        "12",
        "--train-batch",
        "8",
        "--workers",
        "2",
        "--held-out",
        "8",
        "--lanes",
        "2",
        "--shuffle",
        "6",
    )
    yield Work("pretrain on shards", ("pretrain", shards, *stream, *loop), ("--resume",), of_training)
    plain = (
        "--backbone",
        clip,
        "--engine",
        "torch",
        "--batch",
        "4",
        "--workers",
        "1",
        "--cache",
        "CACHE",
        "--out",
        "OUT",
    )
    yield Work("encode shards", ("encode", shards, *plain), ("--overwrite",), of_encoding)
    yield Work("index", ("index", str(root / "photos"), *plain), (), of_index)


def run(work: Work, folder: Path, again: bool, after: float | None, group: bool) -> tuple[int, float]:
    """Run a work in the folder of a trial; see ``forked``."""
    folder.mkdir(parents=True, exist_ok=True)
    places = {"OUT": str(folder / "out"), "CACHE": str(folder / "cache")}
    words = [places.get(word, word) for word in (*work.words, *(work.again if again else ()))]
    return forked(words, folder / "stderr", after, group=group)


def trial(work: Work, folder: Path, expected: Any, seconds: float, draw: random.Random, count: Count) -> None:
    """Kill a work up to three times, let it end, and compare."""
    count.trials += 1
    moments = []
    for _ in range(draw.randint(1, 3)):
        after, group = draw.uniform(0, 1.1 * seconds), draw.random() < 0.5
        code, _ = run(work, folder, bool(moments), after, group)
        moments.append(f"{after:.2f} s{' (group)' if group else ''}")
        if code == -signal.SIGKILL:
            count.killed += 1
        elif code != 0:
            count.lost.append(f"{work.name}, killed after {', '.join(moments)}: exit code {code}; {last_lines(folder)}")
            return
    code, _ = run(work, folder, True, None, False)
    where = f"{work.name}, killed after {', '.join(moments)}"
    if code != 0:
        count.lost.append(f"{where}: goes on with exit code {code}; {last_lines(folder)}")
        return
    try:
        result = work.result(folder)
    except Exception as error:
        count.lost.append(f"{where}: the result cannot be read ({error!r})")
        return
    if result != expected:
        count.lost.append(f"{where}: {differing(result, expected)}")


def differing(result: Any, expected: Any) -> str:
    """Return what differs, and its first value of each."""
    if not isinstance(expected, dict):
        return "answers differ"
    parts = []
    for name in (k for k in expected if result.get(k) != expected[k]):
        here, there = result.get(name), expected[name]
        if isinstance(here, list) and isinstance(there, list):
            pairs = itertools.zip_longest(here, there, fillvalue="nothing")
            here, there = next((a, b) for a, b in pairs if a != b)
        parts.append(f"{name} differ: {here} for {there}")
    return "; ".join(parts)


def last_lines(folder: Path) -> str:
    """Return the end of what a command said."""
    return (folder / "stderr").read_text(errors="replace")[-300:].replace("\n", " ")


def main() -> int:
    """Run trials until the minutes are over, print a table, and return 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a JSON file with the counts")
    given = parser.parse_args()
    import torch

    import diptych.cli.main
    import diptych.tasks.training.tune  # noqa: F401  # so that forks begin at once

    torch.set_num_threads(1)
    draw, counts = random.Random(given.seed), dict[str, Count]()
    with tempfile.TemporaryDirectory(prefix="kills-") as place:
        root = Path(place)
        ready = []
        for work in works(root):
            folder = root / "whole" / work.name
            code, seconds = run(work, folder, False, None, False)
            if code != 0:
                raise SystemExit(
                    f"{work.name} ends with exit code {code} where nothing disturbs it: {last_lines(folder)}"
                )
            ready.append((work, work.result(folder), seconds))
            counts[work.name] = Count()
        number, end = 0, time.monotonic() + 60 * given.minutes
        while time.monotonic() < end:
            work, expected, seconds = ready[number % len(ready)]
            folder = root / f"trial-{number}"
            trial(work, folder, expected, seconds, draw, counts[work.name])
            shutil.rmtree(folder)
            number += 1
    for name, count in counts.items():
        sys.stdout.write(f"{name}: {count.trials} trials, {count.killed} kills, {len(count.lost)} lost\n")
        sys.stdout.writelines(f"  {sentence}\n" for sentence in count.lost)
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        facts = {"seed": given.seed, "minutes": given.minutes}
        given.out.write_text(json.dumps({**facts, "works": {n: vars(c) for n, c in counts.items()}}, indent=1) + "\n")
    return int(any(count.lost for count in counts.values()))


if __name__ == "__main__":
    sys.exit(main())
