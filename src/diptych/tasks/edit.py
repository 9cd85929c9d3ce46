"""Change pictures and clips by words, or make them from words; each is written beside what it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from diptych.core import (
    EditAsk,
    Edited,
    Editor,
    Evidence,
    FittedEditor,
    Inverter,
    Kit,
    MissingPart,
    Run,
    StyleGenerator,
    UnreadableItem,
    UsageError,
)
from diptych.core.wording import Guided
from diptych.data.files import write_whole
from diptych.data.samples import need_readable, openable
from diptych.features import artefacts
from diptych.tasks.defaults import default
from diptych.tasks.label_maps.segmented import stems
from diptych.tasks.pages.sheets import picture_of, rows_sheet, shown
from diptych.tasks.provenance import CHANGED, MADE, film, marked
from diptych.train.parameters import resumable

MOVED = 1e-6


@dataclass(frozen=True)
class Pair(Guided):
    """One picture or clip before and after.

    Args:
        name: what the user calls it.
        before: (3, H, W) or (T, 3, H, W) in [0, 1]; None where it was made from words.
        after: the same, perhaps of another size.
        change: (S,) what was added to its style channels; None where the editor has none.
        facts: what the editor says of it.
        text: what it was made from; "" where it was not made from words alone.
    """

    name: str
    before: Tensor | None
    after: Tensor
    change: Tensor | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""

    def image(self) -> Any:
        """Return both side by side; of clips, the frames before above those after."""
        ends = [t for t in (self.before, self.after) if t is not None]
        clip = any(t.ndim == 4 for t in ends)
        return rows_sheet([list(t) for t in ends] if clip else [ends])

    def result(self) -> list[Any]:
        """Return what came out alone, as large as it is: one picture, or those of a clip."""
        return [picture_of(t) for t in (self.after if self.after.ndim == 4 else [self.after])]


@dataclass(frozen=True)
class Edits:
    """Edited pictures, and what was asked.

    Args:
        ask: the words, the start and the strength.
        pairs: one per picture that could be read.
        channels: style channels per layer of the generator; () without one.
        failed: one error for each other picture.
    """

    ask: EditAsk
    pairs: tuple[Pair, ...]
    channels: tuple[int, ...] = ()
    failed: tuple[UnreadableItem, ...] = ()

    def row(self, pair: Pair) -> dict[str, Any]:
        """Return plain data of a picture: what the editor says, and the channels that moved, as layer, channel and
        strength, the strongest first.
        """
        text = {"text": pair.text} if pair.text else {}
        moved = {"moved": strengths(pair.change, self.channels)} if self.channels else {}
        return {"name": pair.name, **text, **moved, **pair.facts}

    def facts(self) -> dict[str, Any]:
        """Return plain data of the request."""
        targets = self.ask.targets
        return {
            "source": self.ask.source,
            "target": targets[0] if len(targets) == 1 else list(targets),
            "strength": self.ask.strength,
            "channels": list(self.channels),
        }

    def write(self, pair: Pair, path: Path, method: str, *, overwrite: bool = False) -> None:
        """Write a picture as PNG; what had a picture before also alone, to ``edited/NAME.png``: a clip as animated PNG,
        and with PyAV as MP4.

        Every file says in its metadata that a program made or changed it, and from which words.
        """
        kind = CHANGED if self.ask.start in ("pictures", "clips") else MADE
        target = pair.text or ", ".join(self.ask.targets)
        words = f"source: {self.ask.source}; target: {target}; method: {method}"
        write_whole(path, marked([pair.image()], kind, words), overwrite=overwrite)
        if pair.before is not None:
            write_whole(alone(path), marked(pair.result(), kind, words), overwrite=overwrite)
        if pair.before is not None and pair.after.ndim == 4:
            moving = film([shown(t) for t in pair.after], kind, words)
            if moving is not None:
                write_whole(film_of(path), moving, overwrite=overwrite)


def files(out: Path, names: Sequence[str]) -> list[Path]:
    """Return where the pictures of these names go, each its own: a stem that occurs again gets a number."""
    return [out / f"{stem}.png" for stem in stems(names)]


def alone(path: Path) -> Path:
    """Return where the result goes of which ``path`` shows before and after."""
    return path.parent / "edited" / path.name


def film_of(path: Path) -> Path:
    """Return where an edited clip goes as MP4, of which ``path`` shows before and after."""
    return alone(path).with_suffix(".mp4")


def strengths(change: Tensor | None, channels: Sequence[int]) -> list[dict[str, Any]]:
    """Return {"layer", "channel", "strength"} of each (S,) style channel that moved, the strongest first."""
    if change is None:
        return []
    places = [(layer, channel) for layer, count in enumerate(channels) for channel in range(count)]
    rows = [
        {"layer": place[0], "channel": place[1], "strength": round(float(v), 6)}
        for place, v in zip(places, change, strict=True)
    ]
    return sorted((row for row in rows if abs(row["strength"]) > MOVED), key=lambda row: -abs(row["strength"]))


def fitted_editor(
    kit: Kit,
    run: Run,
    *,
    method: Editor | None = None,
    evidence: Evidence[Any] | None = None,
    folder: Path | None = None,
    workers: int = 0,
    facts: Mapping[str, Any] | None = None,
) -> FittedEditor:
    """Fit an editor on its parts and evidence, or read one that was fitted on the same parts before. One that was kept
    without an inverter takes that of the kit.

    Args:
        kit: backbone and parts, see ``edit_parts.kit_for``.
        run: device and seed.
        method: any editor; None is DeltaEdit's variant "small".
        evidence: what it learns from; None: nothing but the parts.
        folder: of the fitted editor: read where it is, else written; None keeps nothing.
        workers: processes that load and augment what it learns from, see ``train.parameters.checkpointed``.
        facts: what the folder says beside, see ``features.artefacts.save``.

    Raises:
        UsageError: the folder holds an editor of another method, or of other parts.
        DataError: the folder holds no fitted editor.
    """
    chosen = method or default("edit", Editor)
    of = None if folder is None else artefacts.begins(chosen, kit.parts)
    with resumable(folder, workers=workers, of=of):
        known: FittedEditor = artefacts.read_or_fit(
            folder, lambda: kit, chosen, lambda: chosen.fit(kit, evidence or Evidence(), run), **(facts or {})
        )[0]
    if "inverter" in kit.parts and getattr(known, "inverter", kit) is None:
        known = replace(known, inverter=kit.parts["inverter"])  # type: ignore[type-var]
    for name, part in kit.parts.items():
        if getattr(known, name, None) is part:  # the hash of an inverter of 1 GB takes seconds
            continue
        fingerprint = getattr(getattr(known, name, None), "fingerprint", None)
        if fingerprint is not None and fingerprint != getattr(part, "fingerprint", fingerprint):
            raise UsageError(f"{folder} holds an editor of another {name}: give that one, or another {{fitted}}.")
    return known


def drawn_ask(ask: EditAsk, generator: StyleGenerator, count: int, run: Run) -> EditAsk:
    """Return the request with ``count`` pictures that a generator draws by the seed of the run."""
    return replace(ask, styles=generator.sample(count, run.generator("edit")))


def edit(fitted: FittedEditor, ask: EditAsk, run: Run, *, channels: tuple[int, ...] = ()) -> Edits:
    """Answer a request; pictures that cannot be read are left out and named.

    Raises:
        UsageError: the editor cannot answer such a request, or source and target are the same words.
        DataError: there is no picture that can be read.
        MissingPart: photos were given, and the editor was fitted without an inverter.
    """
    check_words(ask.source, ask.targets)
    given = ask.images if ask.images is not None else ask.clips
    if given is None:
        return Edits(ask, pairs_of(ask, fitted.edit(ask, run), run), channels)
    readable, failed = openable(given)
    if not len(readable):
        need_readable(given)
    some: dict[str, Any] = {"images" if ask.images is not None else "clips": readable}
    if ask.masks is not None:
        some["masks"] = [ask.masks[i] for i in readable.indices]
    edited = fitted.edit(replace(ask, **some), run)
    return Edits(ask, _pairs([given.name(i) for i in readable.indices], edited), channels, tuple(failed))


def names_of(ask: EditAsk, run: Run) -> list[str]:
    """Return names of pictures of a request without the user's own: by seed and number, or by their words."""
    if ask.styles is not None:
        return [f"seed{run.seed}-{i + 1}" for i in range(len(ask.styles))]
    slugs = ["-".join("".join(c if c.isalnum() else " " for c in t).split())[:60] or "picture" for t in ask.targets]
    return [f"{slug}-{i + 1}" for slug in slugs for i in range(ask.count)]


