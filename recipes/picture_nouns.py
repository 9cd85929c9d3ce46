"""Write src/diptych/data/words/picture_nouns.txt: common nouns for things that a photo shows as a whole.

python -m recipes.picture_nouns --out src/diptych/data/words/picture_nouns.txt

A noun counts where its most frequent sense in WordNet is an animal, an instrument, vehicle, piece of furniture or
another tool ("instrumentality"), a structure, or a geological formation, and it is that sense's first word. Common are
those that CLIP's byte-pair vocabulary, which was counted on texts of the web, holds as one token.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from open_clip import SimpleTokenizer

from diptych.data.words.wordnet import WordNet

ROOTS = {"animal": "animate being", "instrumentality": "instrumentation", "structure": "construction",
         "geological formation": "formation"}  # fmt: skip
"""First word of a root -> another word of the same synset, which tells its sense."""
PEOPLE = 2472293
"""WordNet's number of "homo": people are animals there, and nearly every set of photos shows some."""
LEFT_OUT = frozenset(["bitch", "mankind", "thong"])
SHORTEST = 3


def roots(wordnet: WordNet) -> set[int]:
    """Return the numbers of the roots."""
    return {next(s.offset for s in wordnet.senses(name) if other in s.lemmas) for name, other in ROOTS.items()}


def picture_nouns(wordnet: WordNet, tokens: set[str]) -> list[str]:
    """Return the nouns that are one of the tokens, sorted."""
    tops, kept = roots(wordnet), []
    for word in sorted(tokens - LEFT_OUT):
        if len(word) < SHORTEST or not (word.isascii() and word.isalpha()) or word not in wordnet:
            continue
        sense = wordnet.senses(word)[0]
        above = {sense.offset, *wordnet.ancestors(sense.offset)}
        if sense.lemmas[0] == word and not sense.instance and above & tops and PEOPLE not in above:
            kept.append(word)
    return kept


def main() -> None:
    """Write the list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    tokens = {token.removesuffix("</w>") for token in SimpleTokenizer().encoder if token.endswith("</w>")}
    words = picture_nouns(WordNet.load(), tokens)
    options.out.write_text("\n".join(words) + "\n", encoding="utf-8")
    sys.stdout.write(f"{options.out}: {len(words)} nouns\n")


if __name__ == "__main__":
    main()
