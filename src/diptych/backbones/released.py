"""Files that authors have released: tables of what such a file does not state, and of how its tensors are called here.

Each table is ``assets/released/SLUG.toml``, named after its system, with the repository and commit in which the facts
were read. Nothing in a table was tried on a released file itself unless its note says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.core import Change, DataError, UsageError
from diptych.core.plain import build
from diptych.core.wording import first_of

if TYPE_CHECKING:
    from torch import Tensor

TABLES = Path(__file__).parents[1] / "assets" / "released"
_DECODER = "text_decoder."
"""Beginning of the names of CoCa's decoder."""
_UNROUNDED = re.compile(r"(.*\.)?(class_embedding|positional_embedding|logit_scale|token_embedding\..*|ln_\w+\..*)")


@dataclass(frozen=True)
class Released:
    """One released file, or several of one kind, and what such a file does not state.

    Args:
        name: by which it is asked for ("NAME?released=long-clip-l").
        files: names of the files, as the authors give them.
        note: what a user should know.
        unread: why it cannot be read here; "" where it can.
        architecture: open_clip's name of the model; "" where it is no whole CLIP.
        activation: "gelu" or "quick_gelu"; of what is no whole CLIP, that of the backbone that it needs. "": any.
        pixels: pixel recipe, see ``PixelRecipe``; None: the table's.
        model: what differs from the architecture's ``model_cfg``.
        changes: of the architecture after that, see ``backbones.changes``: each its kind and its settings.
        halved: whether the authors' own loader rounds the weights of its linear and convolution layers to float16.
        settings: of the system that reads the file.
        adds: our name -> a number that the file lacks and the system holds as a tensor.
        beside: our name -> name of the .npy file, in the folder of the weights, that holds this tensor.
        template: prompt of a class with one "{}", where the file is a space of other samples than photos; of a
            segmenter the name of a set of them.
        classes: names of a classifier's classes, in the authors' order; (): the file's user gives them.
    """

    name: str
    files: tuple[str, ...] = ()
    note: str = ""
    unread: str = ""
    architecture: str = ""
    activation: str = ""
    pixels: Mapping[str, Any] | None = None
    model: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[Mapping[str, Any], ...] = ()
    halved: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    adds: Mapping[str, float] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)
    template: str = ""
    classes: tuple[str, ...] = ()

    def architecture_changes(self) -> tuple[Change, ...]:
        """Return the changes, as ``backbones.changes`` applies them; "None" in a table is None."""
        return tuple(
            Change(str(one["kind"]), {k: None if v == "None" else v for k, v in one.items() if k != "kind"})
            for one in self.changes
        )


@dataclass(frozen=True)
class ReleasedTable:
    """The released files of a system, and how their tensors are called here.

    Args:
        source: the authors' repository.
        commit: in which the facts were read.
        licence: of the weights, as stated.
        pixels: pixel recipe of the files that have no other.
        file: the files.
        opens: key of the file under which the tensors lie, "a.b" for one inside another; "": any usual one, or none.
        marks: pattern of a name that only this format has; "": recognised by nothing.
        rename: pattern of a whole name -> our name, "" to leave the tensor out, "a|b|c" to split its rows in equal
            parts, "a#0" for a part of a. The first pattern that fits counts; a name that none fits stays as it is.
        begin: beginnings of the file's names -> what stands for them in the patterns.
        end: what stands in our names for beginnings of them -> these.
        squeeze: patterns of our names of tensors whose axes of one entry go.
        transpose: our names of tensors whose two axes change places.
        stack: our names whose parts become one more axis; the others' parts are put one below another.
        splice: our name -> name of the table whose rows replace its rows from ``kept`` on.
        kept: first rows that ``splice`` leaves.
        spread: our name -> name of a vector that is added to every row but the first.
    """

    source: str
    commit: str
    licence: str = ""
    pixels: Mapping[str, Any] | None = None
    file: tuple[Released, ...] = ()
    opens: str = ""
    marks: str = ""
    rename: Mapping[str, str] = field(default_factory=dict)
    begin: Mapping[str, str] = field(default_factory=dict)
    end: Mapping[str, str] = field(default_factory=dict)
    squeeze: tuple[str, ...] = ()
    transpose: tuple[str, ...] = ()
    stack: tuple[str, ...] = ()
    splice: Mapping[str, str] = field(default_factory=dict)
    kept: int = 0
    spread: Mapping[str, str] = field(default_factory=dict)


def slugs() -> list[str]:
    """Return the slugs of the systems that have a table, sorted."""
    return sorted(path.stem for path in TABLES.glob("*.toml"))


