from __future__ import annotations

import csv
from pathlib import Path

import pytest

from diptych.core import UsageError
from diptych.data.words.wordnet import WordNet


@pytest.fixture(scope="module")
def words() -> WordNet:
    return WordNet.load()


def test_size_is_that_of_wordnet_3(words: WordNet) -> None:
    assert len(words) == 82_115  # wnstats(7): noun synsets
    assert len(words._index) == 117_798  # and unique noun strings


def test_dog(words: WordNet) -> None:
    dog = words.senses("dog")[0]
    assert dog == words.wnid("n02084071")
    assert (dog.name, dog.wnid, dog.instance) == ("dog", "n02084071", False)
    assert dog.lemmas == ("dog", "domestic dog", "Canis familiaris")
    assert dog.definition.startswith("a member of the genus Canis")
    assert "barked" in dog.gloss
    assert "barked" not in dog.definition
    assert len(words.senses("dog")) == 7
    assert {words.synset(o).name for o in dog.hypernyms} == {"canine", "domestic animal"}
    assert "puppy" in {words.synset(o).name for o in dog.hyponyms}
    assert [words.synset(o).name for o in dog.parts] == ["flag"]  # the tail of a setter


def test_ancestors_come_nearest_first(words: WordNet) -> None:
    names = [words.synset(o).name for o in words.ancestors(2084071)]
    assert set(names[:2]) == {"canine", "domestic animal"}
    assert names[-1] == "entity"
    assert len(names) == len(set(names))
    assert words.ancestors(1740) == ()


def test_spelling_of_a_lemma(words: WordNet) -> None:
    assert words.senses("Sea_Horse") == words.senses("sea horse") != []
    assert "sea horse" in words
    assert "xyzzy" not in words
    assert words.senses("xyzzy") == []


def test_proper_names_are_instances(words: WordNet) -> None:
    einstein = words.senses("Einstein")[0]
    assert einstein.instance
    assert "physicist" in {words.synset(o).name for o in einstein.hypernyms}


def test_links_are_mutual(words: WordNet) -> None:
    for offset in words.offsets[::997].tolist():
        for down in words.synset(offset).hyponyms:
            assert offset in words.synset(down).hypernyms
        for up in words.synset(offset).hypernyms:
            assert offset in words.synset(up).hyponyms


@pytest.mark.parametrize("wnid", ["n99999999", "n0208407", "v02084071", "n0208407x", ""])
def test_unknown_ids(words: WordNet, wnid: str) -> None:
    with pytest.raises(UsageError, match=r"no noun|no ImageNet id"):
        words.wnid(wnid)


@pytest.mark.data
def test_imagenet_glosses_agree(words: WordNet, data_root: Path) -> None:
    """An independent copy: the 1,000 ImageNet classes with synonyms and glosses."""
    with (data_root / "imagenet1k_sample/labels.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 1000
    for row in rows:
        synset = words.wnid(row["wnid"])
        assert list(synset.lemmas) == row["wordnet_synonyms"].split("; ")
        assert synset.gloss.startswith(row["wordnet_gloss"])


def test_same_as_the_database_files_of_the_system(words: WordNet) -> None:
    index = Path("/usr/share/wordnet/index.noun")
    if not index.is_file():
        pytest.skip("needs the WordNet database files (Debian package wordnet-base)")
    for line in index.read_text().splitlines()[29::211]:
        lemma, _, count, *rest = line.split()
        assert [s.offset for s in words.senses(lemma)] == [int(o) for o in rest[-int(count) :]]
