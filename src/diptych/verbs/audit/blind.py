"""``audit blind``: which different pictures does a model take for the same?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from diptych.core.settings import with_settings
from diptych.core.wording import number_of, short_names
from diptych.verbs import kinds
from diptych.verbs.arguments import argument, settings
from diptych.verbs.audit.findings import Audit, Findings
from diptych.verbs.photos import open_labelled, paths_of

if TYPE_CHECKING:
    from diptych.core import Backbone, Encoder, Finding
    from diptych.verbs.context import Context


@dataclass(frozen=True, kw_only=True)
class AuditBlind(Audit):
    """Find pairs of pictures that a second encoder tells apart and the model does not."""

    name: ClassVar[str] = "audit blind"
    examples: ClassVar[tuple[str, ...]] = (
        "audit blind scenes --backbone tiny",
        "audit blind mmvp-vlm/ --out mmvp.json",
    )

    data: Any = argument("Pictures, or the folder of MMVP-VLM, MMVP or Winoground.", kinds.PHOTOS, positional=True)
    vision: str | Backbone | Encoder[Any] = argument(
        "The second image encoder: timm:ARCH.TAG, or a backbone; lite: Lite0 without its projection.",
        kinds.PICTURE, "lite", panel="Model",
    )  # fmt: skip
    top: float = argument("Share of pairs that count as alike.", default=0.01, flag="--top-share")
    bottom: float = argument("Share of pairs that count as different.", default=0.3, flag="--bottom-share")
    settings: Mapping[str, Any] | Sequence[str] | None = settings()

    def defaults(self) -> Mapping[str, Any]:
        """Return the shares."""
        return {"top": self.top, "bottom": self.bottom}

    def run(self, context: Context) -> Blind:
        """Mine pairs, or count those of a published layout."""
        from diptych.tasks.audit.models import audit_blind, stated_pairs

        system, path = self.system(), (paths_of(self.data) or [""])[0]
        stated = stated_pairs(path, context.keys) if path else None
        if stated is None:
            data = open_labelled(self.data, "photos", context.keys)
            table, name = data.whole(), Path(path).name or data.name
        else:
            table, name = stated[0], Path(path).name
            system = with_settings(with_settings(system, {"template": stated[1]}), self.given_settings())
        self.free(context)
        findings, failed = audit_blind(
            table, context.model(), context.run(), vision=None if stated else self._encoder(), name=name, method=system
        )
        return Blind(self, findings, failed)

    def _encoder(self) -> Encoder[Any]:
        """Return the second image encoder."""
        from diptych.backbones.sources.load import load
        from diptych.backbones.sources.vision import load_vision
        from diptych.features.visual import Unprojected

        given: Any = self.vision
        if not isinstance(given, str):
            return getattr(given, "image", given)  # type: ignore[no-any-return]
        return Unprojected.of(load(given)) if given == "lite" else load_vision(given).encoders["image"]


class Blind(Findings):
    """The share of blind pairs with the closest of them, or of pairs that are right."""

    def tables(self) -> list[str]:
        """Return a line for each finding, and one for each of its closest pairs."""
        return [line for f in self.items for line in _lines(f)]


def _lines(f: Finding) -> list[str]:
    value = f.reason if f.value is None else f"{100 * f.value:.1f} %"
    if f.measure == "blind_share" and f.value is not None:
        value += f" of {number_of(f.count or 0, 'picture')} have a twin that the second encoder alone tells apart"
    lines = [f"{f.title}, {f.about}: {value}"]
    if "group_score" in f.details:
        text, both = (100 * f.details[name] for name in ("text_score", "group_score"))
        lines.append(f"  each picture chooses its statement: {text:.1f} % of the pairs; both ways: {both:.1f} %")
    closest = f.details.get("closest", ())
    names = iter(short_names([name for one, two, *_ in closest for name in (one, two)]))
    pairs = zip(names, names, closest, strict=False)
    return [
        *lines,
        *(
            f"  {one} and {two}: cosine {cosine:.2f}, by the second encoder {other:.2f}"
            for one, two, (_, _, cosine, other) in pairs
        ),
    ]
