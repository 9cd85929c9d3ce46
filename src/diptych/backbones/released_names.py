"""Names of a released file's tensors: from the file's to ours, and back for messages; see ``backbones.released``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from diptych.backbones.released import ReleasedTable
from diptych.backbones.released_checks import Spelling
from diptych.core import DataError

if TYPE_CHECKING:
    from torch import Tensor


class ReadTensors(dict[str, "Tensor"]):
    """The tensors of a file by name, without the ``wrapper`` that training put before all names but the ``bare`` ones.

    Example:
        >>> read = ReadTensors({"module.conv": 0, "count": 1}).without("module.")
        >>> dict(read), read.spelt("conv"), read.spelt("count")
        ({'conv': 0, 'count': 1}, 'module.conv', 'count')
    """

    wrapper: str = ""
    bare: frozenset[str] = frozenset()

    def without(self, wrapper: str) -> ReadTensors:
        """Return the tensors without one more wrapper, which some names may lack."""
        out = ReadTensors({name.removeprefix(wrapper): tensor for name, tensor in self.items()})
        out.wrapper = self.wrapper + wrapper
        out.bare = self.bare | {name for name in self if not name.startswith(wrapper)}
        return out

    def spelt(self, name: str) -> str:
        """Return the name that a tensor has in the file."""
        return name if name in self.bare else self.wrapper + name


def wrapper_of(state: Mapping[str, Tensor]) -> str:
    """Return what stands before the names in the file of these tensors."""
    return state.wrapper if isinstance(state, ReadTensors) else ""


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
        theirs = state.spelt(name) if isinstance(state, ReadTensors) else name
        for target, value in _parts(name, tensor, by, f"{source} has {theirs}"):
            ours, sign, number = target.partition("#")
            if target in origins:
                raise DataError(
                    f"{source} has two tensors for {target}, {origins[target]} and {theirs}: it is damaged."
                )
            origins[target] = theirs
            if sign:
                origins.setdefault(ours, theirs)
                parts.setdefault(ours, {})[int(number)] = value
            else:
                out[ours] = value
    for ours, pieces in parts.items():
        if absent := sorted(set(range(max(pieces))) - set(pieces))[:1]:
            beside = origins[f"{ours}#{max(pieces)}"]
            lacks = spelling(by, origins, source, wrapper_of(state)).absent(f"{ours}#{absent[0]}")
            raise DataError(f"{source} lacks {lacks}, beside {beside}: it is damaged, or no such file.")
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


def _parts(name: str, tensor: Tensor, by: ReleasedTable, it: str) -> list[tuple[str, Tensor]]:
    """Return a tensor of the file, in parts where it becomes several, by our names."""
    ours = _targets(name, by)
    if len(ours) < 2:
        return [(one, tensor) for one in ours]
    if tensor.ndim == 0 or len(tensor) % len(ours):
        raise DataError(
            f"{it} of the shape {tuple(tensor.shape)}, whose rows are no {len(ours)} equal parts: it is damaged, or no "
            f"such file."
        )
    return list(zip(ours, tensor.chunk(len(ours)), strict=True))


def _targets(name: str, by: ReleasedTable) -> list[str]:
    """Return our names of a tensor of the file, none where it is left out."""
    short = _begun(name, by.begin)
    for pattern, target in by.rename.items():
        if match := re.fullmatch(pattern, short):
            return [_begun(one, by.end) for one in match.expand(target).split("|")] if target else []
    return [name]


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


def spelling(by: ReleasedTable, origins: Mapping[str, str], source: object = "", wrapper: str = "") -> Spelling:
    r"""Return how a translated file calls its tensors, and those that it lacks.

    A name of ours may lack its beginning, which systems take off. Where nothing tells the file's name, it stays ours.

    Args:
        by: by which it was translated.
        origins: our names -> the file's, of ``translated``.
        source: the file, for messages.
        wrapper: what stands before the names in the file, see ``ReadTensors``.

    Example:
        >>> by = ReleasedTable("a/b", "123", rename={r"blocks\.(\d+)\.fc\.(.+)": r"net.layers.\1.\2"})
        >>> names = spelling(by, {"net.layers.0.bias": "blocks.0.fc.bias"})
        >>> names.held("layers.0.bias"), names.absent("layers.1.weight"), names.absent("scale")
        ('blocks.0.fc.bias', 'blocks.1.fc.weight', 'scale')
    """
    theirs = sorted({name.removeprefix(wrapper) for name in origins.values()})
    pieces = sorted((len(some), some) for some in {tuple(n.split(".")[:depth]) for n in origins for depth in (0, 1, 2)})
    beginnings = ["".join(f"{piece}." for piece in some) for _, some in pieces]

    def held(ours: str) -> str:
        return next((origins[start + ours] for start in beginnings if start + ours in origins), ours)

    def absent(ours: str) -> str:
        for whole in (start + ours + part for start in beginnings for part in ("", "#0")):
            for name in _sources(whole, by, theirs):
                if whole in _targets(name, by) and name not in theirs:
                    return wrapper + name
        return wrapper + ours if _targets(ours, by) == [ours] else ours

    return Spelling(held, absent, source)


def _sources(ours: str, by: ReleasedTable, theirs: Sequence[str]) -> Iterator[str]:
    """Yield names that the table may read under a name of ours, the likeliest first: those of other tensors of the file
    which the same pattern reads, with other numbers and ends in them.
    """
    shorts = [f"{s}{ours.removeprefix(e)}" for s, e in by.end.items() if ours.startswith(e)] + [ours]
    begin = [*by.begin.items(), ("", "")]
    for pattern, target in by.rename.items():
        for one, short in ((o, s) for o in target.split("|") if o for s in shorts):
            groups = _groups(one, short)
            if groups is None:
                continue
            read = (re.fullmatch(pattern, _begun(name, by.begin)) for name in theirs)
            likely = [_filled(match, groups) for match in read if match is not None]
            plain = re.sub(r"\((?!\?)[^()]*\)", "\0", pattern).split("\0")
            values = [groups.get(i + 1, "") for i in range(len(plain) - 1)]
            likely.append("".join(re.sub(r"\\(.)", r"\1", p) + v for p, v in zip(plain, [*values, ""], strict=True)))
            for other in dict.fromkeys(likely):
                yield from (a + other.removeprefix(b) for a, b in begin if other.startswith(b))


def _groups(target: str, ours: str) -> dict[int, str] | None:
    """Return what stands for the groups of a target in a name of ours, None where the name is not of this form."""
    match = _form(target).fullmatch(ours)
    return None if match is None else {int(name[1:]): value for name, value in match.groupdict().items()}


@cache
def _form(target: str) -> re.Pattern[str]:
    out, seen = "", set[str]()
    for i, piece in enumerate(re.split(r"\\(\d)", target)):
        out += re.escape(piece) if i % 2 == 0 else f"(?P=g{piece})" if piece in seen else f"(?P<g{piece}>.+)"
        seen |= {piece} if i % 2 else set()
    return re.compile(out)


def _filled(match: re.Match[str], groups: Mapping[int, str]) -> str:
    """Return the matched name with other values in its groups."""
    out, at = "", 0
    for i in range(1, match.re.groups + 1):
        first, last = match.span(i)
        if i in groups and first >= at:
            out, at = out + match.string[at:first] + groups[i], last
    return out + match.string[at:]
