"""Data as systems see them: items with content keys, typed columns, and the evidence that ``fit`` may read."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar, cast, runtime_checkable

from diptych.core.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

S_co = TypeVar("S_co", covariant=True)

_QUOTES = {'"': '"', "'": "'", "\N{LEFT DOUBLE QUOTATION MARK}": "\N{RIGHT DOUBLE QUOTATION MARK}",
           "\N{LEFT SINGLE QUOTATION MARK}": "\N{RIGHT SINGLE QUOTATION MARK}"}  # fmt: skip

ColumnKind = Literal[
    "label",
    "multilabel",
    "captions",
    "mask",
    "panoptic",
    "boxes",
    "group",
    "entity",
    "user",
    "vector",
    "image",
    "weights",
]


@runtime_checkable
class Samples(Protocol[S_co]):
    """A finite sequence of items, each with a key that depends on its content alone."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> S_co:
        """Return item ``index``.

        Raises:
            UnreadableItem: it cannot be decoded.
        """

    def key(self, index: int, /) -> str:
        """Return the hexadecimal content hash of item ``index``."""

    def name(self, index: int, /) -> str:
        """Return the name of item ``index`` for users: a path, a row number, the text itself."""


class Stream(Protocol[S_co]):
    """Items that are read once and in order, such as tar files; of unknown length, resumable at a position."""

    def __iter__(self) -> Iterator[tuple[int, S_co]]: ...

    def seek(self, position: int) -> Stream[S_co]:
        """Return the stream that starts at ``position``."""


@dataclass(frozen=True)
class Subset(Generic[S_co]):
    """A selection of other samples, in the given order, with their keys and names.

    Args:
        indices: (M,) positions in ``samples``.
    """

    samples: Samples[S_co]
    indices: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> S_co:
        return self.samples[self.indices[index]]

    def key(self, index: int) -> str:
        """Return the item's own key."""
        return self.samples.key(self.indices[index])

    def name(self, index: int) -> str:
        """Return the item's own name."""
        return self.samples.name(self.indices[index])


@dataclass(frozen=True)
class Texts:
    """Strings as samples: the key is the hash of the UTF-8 bytes."""

    values: tuple[str, ...]

    @classmethod
    def of(cls, given: object) -> Texts:
        """Return one text, or a list or generator of texts.

        Raises:
            UsageError: something is no text, or texts have no order or stand in a dict.

        Example:
            >>> Texts.of("a cat"), Texts.of(text for text in ("a cat", "a dog"))
            (Texts(values=('a cat',)), Texts(values=('a cat', 'a dog')))
        """
        if isinstance(given, Mapping):
            raise UsageError("Texts cannot be a dict: give a list of texts, such as list(texts.values()).")
        if isinstance(given, AbstractSet):
            raise UsageError("Texts cannot be a set, which has no order: give sorted(...) of it.")
        alone = isinstance(given, (str, bytes)) or not isinstance(given, Iterable)
        values: tuple[Any, ...] = (given,) if alone else tuple(given)  # type: ignore[arg-type]
        if wrong := [value for value in values if not isinstance(value, str)]:
            raise UsageError(
                f"A text is a str, not {type(wrong[0]).__name__}: give texts as they are, since the tokenizer runs "
                f"inside."
            )
        return cls(values)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> str:
        return self.values[index]

    def key(self, index: int) -> str:
        """Return the SHA-256 of the text."""
        return hashlib.sha256(self.values[index].encode()).hexdigest()

    def name(self, index: int) -> str:
        """Return the text itself."""
        return self.values[index]


@dataclass(frozen=True)
class Column:
    """One typed column of a table.

    Args:
        kind: what the values mean; "label" is an (N,) integer array of class positions, "image" further images beside
            the items.
        values: (N, ...) array, or a sequence of N ragged values (captions, boxes). A lazy sequence (masks) has
            ``take(indices)``, which selects without reading. Images are ``Samples``, see
            ``images``.
    """

    kind: ColumnKind
    values: NDArray[Any] | Sequence[Any]

    @classmethod
    def images(cls, samples: Samples[Any]) -> Column:
        """Return a column of images beside the items, read one by one."""
        return cls("image", cast("Sequence[Any]", samples))

    def take(self, indices: Sequence[int]) -> Column:
        """Return the column of the given rows."""
        import numpy as np  # imported here, so that the help of the command line does not load it

        if isinstance(self.values, np.ndarray):
            return Column(self.kind, self.values[np.asarray(indices, dtype=np.int64)])
        if self.kind == "image":
            return Column.images(Subset(cast("Samples[Any]", self.values), tuple(int(i) for i in indices)))
        take = getattr(self.values, "take", None)
        return Column(self.kind, tuple(self.values[i] for i in indices) if take is None else take(indices))


