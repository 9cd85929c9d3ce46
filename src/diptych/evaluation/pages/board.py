"""A board as one HTML file: pictures, plots and numbers inside, nothing loaded from anywhere, no script."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from diptych import __version__
from diptych.core import Samples
from diptych.core.wording import number_of
from diptych.data.files import write_whole
from diptych.evaluation.few_shot.board import Board
from diptych.evaluation.few_shot.episodes import chosen_on
from diptych.evaluation.few_shot.gains import Row
from diptych.evaluation.pages import examples, plots, trust
from diptych.evaluation.pages.trust import called, percent
from diptych.tasks.classified import Classified
from diptych.tasks.pages import photo_page
from diptych.tasks.pages.page import CLOSING, TABLE_END, opening, table


def write(
    board: Board, path: Path, *, classified: Classified | None = None, photos: Samples[Any] | None = None
) -> None:
    """Write the report over an older one, with predictions above the board, and their photos in the same order."""
    write_whole(path, html(board, classified, photos), overwrite=True)


def html(board: Board, classified: Classified | None = None, photos: Samples[Any] | None = None) -> str:
    """Return the page."""
    parts = [
        *_head(board),
        *(_photos(classified, photos) if classified else ()),
        *_table(board),
        *trust.acting(board),
        *_curves(board),
        *examples.examples(board),
        *trust.reliability(board),
        *_protocol(board),
        *_repeat(board),
        *_skipped(board, classified),
        f'<p class="note">Written by diptych {__version__}, {escape(board.facts["date"])}. '
        "No script, nothing loaded from elsewhere.</p>",
        CLOSING,
    ]
    return "\n".join(parts)


def _head(board: Board) -> Iterator[str]:
    title = f"{board.data.name}: classification with {board.facts['spec']['name']}"
    base = board.base()
    measured = board.facts["measured"]
    words = f"{len(board.test)} {measured} photos, {len(board.classes)} classes, {len(board.rows)} rows."
    if base is not None:
        words += f" Class names alone reach {percent(base.metrics['acc1'])} % top-1."
    best = board.best
    if best is not None:
        seen = "that fit had seen too" if best.held["seen"] else "that no system saw"
        words += f" Recommended, by {best.held['items']:.0f} photos apart from {measured} {seen}: {called(best)}, "
        words += f"{percent(best.held['acc1'])} % there and {percent(best.metrics['acc1'])} % on {measured}."
    yield opening(title, f'<p class="lead">{escape(words)}</p>')
    if board.interrupted:
        yield (
            '<p class="warn">Interrupted: this board holds only the rows that were finished. The same command goes on '
            "from here.</p>"
        )
    for label, reason in board.late.items():
        yield f'<p class="warn"><b>{escape(label)}</b>: {escape(reason)}</p>'


def _photos(classified: Classified, photos: Samples[Any] | None) -> Iterator[str]:
    yield (
        '<section><h2>What is on these photos?</h2><p class="note">Zero-shot: '
        f"{len(classified.classes)} class names, no training. "
    )
    yield f"{photo_page.meaning(classified)}</p>"
    yield from photo_page.cards(classified, photos)
    yield "</section>"


def _table(board: Board) -> Iterator[str]:
    five = len(board.classes) >= 5
    top5 = ["top-5"] if five else []
    last = ("ECE", "NLL", "fit,<br>predict, s", "photos,<br>texts", "peak MiB")
    heads = ["system", "shots", "top-1", "gain over<br>zero-shot", *top5, "mean per<br>class", *last]
    caption = "Percent, mean over seeds; small figures are 95 % intervals. NLL in nats. "
    caption += "p: paired test against zero-shot, corrected by Holm."
    yield "<section><h2>Board</h2>" + table(heads, caption=caption)
    shots: int | None = None
    for row in board.rows:
        kind = "base" if row is board.base() else "new" if shots is not None and row.shots != shots else ""
        shots = row.shots
        yield f'<tr class="{kind}"><th scope="row">{escape(row.label)}</th>'
        yield f"<td>{row.shots or '–'}</td><td>{_with_interval(row, 'acc1')}</td><td>{_gain(row)}</td>"
        if five:
            yield f"<td>{percent(row.metrics['acc5'])}</td>"
        yield f"<td>{_with_interval(row, 'mean_per_class_recall')}</td><td>{percent(row.metrics['ece'])}</td>"
        low, high = row.ci95["nll"]
        yield f'<td>{row.metrics["nll"]:.2f}<span class="i">{low:.2f}–{high:.2f}</span></td>'
        yield f"<td>{row.seconds('fit'):.2f}<span class='i'>{row.seconds('predict'):.2f}</span></td>"
        yield f"<td>{row.records[0].images or '–'}<span class='i'>{row.records[0].extra_texts or ''}</span></td>"
        yield f"<td>{max(r.peak_memory_mib for r in row.records):.0f}</td></tr>"
    yield TABLE_END
    encode = board.facts["encode"]
    n, seconds = encode["images"], encode["image_seconds"]
    rate = (
        f"{n:.0f} pictures and views in {seconds:.1f} s, {n / max(seconds, 1e-9):.0f} a second"
        if n
        else "all pictures came from the cache"
    )
    yield (f'<p class="note">Encoding apart from fit and predict: {rate}; class texts {encode["text_seconds"]:.1f} s. ')
    yield "Peak is the largest memory of the whole process up to that row. "
    yield "Photos and texts are what fit was given besides the class names.</p>"
    for label, reason in board.missing.items():
        yield f'<p class="note"><b>{escape(label)}</b> is not on the board: {escape(reason)}</p>'
    yield "</section>"


def _curves(board: Board) -> Iterator[str]:
    labels = list(dict.fromkeys(row.label for row in board.rows if row.shots))
    if not labels:
        return
    series = [
        plots.Series(label, tuple(_point(r) for r in board.rows if r.label == label and r.shots)) for label in labels
    ]
    base = board.base()
    title = f"Top-1 accuracy against shots per class for {', '.join(labels)}"
    yield "<section><h2>Accuracy against shots</h2><figure><div class='scroll plot'>"
    yield plots.curves(
        series, _point(base) if base else None, title=title, x_label="labelled photos per class", y_label="top-1, %"
    )
    yield "</div>" + plots.legend(labels, "zero-shot, ensemble" if base else None)
    yield ("<figcaption>Whiskers and the grey band are 95 % intervals. Points stand side by side only to be seen.")
    yield "</figcaption></figure></section>"


def _protocol(board: Board) -> Iterator[str]:
    split = chosen_on(board.data)
    rules = {
        "coop": f"Whatever it chooses, it chooses on min(shots, 4) {split} items per class, as CoOp does.",
        "full": f"Whatever it chooses, it chooses on all {split} items, as Tip-Adapter and GDA publish.",
        "none": f"It saw no {split} item to choose on and chose nothing: its settings are the same for all data sets.",
    }
    seeds = ", ".join(str(s) for s in board.plan.seeds)
    measured, several = board.facts["measured"], len(board.plan.seeds) > 1
    together = (
        f"{measured} items and seeds together: how far a number would move with other photos of this kind and other "
        "draws. Three to five seeds hardly tell how far seeds differ, and the intervals allow for it."
        if several
        else f"{measured} items: how far a number would move with other photos of this kind. How far other draws would "
        "move it is not in them, since there is one seed."
    )
    paragraphs = (
        f"Each system saw the class names and, at S shots, S labelled train photos per class, by "
        f"seed{'s' if several else ''} {seeds}; "
        f"the 4-shot draw "
        f"holds the 1-shot draw. {rules[board.plan.val]} The {len(board.test)} {measured} "
        f"photos were seen "
        "only to score. Draws pass over files that cannot be read.",
        f"Intervals are 95 % intervals over {together} The gain is paired: the same items on both sides, so its "
        "interval is narrower than a comparison "
        "of two rows by eye; where it holds 0, the difference may be chance. The p-value belongs to the same interval, "
        "and is corrected for the number of rows. The recommended row was chosen on photos apart from these.",
        "ECE is the mean gap between confidence and accuracy over 15 bins of equal width. It has no interval, since "
        "resamples overstate it. Probabilities are a softmax over the classes.",
    )
    yield "<section><h2>How this was measured</h2>" + "".join(f"<p>{escape(p)}</p>" for p in paragraphs) + "</section>"


def _repeat(board: Board) -> Iterator[str]:
    about, spec = board.facts, board.facts["spec"]
    threads = number_of(about["threads"], "thread")
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    facts = {
        "data": f"{about['source']}, SHA-256 {about['data_hash'][:16]}…",
        "backbone": f"{spec['name']} ({spec['architecture']}), fingerprint {about['fingerprint']}",
        "weights": f"{spec['weights'][:16]}…" + (f", licence {spec['licence']}" if spec.get("licence") else ""),
        "machine": "; ".join((about["machine"], f"{threads}, {about['device']}, {about['precision']}")),
        "versions": versions,
        "templates": f"{len(board.classes.templates)}, hash {board.classes.template_hash}",
        "date": about["date"],
    }
    command = about["command"] or f"diptych board classify {about['source']}"
    yield (f"<section><h2>Repeat it</h2><pre>{escape(command)}</pre><dl>")
    for name, value in facts.items():
        yield f"<dt>{name}</dt><dd>{escape(value)}</dd>"
    yield "</dl><details><summary>Class names and templates</summary>"
    for texts in (board.classes.names, board.classes.templates):
        yield f'<p class="small">{escape(" | ".join(texts))}</p>'
    yield "</details></section>"


def _skipped(board: Board, classified: Classified | None) -> Iterator[str]:
    names = [str(e) for e in (*board.failed, *(classified.failed if classified else ()))]
    yield (
        "<section><h2>Skipped "
        f"files</h2><p>{'None: every file could be read.' if not names else f'{len(names)} could not be read:'}</p>"
    )
    if names:
        yield "<ul>" + "".join(f"<li><code>{escape(n)}</code></li>" for n in names[:200]) + "</ul>"
        if len(names) > 200:
            yield f"<p>and {len(names) - 200} more; board.json names all.</p>"
    yield "</section>"


def _point(row: Row) -> plots.Point:
    low, high = row.ci95["acc1"]
    return plots.Point(row.shots, row.metrics["acc1"], low, high)


def _with_interval(row: Row, name: str) -> str:
    low, high = row.ci95[name]
    return f'{percent(row.metrics[name])}<span class="i">{percent(low)}–{percent(high)}</span>'


def _gain(row: Row) -> str:
    if row.gain is None:
        return "baseline"
    gain = row.gain
    kind = "up" if gain.low > 0 else "down" if gain.high < 0 else ""
    p = "" if row.p is None else "p &lt; .001" if row.p < 0.001 else f"p {row.p:.3f}".replace("0.", ".")
    interval = f"{100 * gain.low:+.1f} to {100 * gain.high:+.1f}"
    return (
        f'<span class="{kind}">{100 * gain.value:+.1f}</span><span class="i">{interval}</span><span '
        f'class="i">{p}</span>'
    )
