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


def test_boards_indexes_predictors_and_systems_answer_names_of_other_libraries() -> None:
    data, model = diptych.open_data("demo:clothes"), diptych.load("tiny", engine="torch")
    board = diptych.board.run(data, model, methods=["zero-shot"], seeds=[1])
    assert (len(board), len(board.plot().axes)) == (2, 1)
    index = diptych.index("demo:photos", model=model)
    few = data["test"].take(range(0, 138, 10))
    fitted = diptych.systems.GDA(alpha=1.0).fit(model, few)
    named = diptych.classify("demo:photos", ["cat", "rocket"], model)
    for thing, name, hint in (
        (board, "recommended", r"use data\['choice'\]"), (board, "rows", r"use the board itself"),
        (board, "best_model", "export= of diptych.board"), (board, "report", "out= of diptych.board"),
        (board, "winner", "whose rows can be sorted"), (board, "systems", "use names"), (board, "scores", "interval"),
        (index, "add", "use diptych.index"), (index, "remove", r"use diptych.index\(remove="),
        (index, "path", "use folder"),
        (index, "save", "which writes the index there"), (index, "embeddings", "use diptych.encode"),
        (index, "similar", r"use search\(query\)"), (index, "paths", r"use search\(query, top=len"),
        (fitted, "fit", "returns another predictor"), (fitted, "evaluate", r"use score\(photos\)"),
        (fitted, "confusion_matrix", "whose results have it"), (fitted, "coef_", "use fitted"),
        (fitted, "decision_function", "use predict_proba"), (fitted, "export", r"use save\(folder\)"),
        (fitted, "transform", "of the model"), (fitted, "plot", "whose results have it"),
        (named, "probs", "use probabilities"), (named, "top_k", "use top= of the verb"),
        (named, "wrong", "results.truth"),
        (named, "classification_report", "sklearn.metrics"), (named, "f1", "sklearn.metrics"),
        (named, "filter", "for item in results if"), (named, "top1", "use accuracy"),
        (named, "predictions", "use labels"),
        (diptych, "PhotoIndex", "use index"), (diptych, "open_index", r"use search\(folder, query\)"),
        (diptych, "load_predictor", "use load_classifier"), (diptych, "compare", "use board"),
        (diptych, "set_device", r"use load\(name, device="), (diptych, "plan", "use what the verbs return"),
        (diptych.systems, "LogisticRegression", "use LinearProbe"), (diptych.systems, "list", "list_systems"),
    ):  # fmt: skip
        with pytest.raises(AttributeError, match=hint):
            getattr(thing, name)
    with pytest.raises(TypeError, match="takes no k=: did you mean top="):
        index.search("a cat", k=3)
    with pytest.raises(TypeError, match="use search"):
        index[0]
    with pytest.raises(TypeError, match="write model= before it"):
        diptych.audit(data, model)


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