@dataclass(frozen=True)
class Table(Generic[S_co]):
    """Items with any number of typed columns.

    Args:
        items: N samples.
        columns: name -> column of N values.

    Raises:
        DataError: a column and the items differ in length.
    """

    items: Samples[S_co]
    columns: Mapping[str, Column] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, column in self.columns.items():
            if len(column.values) != len(self.items):
                raise DataError(
                    f"Column {name!r} has {len(column.values)} values for {len(self.items)} items: give one value an "
                    f"item."
                )

    def __len__(self) -> int:
        return len(self.items)

    def take(self, indices: Sequence[int]) -> Table[S_co]:
        """Return the table of the given rows, in that order."""
        rows = tuple(int(i) for i in indices)
        return Table(Subset(self.items, rows), {n: c.take(rows) for n, c in self.columns.items()})

    def labels(self) -> NDArray[np.int64]:
        """Return the (N,) class positions of the column named "label".

        Raises:
            DataError: the table has no such column.
        """
        import numpy as np

        column = self.columns.get("label")
        if column is None or column.kind != "label":
            raise DataError("This table has no label column: give class folders, or a CSV with a column 'label'.")
        return np.asarray(column.values, dtype=np.int64)

    def images(self, name: str) -> Samples[Any]:
        """Return the N images of a column beside the items, such as the sources of edited images.

        Raises:
            DataError: the table has no such column of images.
        """
        column = self.columns.get(name)
        if column is None or column.kind != "image":
            raise DataError(f"This table has no column of images {name!r}: give a table with a picture in it a row.")
        return cast("Samples[Any]", column.values)


