from __future__ import annotations

import math

from sklearn.feature_extraction.text import TfidfVectorizer

from diptych.features.user_words import UserWords

POSTS = ["a pup runs", "a dog runs", "a pup , a pup sits", "a dog sits", "the cat"]
USERS = ["anna", "ben", "anna", "ben", "eve"]
WORDS = ("a", "runs", "sits", ",", "dog", "pup", "cat")


def counted() -> UserWords:
    return UserWords.of(POSTS, USERS, WORDS, str.split)


def test_contexts_are_those_of_scikit_learns_vectorizer_on_whole_documents() -> None:
    words = counted()
    documents = {u: " ".join(p for p, own in zip(POSTS, USERS, strict=True) if own == u) for u in words.users}
    oracle = TfidfVectorizer(tokenizer=str.split, token_pattern=None, vocabulary=list(WORDS))
    weights = oracle.fit_transform(documents.values()).toarray()
    for row, user in zip(weights, documents, strict=True):
        ranked = sorted((w for w in range(len(WORDS)) if row[w] > 0), key=lambda w: (-row[w], w))
        assert words.context(user, 99) == tuple(WORDS[w] for w in ranked)
        assert words.context(user, 2) == words.context(user, 99)[:2]
    assert "the" not in words.context("eve", 99)  # no known word


def test_a_posts_context_is_of_earlier_posts_of_the_same_user() -> None:
    words = counted()
    assert words.before(0, 9) == words.before(1, 9) == words.before(4, 9) == ()
    idf = {w: math.log(4 / (1 + n)) + 1 for w, n in {"a": 2, "runs": 2, "pup": 1}.items()}
    assert words.before(2, 9) == tuple(sorted(idf, key=lambda w: (-idf[w], WORDS.index(w))))
    assert set(words.before(3, 9)) == {"a", "dog", "runs"}
    assert words.context("anna", 0) == ()
