"""Write the table of docs/not-shown.md, what is known of each proof that is not shown: ``python tools/not_shown.py
[--check]``.

Gains and bounds are those of results/; ``results/needed.toml`` holds the gain that a claim would need, and what the
reason on the card rests on. The upper end lies as far above a gain as the one-sided 95 % bound lies below it.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from diptych import catalog

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "results", ROOT / "docs" / "not-shown.md"
START, END = "<!-- proofs -->\n", "<!-- /proofs -->"
ABSENT, CONTROLLED, OPEN = "decided: not here", "decided: its control gains too", "undecided"


def upper(comparison: Mapping[str, Any]) -> float:
    """Return the upper end of a gain.

    Example:
        >>> upper({"gain": 0.25, "gain_lower95": -0.25})
        0.75
    """
    return float(2 * comparison["gain"] - comparison["gain_lower95"])


def missed(result: Mapping[str, Any], kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (data set, comparison) of claims that do not show, or of controls that do not fail."""
    good = {"claims": "shown", "controls": "failed"}[kind]
    for data in result["datasets"]:
        yield from ((data["dataset"], c) for c in data[kind] if not c[good])


def decided(result: Mapping[str, Any], needed: float, twin: str = "") -> tuple[str, tuple[str, Mapping[str, Any]]]:
    """Return the verdict on a proof that is not shown, and the comparison that it rests on.

    Args:
        result: the written proof.
        needed: smallest gain that the claim would need; 0: any.
        twin: name of what was measured beside the system and lacks the supposed cause, such as its own control. Where
            the system cannot be better than it by the gain, either the claim misses the gain or the control has it.

    Returns:
        ``ABSENT``: the interval of a claim, or else of the gain over the twin where a claim misses, excludes the gain
        (lies below it, or up to 0 where any would do). ``CONTROLLED``: none does, and a control gains beyond doubt.
        ``OPEN``: neither. With it the claim whose interval lies lowest against its width, or the control that gains
        most.
    """
    claims, controls = (list(missed(result, kind)) for kind in ("claims", "controls"))
    lowest = min(claims, key=lambda pair: upper(pair[1]), default=None)
    if lowest and _excludes(lowest[1], needed):
        return ABSENT, lowest
    places = {data for data, _ in claims}
    for data in result["datasets"] if twin else ():
        for beside in data["beside"]:
            if data["dataset"] in places and beside["name"] == twin and _excludes(beside, needed):
                return ABSENT, (data["dataset"], beside)
    if controls:
        return CONTROLLED, max(controls, key=lambda pair: float(pair[1]["gain_lower95"]))
    if lowest is None:
        raise ValueError(f"{result['slug']} has no claim that misses and no control that gains.")
    return OPEN, max(claims, key=lambda pair: upper(pair[1]) - float(pair[1]["gain"]))


def _excludes(comparison: Mapping[str, Any], needed: float) -> bool:
    return upper(comparison) < needed or upper(comparison) <= 0


def compared(data: str, comparison: Mapping[str, Any]) -> str:
    """Say what was compared, its gain and its interval."""
    shots = f", {comparison['shots']} shots" if comparison.get("shots") else ""
    name = f"{comparison['name']}: " if comparison.get("name") else ""
    if "twin" in comparison:
        name, comparison = "", {**comparison, "over": f"its twin, {comparison['name']}"}
    low, high = comparison["gain_lower95"], upper(comparison)
    return f"{name}over {comparison['over']}{shots}, `{data}`: {comparison['gain']:+.4f} ({low:+.4f} to {high:+.4f})"


def rows(results: Sequence[Mapping[str, Any]], known: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a row for each proof that is not shown, the undecided ones first."""
    order = (OPEN, CONTROLLED, ABSENT)
    lines = []
    for result in results:
        slug, about = result["slug"], known[result["slug"]]
        word, pair = decided(result, about["needed"], about.get("twin", ""))
        needs = "any" if about["needed"] == 0 else f"{about['needed']:+.4f}"
        reason = _plan(slug).get("not_shown") or "-"
        cells = (f"[`{slug}`](../results/{slug.replace(':', '-')}.json)", word, compared(*pair))
        more = (f"{needs} ({about['source']})", reason, about["rests_on"], about["evidence"])
        lines.append((order.index(word), slug, f"| {' | '.join((*cells, *more))} |"))
    yield from (line for _, _, line in sorted(lines))


def table(results: Sequence[Mapping[str, Any]], known: Mapping[str, Mapping[str, Any]]) -> str:
    """Return how many proofs have which verdict, and the table."""
    about = [known[result["slug"]] for result in results]
    words = [decided(r, a["needed"], a.get("twin", ""))[0] for r, a in zip(results, about, strict=True)]
    counts = ", ".join(f"{words.count(word)} {word}" for word in (OPEN, CONTROLLED, ABSENT))
    bases = [known[result["slug"]]["rests_on"] for result in results]
    isolated = sum(word == OPEN and basis == "experiment" for word, basis in zip(words, bases, strict=True))
    head = (
        f"{len(results)} proofs are not shown: {counts}. Of the undecided ones, experiments isolated the reasons of "
        f"{isolated}. The reasons of {bases.count('guess')} are guesses.\n\n"
        "| proof | verdict | what decides, gain (interval) | gain needed | reason | rests on | evidence |\n"
        "|---|---|---|---|---|---|---|\n"
    )
    return head + "\n".join(rows(results, known)) + "\n"


def not_shown() -> list[dict[str, Any]]:
    """Return the written proofs that are not shown."""
    written = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json")))
    return [data for data in written if data.get("kind") == "proof" and not data["shown"]]


def _plan(slug: str) -> Mapping[str, Any]:
    card = catalog.card(slug.partition(":")[0])
    plan: Mapping[str, Any] = card["row_proofs"][slug.partition(":")[2]] if ":" in slug else card["proof"]
    return plan


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table, or say with exit code 1 that it is stale."""
    known = tomllib.loads((RESULTS / "needed.toml").read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(START)
    text = before + START + table(not_shown(), known) + END + rest.partition(END)[2]
    if "--check" in (sys.argv[1:] if arguments is None else arguments):
        if page != text:
            sys.stderr.write("docs/not-shown.md is not what the results say: run python tools/not_shown.py.\n")
        return int(page != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