@dataclass(frozen=True)
class ClassNames:
    """The classes of a task, in the order of score columns, and their prompt templates.

    Args:
        names: K names in plain words, each unique.
        templates: prompts with one "{}" each; more than one is an ensemble.
        words: K tuples of the words that prompts hold in place of the name, such as ("sofa", "couch") or, for a class
            "background", ("sky", "wall"); each word belongs to one class. (): the names themselves.
        things: K marks: True for classes whose objects are counted (things), False for the others (stuff). (): not
            stated.

    Raises:
        UsageError: no names, empty or duplicate names, a template without exactly one "{}", another number of words or
            marks than names, a class without a word, or a word of two classes.

    Example:
        >>> seats = ClassNames(("seat", "cat"), ("a {}.",), words=(("sofa", "couch"), ("cat",)))
        >>> seats.prompts()
        [['a sofa.', 'a couch.'], ['a cat.']]
        >>> queries, owner = seats.queries()
        >>> queries.names, owner
        (('sofa', 'couch', 'cat'), (0, 0, 1))
    """

    names: tuple[str, ...]
    templates: tuple[str, ...] = ("a photo of a {}.",)
    words: tuple[tuple[str, ...], ...] = ()
    things: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if not self.names:
            raise UsageError("No class names: give at least one name.")
        if blank := [i for i, name in enumerate(self.names) if not name.strip()]:
            raise UsageError(f"Class name {blank[0] + 1} of {len(self.names)} is empty: leave it out, or write a word.")
        duplicates = (
            sorted({n for n in self.names if self.names.count(n) > 1}) if len(set(self.names)) < len(self.names) else []
        )
        if duplicates:
            raise UsageError(f"Class names must be unique, but these occur twice: {', '.join(duplicates)}.")
        for template in self.templates:
            if template.count("{}") != 1:
                raise UsageError(f"Template {template!r} must hold exactly one '{{}}' where the class name goes.")
        for what, given in (("words", self.words), ("marks of things", self.things)):
            if given and len(given) != len(self.names):
                raise UsageError(
                    f"There are {what} of {len(given)} classes for {len(self.names)} names: give one each."
                )
        every = [word for of_class in self.words for word in of_class]
        if self.words and (not all(self.words) or len(set(every)) < len(every)):
            twice = next((w for w in every if every.count(w) > 1), None)
            fault = "a class has no word" if twice is None else f"{twice!r} stands for two"
            raise UsageError(f"Each class needs words of its own, and {fault}: give other words.")

    @classmethod
    def of(cls, names: ClassNames | Sequence[str], templates: Sequence[str] = ()) -> ClassNames:
        """Return class names: those that are made already as they are, or a list of names with templates.

        Args:
            names: the names, or one text with commas or line ends between them, "cat, dog", or, where it has neither,
                semicolons. There a name with a comma stands in double quotes.
            templates: of a list of names; () takes the default.

        Example:
            >>> ClassNames.of('cat, "dog, wet", bird').names
            ('cat', 'dog, wet', 'bird')
        """
        if isinstance(names, ClassNames):
            return names
        listed = tuple(listed_names(names) if isinstance(names, str) else names)
        return cls(listed, tuple(templates)) if templates else cls(listed)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    @property
    def template_hash(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the templates, one per line."""
        return hashlib.sha256("\n".join(self.templates).encode()).hexdigest()[:12]

    def prompts(self, templates: Sequence[str] | None = None) -> list[list[str]]:
        """Return K lists of prompts: each template filled with each word of the class, M a word.

        Class names may have braces.
        """
        words = self.words or tuple((name,) for name in self.names)
        return [[t.replace("{}", w) for w in of_class for t in (templates or self.templates)] for of_class in words]

    def queries(self) -> tuple[ClassNames, tuple[int, ...]]:
        """Return the W words of all classes as names of their own, and the (W,) class position of each.

        A score of a class is the largest among its words; whether before or after the softmax, the method says.
        """
        if not self.words:
            return self, tuple(range(len(self.names)))
        owner = tuple(k for k, of_class in enumerate(self.words) for _ in of_class)
        things = tuple(self.things[k] for k in owner) if self.things else ()
        return ClassNames(tuple(w for of_class in self.words for w in of_class), self.templates, things=things), owner


@dataclass(frozen=True)
class Text:
    """A text with its provenance.

    Args:
        writer: its author: a model name, "wordnet-3.0", a person.
        prompt: the request to the writer, if there was one.
        date: ISO date of writing.
    """

    value: str
    writer: str = ""
    prompt: str = ""
    date: str = ""


@dataclass(frozen=True)
class TextPool:
    """Texts about classes (descriptions, captions) with provenance: class name -> texts."""

    texts: Mapping[str, tuple[Text, ...]]


@dataclass(frozen=True)
class Evidence(Generic[S_co]):
    """All data that ``fit`` may read; it never has test data.

    Args:
        train: labelled items (the shots).
        val: labelled items on which choices are made.
        texts: descriptions or captions with provenance.
        other_classes: names of classes outside the task (new classes, distractors).
        auxiliary: items of another task, such as anomalies of other things with their masks, or captioned photos
            beside labelled ones.
    """

    train: Table[S_co] | None = None
    val: Table[S_co] | None = None
    unlabelled: Samples[S_co] | None = None
    texts: TextPool | None = None
    other_classes: ClassNames | None = None
    auxiliary: Table[S_co] | None = None


def listed_names(names: str) -> list[str]:
    """Return the names of a text with commas or line ends between them, or, where it has neither, semicolons; those in
    quotes whole.

    Example:
        >>> listed_names('cat, "dog, wet", bird'), listed_names("cat; 'dog'")
        (['cat', 'dog, wet', 'bird'], ['cat', 'dog'])
    """
    mark = "," if set(names) & set(",\n") else ";"
    rows = csv.reader(names.splitlines(), delimiter=mark, skipinitialspace=True) if '"' in names else None
    parts = names.replace("\n", mark).split(mark) if rows is None else [part for row in rows for part in row]
    return [unquoted(part) for part in parts if part.strip()]


def unquoted(text: str) -> str:
    """Return a text without blanks around it, and without a pair of quotation marks around all of it.

    Example:
        >>> [unquoted(text) for text in (' "cat" ', "'sea horse'", "a dog's", '"cat" or "dog"')]
        ['cat', 'sea horse', "a dog's", '"cat" or "dog"']
    """
    text = text.strip()
    inner = text[1:-1].strip()
    around = inner and _QUOTES.get(text[0]) == text[-1] and not {text[0], text[-1]} & set(inner)
    return inner if around else text
