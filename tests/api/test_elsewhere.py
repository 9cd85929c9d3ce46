"""Arguments and names of other libraries are answered with ours, on what is loaded."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import diptych as package
from diptych.api.elsewhere import OF_ENCODE, OF_LOAD, answers_for

diptych: Any = package


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"dtype": "float16"}, "load takes no dtype=: write precision='exact' (fp32), or 'fast' (bf16)."),
        ({"model_name": "tiny"}, "load takes no model_name=: did you mean name=?"),
        ({"cache_dir": "x"}, "load takes no cache_dir=: did you mean cache=?"),
        ({"device_name": "cpu"}, "load takes no device_name=: did you mean device=?"),
        ({"batch_size": 3}, "load takes no batch_size=: leave it out: encode_image(photos, batch_size=...) takes one."),
        ({"wibble": 3}, "load takes no wibble=: it takes name, pretrained, device,"),
    ],
)
def test_load_answers_arguments_that_it_does_not_have(given: dict[str, Any], hint: str) -> None:
    with pytest.raises(TypeError) as error:
        diptych.load(**given)
    assert str(error.value).startswith(hint)


def test_what_is_loaded_answers_names_and_arguments_of_other_libraries() -> None:
    model = diptych.load("tiny", engine="torch")
    for name, hint in (
        ("encode_images", "did you mean encode_image?"), ("embed_dim", "use dim."), ("name", "use spec, such as spec."),
        ("classify", "use diptych.classify(photos, names, model)."), ("wibble", "it has activation, dense, device,"),
    ):  # fmt: skip
        with pytest.raises(AttributeError, match="A Model has no") as error:
            getattr(model, name)
        assert f"{name!r}: {hint}" in str(error.value)
    with pytest.raises(TypeError, match="encode_text takes no convert_to_tensor=: write output='torch'"):
        model.encode_text("a dog", convert_to_tensor=True)
    assert model.encode_text("a dog", normalize=False).shape == (1, model.dim)


def test_the_signature_stays_and_every_name_that_is_meant_is_there() -> None:
    signature = inspect.signature(diptych.load)
    assert list(signature.parameters)[:3] == ["name", "pretrained", "device"]
    assert diptych.load.__doc__.startswith("Load a model")
    encode = inspect.signature(diptych.Model.encode_text)
    for elsewhere, known in ((OF_LOAD, signature.parameters), (OF_ENCODE, encode.parameters)):
        assert {meant[:-1] for meant in elsewhere.values() if meant.endswith("=")} <= set(known)
        assert not set(elsewhere) & set(known)


def test_what_is_no_name_is_a_sentence() -> None:
    @answers_for({"old": "write it in another way."})
    def function(new: int = 1) -> int:
        return new

    assert function(new=2) == 2
    with pytest.raises(TypeError, match=r"function takes no old=: write it in another way\.$"):
        function(old=2)  # type: ignore[call-arg]