@cache
def table(slug: str) -> ReleasedTable:
    """Return the table of a system.

    Raises:
        UsageError: it has none.

    Example:
        >>> table("long-clip").file[1].name
        'long-clip-l'
    """
    import tomllib

    path = TABLES / f"{slug}.toml"
    if slug not in slugs():
        raise UsageError(f"No released file of {slug!r} is read here: the systems with one are {', '.join(slugs())}.")
    read = build(ReleasedTable, tomllib.loads(path.read_text(encoding="utf-8")), str(path))
    return replace(read, file=tuple(replace(one, pixels=one.pixels or read.pixels) for one in read.file))


def row(name: str) -> tuple[str, Released]:
    """Return the slug and the row of a released file by its name.

    Raises:
        UsageError: there is no such name, or the file cannot be read here.
    """
    rows = {one.name: (slug, one) for slug in slugs() for one in table(slug).file}
    if name not in rows:
        import difflib

        near = ", ".join(difflib.get_close_matches(name, rows, n=3, cutoff=0.0))
        raise UsageError(f"{name!r} is no released file that is known here: the nearest are {near}.")
    slug, known = rows[name]
    if known.unread:
        raise UsageError(f"The released file {name} is not read here: {known.unread}.")
    return slug, known


def recognised(names: Mapping[str, object]) -> ReleasedTable | None:
    """Return the table of a whole CLIP whose ``marks`` fit a name, None if there is none."""
    for slug in slugs():
        marks = table(slug).marks
        if marks and any(re.fullmatch(marks, name) for name in names):
            return table(slug)
    return None


