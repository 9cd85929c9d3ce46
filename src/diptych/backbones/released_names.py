"""Names of a released file's tensors: from the file's to ours, and back for messages; see ``backbones.released``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import count, product
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
        names = [origins[f"{ours}#{i}"] for i in range(len(pieces))]
        out[ours] = _joined(names, [pieces[i] for i in range(len(pieces))], ours in by.stack, source)
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


def _joined(names: Sequence[str], pieces: Sequence[Tensor], stacked: bool, source: object) -> Tensor:
    import torch

    ordered = [piece.squeeze() for piece in pieces] if stacked else list(pieces)
    shapes = [tuple(piece.shape) for piece in ordered]
    joined = shapes if stacked else [shape[1:] for shape in shapes]
    usual = max(joined, key=joined.count)
    other = next((i for i, shape in enumerate(joined) if shape != usual), None)
    if other is not None:
        beside = joined.index(usual)
        raise DataError(
            f"{source} has {names[other]} of the shape {tuple(pieces[other].shape)}, and {names[beside]} of "
            f"{tuple(pieces[beside].shape)}, which are parts of one tensor here: it is damaged."
        )
    return torch.stack(ordered) if stacked else torch.cat(ordered)


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


def _sources(ours: str, by: ReleasedTable, theirs: Sequence[str]) -> list[str]:
    """Return names that the table may read under a name of ours, first those that begin as one of the file does."""
    shorts = [f"{s}{ours.removeprefix(e)}" for s, e in by.end.items() if ours.startswith(e)] + [ours]
    names = [
        beginning + name.removeprefix(short)
        for pattern, targets in by.rename.items()
        for target in targets.split("|")
        for form, groups in [_form(target)]
        for match in map(form.fullmatch, shorts)
        if match
        for name in _names(pattern, dict(zip(groups, match.groups(), strict=True)))
        for beginning, short in [*by.begin.items(), ("", "")]
        if name.startswith(short)
    ]
    beginnings = {name.partition(".")[0] for name in theirs}
    return sorted(names, key=lambda name: name.partition(".")[0] not in beginnings)


@cache
def _form(target: str) -> tuple[re.Pattern[str], list[int]]:
    """Return a pattern of the names that a target stands for, and the numbers of its groups."""
    text = re.split(r"\\\d", target)
    return re.compile("(.+)".join(map(re.escape, text))), [int(number) for number in re.findall(r"\\(\d)", target)]


def _names(pattern: str, groups: Mapping[int, str]) -> list[str]:
    """Return the names that a pattern reads with these values of its groups, one for each choice of a "(?:a|b)"."""
    numbers = count(1)
    filled = re.sub(r"\((?!\?)([^()]|\([^()]*\))*\)", lambda _: groups.get(next(numbers), ""), pattern)
    choices = [piece.split("|") for piece in re.split(r"\(\?:(.*?)\)", re.sub(r"\((\?:[^)]*)\)\?", r"(\1|)", filled))]
    return ["".join(some).replace("\\", "") for some in product(*choices)]