def check_words(source: str, targets: Sequence[str], *, with_source: bool = False) -> None:
    """Refuse words that name no change, asked before anything is loaded; ``told``: the editor must be told what is
    there.

    Raises:
        UsageError: there is no target, a source is missing, or source and target are the same words.
    """
    if not targets or not all(t.strip() for t in targets) or (with_source and not source.strip()):
        there, source_too = (
            ("what is there and for ", '{source}, such as "a red circle", and ') if with_source else ("", "")
        )
        raise UsageError(
            f'An edit needs words for {there}what should be: give {source_too}{{target}}, such as "a blue circle".'
        )
    for target in targets:
        if source.strip() and source.split() == target.split():
            raise UsageError(f"Source and target are the same words, {source!r}: name what should change.")


def need_inverter(inverter: Inverter | None, name: str) -> None:
    """Refuse photos where nothing inverts them.

    Raises:
        MissingPart: there is no inverter.
    """
    if inverter is None:
        raise MissingPart(
            f"The generator {name} cannot find photos in its style space, having no inverter: give a file of e4e or "
            f"pSp for it, such as e4e_ffhq_encode.pt, as {{inverter}}, or small as {{generator}}."
        )


def pairs_of(ask: EditAsk, edited: Edited, run: Run) -> tuple[Pair, ...]:
    """Return what was made of a request that has no pictures of the user's own, under names of ours."""
    texts = [] if ask.styles is not None else [text for text in ask.targets for _ in range(ask.count)]
    return _pairs(names_of(ask, run), edited, texts)


def _pairs(names: Sequence[str], edited: Edited, texts: Sequence[str] = ()) -> tuple[Pair, ...]:
    count = len(edited.after)
    changes: Sequence[Tensor | None] = [None] * count if edited.change is None else list(edited.change)
    before: Sequence[Tensor | None] = list(edited.before) or [None] * count
    facts = edited.facts or ({},) * count
    rows = zip(names, before, edited.after, changes, facts, texts or [""] * count, strict=True)
    return tuple(Pair(*row) for row in rows)
