"""Arguments by the names of the command's flags, of the last version, and of other libraries."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import diptych as package
from diptych.api.argument_names import in_our_names, refuse_model_as_out
from diptych.api.declared import signature_of
from diptych.core import UsageError
from diptych.verbs.caption import Caption
from diptych.verbs.classify import Classify
from diptych.verbs.detect import Detect
from diptych.verbs.edit import Edit
from diptych.verbs.encode import Encode
from diptych.verbs.generate import Generate
from diptych.verbs.segment import Segment
from diptych.verbs.train.finetune import Finetune

diptych: Any = package


def named(verb: Any, **given: Any) -> dict[str, Any]:
    return in_our_names(verb, signature_of(verb), given)


def test_names_of_flags_are_taken() -> None:
    assert named(Classify, coverage=0.9, explain=3) == {"sets": 0.9, "reasons": 3}
    assert named(Detect, false_alarm_rate=0.1, object="nut") == {"rate": 0.1, "thing": "nut"}
    assert named(Finetune, weight_decay=0.1, grad_clip_norm=2.0) == {"decay": 0.1, "clip": 2.0}


def test_one_argument_under_two_names_is_refused() -> None:
    with pytest.raises(TypeError, match="got decay= twice, under two names"):
        named(Finetune, decay=0.1, weight_decay=0.2)


def test_a_former_name_is_taken_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match="batch= is now train_batch="):
        assert named(Finetune, batch=4) == {"train_batch": 4}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("candidate_labels", "did you mean names=?"),
        ("top_k", "did you mean top=?"),
        ("templatesx", "did you mean templates=?"),
        ("device", "model=diptych.load(NAME, device=...)"),
        ("batch_size", "leave it out, it is chosen on the first photos"),
        ("zzz", "it takes photos, names"),
    ],
)
def test_an_unknown_name_is_answered_with_ours(name: str, hint: str) -> None:
    with pytest.raises(TypeError, match=re.escape(f"diptych.classify takes no {name}=: ") + ".*" + re.escape(hint)):
        diptych.classify("photos", ["a"], **{name: 1})


@pytest.mark.parametrize(
    ("verb", "name", "hint"),
    [
        (Detect, "train", "did you mean normal=?"),
        (Detect, "prompts", "did you mean thing=?"),
        (Detect, "contamination", "did you mean rate=?"),
        (Caption, "num_return_sequences", "did you mean n=?"),
        (Edit, "instruction", "did you mean target=?"),
        (Generate, "num_images_per_prompt", "did you mean count=?"),
        (Generate, "num_inference_steps", "did you mean steps=?"),
        (Generate, "height", "leave it out, for a picture is as large as what draws it"),
        (Segment, "text", "did you mean names=?"),
        (Segment, "output_dir", "did you mean out=?"),
        (Segment, "alpha", "leave it out, for results[i].labels is the label map"),
    ],
)
def test_names_of_other_tools_for_pictures_are_answered_with_ours(verb: Any, name: str, hint: str) -> None:
    with pytest.raises(TypeError, match=re.escape(f"takes no {name}=: {hint}")):
        named(verb, **{name: 1})


@pytest.mark.parametrize("call", [diptych.encode, diptych.index, diptych.extend, diptych.finetune, diptych.pretrain])
def test_a_model_in_the_place_of_the_folder_to_write_is_refused_and_writes_nothing(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="write model='tiny', or out='tiny' for a folder of this name"):
        call("photos", "tiny")
    assert not list(tmp_path.iterdir())


def test_a_folder_may_have_the_name_of_a_model_where_that_is_meant() -> None:
    signature = signature_of(Encode)
    for args, given in (
        (("photos",), {"out": "tiny"}),
        (("photos", "./tiny"), {}),
        (("photos", Path("tiny")), {}),
        (("photos", "tiny", "lite"), {"model": "lite"}),
    ):
        refuse_model_as_out(signature, args, given)
