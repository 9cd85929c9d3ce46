"""What ``edit`` returns: pictures before and after, the numbers of each, and what to doubt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diptych.core.wording import number_of, three_digits
from diptych.verbs.pictures import Pictures

if TYPE_CHECKING:
    from diptych.tasks.edit import Pair

LISTING = "edit.json"
SHOWN = 4
"""Channels in a line."""
MOST, BACKGROUND = 0.5, "background"
"""Share of a picture from which on an object that was looked for is doubted, and the word for all else."""


class Changed(Pictures):
    """Pictures and clips before and after."""

    done = "edited"
    listing = LISTING

    def line(self, item: Pair) -> str:
        """Return how many channels moved and the strongest of them, or what the editor says."""
        row = self.row(item)
        if self.result.channels:
            moved = row["moved"]
            strongest = "  ".join(f"{m['layer']}.{m['channel']} {m['strength']:+.2f}" for m in moved[:SHOWN])
            return f"{len(moved)} of {sum(self.result.channels)} channels moved  {strongest}".rstrip()
        facts = {k: v for k, v in row.items() if k not in ("name", "moved")}
        return "  ".join(f"{k.replace('_', ' ')} {_in_words(v)}" for k, v in facts.items())

    def remarks(self, items: Sequence[Pair]) -> list[str]:
        """Return that nothing was relevant enough to change, or that what draws does not know what is there."""
        from diptych.tasks.edit_parts import unlearnt_remark

        pairs, ask = self.result.pairs, self.result.ask
        strange = unlearnt_remark(self.about.get("generator"), self.about.get("denoiser"), ask.source, ask.targets)
        out = [strange] if strange else []
        if self.result.channels and pairs and not any(self.row(pair)["moved"] for pair in pairs):
            out.append("No channel is relevant enough to be moved: give a lower {threshold}, down to 0.")
        return out + self._wide()

    def _wide(self) -> list[str]:
        """Return which thing was taken for most of a picture where no mask says where it is."""
        if self.result.ask.masks is not None:
            return []
        wide = [
            (pair.name, thing, share)
            for pair in self.result.pairs
            for thing, share in self.row(pair).get("areas", {}).items()
            if share > MOST and thing != BACKGROUND
        ]
        if not wide:
            return []
        name, thing, share = wide[0]
        others = f", and {number_of(len(wide) - 1, 'more such picture')}" if len(wide) > 1 else ""
        return [f"{thing} was taken for {100 * share:.0f} % of {name}, all of which is changed{others}: if it is "
                f"smaller, give {{mask}} or another {{segmenter}}."]  # fmt: skip

    def close(self, folder: Path, data: dict[str, Any], *, overwrite: bool) -> list[str]:
        """Write edit.json."""
        super().close(folder, data, overwrite=overwrite)
        return [f"{number_of(len(self.result.pairs), 'picture')} before and after, and edit.json, in {folder}"]


def _in_words(value: Any) -> str:
    if isinstance(value, float):
        return three_digits(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_in_words(v)}" for name, v in value.items())
    return ", ".join(map(_in_words, value)) if isinstance(value, (list, tuple)) else str(value)