def translated(
    state: Mapping[str, Tensor], by: ReleasedTable, source: object
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a released file by our names, and our names -> the file's, for messages.

    Raises:
        DataError: two tensors have one name of ours, a part is missing, or rows cannot be split or put together.
    """
    import torch  # not at the top: a list of systems reads the tables, and loads no torch

    out: dict[str, Tensor] = {}
    origins: dict[str, str] = {}
    parts: dict[str, dict[int, Tensor]] = {}
    for name, tensor in state.items():
        for target, value in _targets(name, tensor, by, source):
            ours, sign, number = target.partition("#")
            if target in origins:
                raise DataError(f"{source} has two tensors for {target}, {origins[target]} and {name}: it is damaged.")
            origins[target] = name
            if sign:
                origins.setdefault(ours, name)
                parts.setdefault(ours, {})[int(number)] = value
            else:
                out[ours] = value
    for ours, pieces in parts.items():
        if absent := sorted(set(range(max(pieces))) - set(pieces))[:1]:
            beside = origins[f"{ours}#{max(pieces)}"]
            raise DataError(
                f"{source} lacks part {absent[0]} of {ours}, beside {beside}: it is damaged, or no such file."
            )
        out[ours] = _joined(ours, pieces, ours in by.stack, source)
    for ours in out:
        if any(re.fullmatch(pattern, ours) for pattern in by.squeeze):
            out[ours] = out[ours].squeeze()
        if ours in by.transpose:
            out[ours] = out[ours].mT.contiguous() if out[ours].ndim == 2 else out[ours]
    for ours, other in by.splice.items():
        if ours in out and other in out:
            if out[ours].shape != out[other].shape:
                raise DataError(
                    f"{source} has the tables {origins[ours]} and {origins[other]} of other shapes, "
                    f"{tuple(out[ours].shape)} and {tuple(out[other].shape)}: it is damaged."
                )
            out[ours] = torch.cat([out[ours][: by.kept], out.pop(other)[by.kept :]])
    for ours, other in by.spread.items():
        if ours in out and other in out:
            if out[ours].shape[1:] != out[other].shape:
                raise DataError(
                    f"{source} has {origins[other]} of the shape {tuple(out[other].shape)}, which cannot be added to "
                    f"the rows of {origins[ours]}, {tuple(out[ours].shape)}: it is damaged."
                )
            out[ours] = torch.cat([out[ours][:1], out[ours][1:] + out.pop(other)])
    return out, origins


def _targets(name: str, tensor: Tensor, by: ReleasedTable, source: object) -> list[tuple[str, Tensor]]:
    short = _begun(name, by.begin)
    for pattern, target in by.rename.items():
        match = re.fullmatch(pattern, short)
        if match is None:
            continue
        if not target:
            return []
        ours = [_begun(one, by.end) for one in match.expand(target).split("|")]
        if tensor.ndim == 0 or len(tensor) % len(ours):
            if len(ours) > 1:
                raise DataError(
                    f"{source} has {name} of the shape {tuple(tensor.shape)}, whose rows are no {len(ours)} equal "
                    f"parts: it is damaged, or no such file."
                )
            return [(ours[0], tensor)]
        return list(zip(ours, tensor.chunk(len(ours)), strict=True))
    return [(name, tensor)]


def _begun(name: str, beginnings: Mapping[str, str]) -> str:
    """Return a name with the first of these beginnings that it has replaced."""
    for theirs, ours in beginnings.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def _joined(ours: str, pieces: Mapping[int, Tensor], stacked: bool, source: object) -> Tensor:
    import torch

    ordered = [pieces[i].squeeze() if stacked else pieces[i] for i in range(len(pieces))]
    try:
        return torch.stack(ordered) if stacked else torch.cat(ordered)
    except RuntimeError as error:
        shapes = ", ".join(str(tuple(p.shape)) for p in ordered)
        raise DataError(f"{source} has parts of {ours} of other shapes, {shapes}: it is damaged.") from error


def misfit(held: Mapping[str, Tensor], wanted: Mapping[str, Tensor], origins: Mapping[str, str] | None = None) -> str:
    """Say which tensors are missing, unexpected, of another shape, or of whole numbers where others are wanted, which
    were rounded; the first three of each; "": none.

    Args:
        held: what was read.
        wanted: what must be there.
        origins: our names -> the file's, which are said.

    Example:
        >>> import torch
        >>> misfit({"a": torch.ones(2), "c": torch.ones(1)}, {"a": torch.ones(1), "b": torch.ones(1)})
        '1 missing (b); 1 unexpected (c); 1 of another shape (a)'
    """
    origins = origins or {}
    faults = {
        "missing": sorted(wanted.keys() - held.keys()),
        "unexpected": sorted(origins.get(k, k) for k in held.keys() - wanted.keys()),
        "of another shape": sorted(
            origins.get(k, k) for k in wanted.keys() & held.keys() if wanted[k].shape != held[k].shape
        ),
        "of whole numbers": sorted(
            origins.get(k, k)
            for k in wanted.keys() & held.keys()
            if wanted[k].is_floating_point() and not held[k].is_floating_point()
        ),
    }
    return "; ".join(
        f"{len(names)} {fault} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for fault, names in faults.items()
        if names
    )


def remedy(held: Mapping[str, Tensor], wanted: Mapping[str, Tensor], otherwise: str) -> str:
    """Return what to do about a misfit: get the file again where all but a few tensors are those that are wanted.

    Args:
        held: what was read.
        wanted: what must be there.
        otherwise: what to do where the file belongs to something else than was said.

    Example:
        >>> import torch
        >>> wanted = {str(i): torch.ones(2, 3) for i in range(40)}
        >>> remedy({name: t for name, t in wanted.items() if name != "7"}, wanted, "state the architecture")
        'all else fits, so the file is damaged or was changed: get it again'
        >>> remedy({"a": torch.ones(2)}, wanted, "state the architecture")
        'state the architecture'
        >>> remedy({**wanted, "7": torch.ones(3, 2)}, wanted, "state the architecture")
        'all else fits, so a tensor was transposed: get the file again'
        >>> remedy({**wanted, "7": torch.ones(9, 3)}, wanted, "state the architecture")
        'state the architecture'
    """
    apart = held.keys() ^ wanted.keys()
    shaped = [name for name in held.keys() & wanted.keys() if held[name].shape != wanted[name].shape]
    if len(apart) + len(shaped) > max(1, len(wanted) // 20):
        return otherwise
    if not shaped:
        return "all else fits, so the file is damaged or was changed: get it again"
    if all(held[name].shape == wanted[name].shape[::-1] for name in shaped):
        return "all else fits, so a tensor was transposed: get the file again"
    return otherwise


def refuse_not_finite(held: Mapping[str, Tensor], source: object) -> None:
    """Refuse weights that hold NaN or infinite numbers, with which vectors and maps are NaN.

    A decoder may hold anything here: open_clip's CoCa leaves tensors of its decoder as they lie in memory, and vectors
    never read them. What it writes is looked at where it writes, see ``nn.text.decode.Reader``.

    Args:
        held: our names -> tensors.
        source: the file, for messages.

    Raises:
        DataError: there are some; the first three tensors are named.

    Example:
        >>> import torch
        >>> refuse_not_finite({"a": torch.tensor([1.0, -torch.inf]), "b": torch.tensor([torch.nan])}, "clip.pt")
        Traceback (most recent call last):
        diptych.core.errors.DataError: clip.pt holds numbers that are not finite (a, b): its training diverged, or ...
    """
    import torch

    names = [
        name
        for name, t in sorted(held.items())
        if t.is_floating_point()
        and not name.startswith(_DECODER)
        and not t.sum(dtype=torch.float32).isfinite()  # a sum is a tenth of the work
        and not bool(t.isfinite().all())
    ]
    if names:
        raise DataError(
            f"{source} holds numbers that are not finite ({first_of(names)}): its training diverged, or they were too "
            f"large for float16; get an earlier checkpoint, or one in float32."
        )


def rounded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a CLIP's tensors as loaders round them that fill a model which is float16 already but for its norms,
    embeddings and positions.
    """
    return {
        name: t if _UNROUNDED.fullmatch(name) or not t.is_floating_point() else t.half().to(t.dtype)
        for name, t in state.items()
    }
