"""The words that tell one user's texts from those of others, by TF-IDF."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class UserWords:
    """Characteristic words of users.

        weight_uv = tf_uv (ln((1 + n) / (1 + df_v)) + 1)

    tf_uv: how often user u wrote word v
    n: number of users
    df_v: users who wrote v

    Args:
        vocabulary: V known words; others are no context.
        users: n names, in order of first occurrence.
        counts: (N, V) sparse counts of the words of each post.
        owner: (N,) positions of the posts' users.
        weights: scikit-learn's TfidfTransformer, fitted to the whole documents of the users.

    Source: scikit-learn's TfidfTransformer, whose rows have length 1; the order of words does not depend on it.
    """

    vocabulary: tuple[str, ...]
    users: tuple[str, ...]
    counts: Any
    owner: Any
    weights: Any

    @classmethod
    def of(
        cls, posts: Sequence[str], users: Sequence[str], vocabulary: Sequence[str], split: Callable[[str], list[str]]
    ) -> UserWords:
        """Count the words of N posts.

        Args:
            posts: N texts, those of a user in the order in which they were written.
            users: N names.
            vocabulary: V known words; its order breaks ties.
            split: text -> words.

        Example:
            >>> posts = ["a pup runs", "a dog runs", "a pup", "a dog"]
            >>> words = UserWords.of(posts, ["anna", "ben", "anna", "ben"], ["a", "dog", "pup", "runs"], str.split)
            >>> words.context("anna", most=1), words.before(2, most=9), words.before(0, most=9)
            (('pup',), ('pup', 'a', 'runs'), ())
        """
        state = random.getstate()
        with warnings.catch_warnings():
            from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
        random.setstate(state)  # the import draws from Python's own generator, and adds filters of warnings
        names = tuple(dict.fromkeys(users))
        number = {name: i for i, name in enumerate(names)}
        owner = np.array([number[user] for user in users], dtype=np.int64)
        counter = CountVectorizer(tokenizer=split, lowercase=False, token_pattern=None, vocabulary=list(vocabulary))
        counts = counter.transform(posts)
        whole = np.stack([np.asarray(counts[owner == u].sum(axis=0))[0] for u in range(len(names))])
        return cls(tuple(vocabulary), names, counts, owner, TfidfTransformer().fit(whole))

    def context(self, user: str, most: int) -> tuple[str, ...]:
        """Return at most ``most`` words of all posts of a user, the heaviest first."""
        return self._heaviest(self.owner == self.users.index(user), most)

    def before(self, post: int, most: int) -> tuple[str, ...]:
        """Return at most ``most`` words of the posts that the user of a post wrote before it; () for the first."""
        earlier = self.owner == self.owner[post]
        earlier[post:] = False
        return self._heaviest(earlier, most)

    def _heaviest(self, posts: Any, most: int) -> tuple[str, ...]:
        if not posts.any():
            return ()
        document = np.asarray(self.counts[posts].sum(axis=0))
        weights = self.weights.transform(document).toarray()[0]
        order = np.argsort(-weights, kind="stable")[:most]
        return tuple(self.vocabulary[i] for i in order.tolist() if weights[i] > 0)
