"""How Python opens a data set."""

from __future__ import annotations

import os

from diptych.api.elsewhere import OF_DATA, answers_for
from diptych.data.format import Need
from diptych.data.labelled import LabelledData
from diptych.data.load import open_data as open_path
from diptych.data.samples import as_data

PathLike = str | os.PathLike[str]


@answers_for(OF_DATA)
def open_data(
    data: object, *, image: str = "", text: str = "", label: str = "", group: str = "", need: Need = "any"
) -> LabelledData:
    """Open a data set: ``data["test"]`` is a split, ``list(data)`` names the splits.

    Args:
        data: a folder, a table, tars, "demo:photos" or "demo:clothes", see ``diptych.data.load.open_data``; or a
            Hugging Face dataset, or a dictionary of them.
        image: column of a table of captions or groups with the picture; here and below "" finds it by its usual names.
        text: column with a caption, or a pattern such as "caption_*".
        label: column with the class.
        group: column with the group.
        need: what the data must hold: "any", "classes", "captions", "groups", "masks", "anomalies" or "clips".

    Raises:
        UsageError: nothing is there, or nothing that gives what is needed.
        DataError: the folder or table cannot be used; the message says what to change.
    """
    if isinstance(data, (str, os.PathLike)):
        return open_path(data, need=need, image=image, text=text, label=label, group=group)
    return as_data(data)
