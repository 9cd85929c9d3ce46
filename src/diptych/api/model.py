"""A loaded model: a backbone that also encodes photos and texts in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn, overload

import numpy as np
from numpy.typing import NDArray

from diptych.api.elsewhere import OF_ENCODE, answers_for
from diptych.api.embeddings import Embeddings
from diptych.api.encoded import EncodedRows, OnError, Output, as_tensor, check_options, encoded_rows
from diptych.core import Backbone, DataError, Dense, Encoder, Parts, Run, Samples, Space, Spec, Texts, Tower, UsageError
from diptych.core.wording import Guided, renamed
from diptych.data.samples import as_samples
from diptych.features.embed import embed_arrays
from diptych.features.unit_rows import unit_rows
from diptych.tasks.progress import progress_of
from diptych.tasks.runs import device_named
from diptych.tasks.space_classifier import NamingSpace

if TYPE_CHECKING:
    from torch import Tensor, nn

Vectors = NDArray[np.float32]
ModelLike = str | Backbone | None
"""A model: its name, a backbone, or None for ``lite``."""


class Model(Backbone, Guided):
    """A backbone that encodes in one call; every system and task takes it.

    Args:
        loaded: the backbone.
        run: device, precision, engine and cache of what it encodes.

    Example:
        >>> import diptych
        >>> model = diptych.load("tiny", engine="torch")
        >>> model
        Model('tiny', 128 dimensions, 64 px, cpu)
        >>> model.encode_text(["a red circle", "a dog"]).shape
        (2, 128)
    """

    def __init__(self, loaded: Backbone, run: Run | None = None) -> None:
        if not isinstance(loaded, Backbone):
            raise UsageError(f"A model is loaded, as in diptych.load({loaded!r}).")
        self.loaded, self.run = loaded, Run() if run is None else run

    def __repr__(self) -> str:
        return f"Model({self.spec.name!r}, {self.spec.dim} dimensions, {self.image.size} px, {self.run.device})"

    def __call__(self, *given: object, **more: object) -> NoReturn:
        """Refuse what other libraries offer here."""
        raise TypeError("A Model is not called: use encode_image(photos), encode_text(texts) or similarity of both.")

    def __iter__(self) -> NoReturn:
        raise TypeError(
            "load returns one Model, not several parts: use its preprocess and its tokenizer. Where a function takes a "
            "list in this position, write model= before it."
        )

    @property
    def device(self) -> str:
        """Device of torch on which it encodes."""
        return self.run.device

    @property
    def dim(self) -> int:
        """Width D of the embeddings."""
        return self.spec.dim

    @property
    def unwrapped(self) -> Space:
        """The backbone as it was loaded."""
        return self.loaded.unwrapped

    @property
    def encoders(self) -> Mapping[str, Encoder[Any]]:
        """The image and the text encoder."""
        return self.loaded.encoders

    @property
    def score(self) -> Literal["softmax", "sigmoid"]:
        """The former name of ``activation``."""
        renamed("Model.score", "Model.activation")
        return self.loaded.activation

    @property
    def activation(self) -> Literal["softmax", "sigmoid"]:
        """How scaled cosines become probabilities."""
        return self.loaded.activation

    @property
    def spec(self) -> Spec:
        """What this model is."""
        return self.loaded.spec

    @property
    def fingerprint(self) -> str:
        """Hash of all encoders' fingerprints."""
        return self.loaded.fingerprint

    def scale(self, a: str = "image", b: str = "text") -> tuple[Tensor, Tensor]:
        """Return (scale, bias): logits = scale * cosine + bias."""
        return self.loaded.scale(a, b)

    def module(self) -> nn.Module:
        """Return the module that holds all parameters."""
        return self.loaded.module()

    def tower(self, modality: str) -> Tower:
        """Return the cut tower of "image" or "text"; raises MissingHook where there is none."""
        return self.loaded.tower(modality)

    def dense(self) -> Dense:
        """Return the dense maps of the image encoder; raises MissingHook where there are none."""
        return self.loaded.dense()

    def parts(self) -> Parts | None:
        """Return what the space consists of; None for a backbone, which is known by its name and fingerprint."""
        return self.loaded.parts()

    def rebuild(self, module: nn.Module, spec: Spec) -> Space:
        """Return a backbone of the same kind round other weights; raises MissingHook where it cannot be rebuilt."""
        return self.loaded.rebuild(module, spec)

    @overload
    def encode_image(
        self, images: object, *, normalize: bool = ..., batch_size: int | None = ..., progress: bool | None = ...,
        on_error: Literal["raise"] = ..., output: Literal["numpy"] = ..., device: None = ...,
    ) -> Vectors: ...  # fmt: skip
    @overload
    def encode_image(
        self, images: object, *, on_error: Literal["skip"], normalize: bool = ..., batch_size: int | None = ...,
        progress: bool | None = ..., output: Literal["numpy"] = ..., device: None = ...,
    ) -> EncodedRows: ...  # fmt: skip
    @overload
    def encode_image(
        self, images: object, *, output: Literal["torch"], normalize: bool = ..., batch_size: int | None = ...,
        progress: bool | None = ..., on_error: OnError = ..., device: str | None = ...,
    ) -> Tensor: ...  # fmt: skip
    @answers_for(OF_ENCODE)
    def encode_image(
        self,
        images: object,
        *,
        normalize: bool = True,
        batch_size: int | None = None,
        progress: bool | None = None,
        on_error: OnError = "raise",
        output: Output = "numpy",
        device: str | None = None,
    ) -> Vectors | Tensor:
        """Return the (N, D) float32 embeddings of N photos.

        Args:
            images: a path, folder, PIL picture, array, tensor or list of these, see ``data.samples.as_samples``. Photos
                as they are: they are resized and normalised here.
            normalize: rows of length 1; False leaves them as the encoder gives them. In open_clip False is the
                default.
            batch_size: photos that are encoded at once, at least 1; None: as the model was loaded, 32.
            progress: show a bar; None: as the model was loaded.
            on_error: "raise" where a photo cannot be read, after all others are stored in the cache; "skip" leaves its
                row out: ``failed`` of what is returned names it, and ``kept`` has the positions of the rows.
            output: "numpy" or "torch".
            device: of the tensor, "auto" takes a GPU if there is one; None: the CPU. For output="torch" alone; on what
                the model runs is chosen by ``diptych.load(name, device=...)``.

        Raises:
            UnreadableItem: a photo cannot be read, and ``on_error`` is "raise".
            UsageError, DataError: these are no photos, none can be read, or an option has no such value.

        Example:
            >>> import diptych
            >>> from PIL import Image
            >>> model = diptych.load("tiny", engine="torch", cache=False)
            >>> rows = model.encode_image([Image.new("RGB", (8, 8)), "lost.jpg"], on_error="skip", batch_size=8)
            >>> rows.shape, rows.kept.tolist(), rows.failed[0].name
            ((1, 128), [0], 'lost.jpg')
        """
        check_options(batch_size, on_error, output, device)
        items = self._samples(images)
        return self._encoded(self.image, items, normalize, batch_size, progress, on_error, output, device)

    @overload
    def encode_text(
        self, texts: str | Sequence[str], *, normalize: bool = ..., batch_size: int | None = ...,
        progress: bool | None = ..., output: Literal["numpy"] = ..., device: None = ...,
    ) -> Vectors: ...  # fmt: skip
    @overload
    def encode_text(
        self, texts: str | Sequence[str], *, output: Literal["torch"], normalize: bool = ...,
        batch_size: int | None = ..., progress: bool | None = ..., device: str | None = ...,
    ) -> Tensor: ...  # fmt: skip
    @answers_for(OF_ENCODE)
    def encode_text(
        self,
        texts: str | Sequence[str],
        *,
        normalize: bool = True,
        batch_size: int | None = None,
        progress: bool | None = None,
        output: Output = "numpy",
        device: str | None = None,
    ) -> Vectors | Tensor:
        """Return the (N, D) float32 embeddings of N texts, with rows of length 1 unless ``normalize`` is False.

        The other options are those of ``encode_image``.

        Raises:
            UsageError: these are no texts, one is longer than the model reads, or an option has no such value.
        """
        check_options(batch_size, "raise", output, device)
        items = Texts.of(texts)
        return self._encoded(self.text, items, normalize, batch_size, progress, "raise", output, device)

    def similarity(self, images: object, texts: str | Sequence[str] | Vectors) -> Vectors:
        """Return the (N, M) cosines of N photos and M texts, or of their embeddings, as this model returned them."""
        encoded = isinstance(images, (EncodedRows, Embeddings))
        rows = unit_rows(np.asarray(images)) if encoded else np.asarray(self.encode_image(images))
        columns = unit_rows(texts) if isinstance(texts, np.ndarray) else np.asarray(self.encode_text(texts))
        return rows @ np.asarray(columns).T

    def preprocess(self, image: object) -> Tensor:
        """Return the (3, S, S) normalised pixels of one photo, as open_clip's transform does.

        Raises:
            DataError: there is not exactly one photo.
        """
        photos = self._samples(image)
        if len(photos) != 1:
            raise DataError(f"preprocess takes one photo, not {len(photos)}: call it for each.")
        pixels: Any = self.image.inputs([photos[0]])
        one: Tensor = pixels[0]
        return one

    def tokenizer(self, texts: str | Sequence[str]) -> Tensor:
        """Return the (N, L) token ids of N texts, as open_clip's tokenizer does."""
        inputs: Any = self.text.inputs(Texts.of(texts).values)
        ids: Tensor = inputs["ids"] if isinstance(inputs, Mapping) else inputs
        return ids

    def _samples(self, given: object) -> Samples[Any]:
        """Return what the image encoder takes: photos, or samples of a fitted space."""
        if isinstance(self.loaded, NamingSpace) and isinstance(given, (str, os.PathLike)):
            return self.loaded.opened(given)
        return as_samples(given)

    def _encoded(
        self, encoder: Encoder[Any], items: Samples[Any], normalize: bool, batch_size: int | None,
        progress: bool | None, on_error: OnError, output: Output, device: str | None,
    ) -> EncodedRows | Tensor:  # fmt: skip
        run = self.run if batch_size is None else replace(self.run, batch=batch_size)
        run = run if progress is None else replace(run, progress=progress_of(progress))
        arrays = embed_arrays(encoder, items, run)
        if arrays.failed and on_error == "raise":
            raise arrays.failed[0]
        values: Vectors = arrays.some("photos").values[:, 0] if arrays.failed else arrays.values[:, 0]
        rows = encoded_rows(unit_rows(values) if normalize else values, arrays.kept, arrays.failed)
        return rows if output == "numpy" else as_tensor(rows, "cpu" if device is None else device_named(device))
