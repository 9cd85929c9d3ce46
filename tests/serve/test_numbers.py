"""True and false stand for no number, in whatever body a route takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from diptych.serve.numbers import Integer, Number, with_numbers


@pytest.mark.parametrize("kind", [int, float | None, list[int], dict[str, float], list[tuple[str, int]] | None])
def test_no_number_of_a_type_is_true(kind: Any) -> None:
    adapter = TypeAdapter(with_numbers(kind))
    for value in (True, [True], [["a", True]], {"a": False}):
        with pytest.raises(ValidationError):
            adapter.validate_python(value)
    assert adapter.json_schema() == TypeAdapter(kind).json_schema()


def test_numbers_stay_numbers() -> None:
    assert TypeAdapter(Integer).validate_python(3) == TypeAdapter(Number).validate_python("3") == 3
    assert TypeAdapter(with_numbers(bool)).validate_python(True) is True


def of(schema: Any, parts: Any) -> Iterator[Any]:
    """Yield the forms that a schema allows."""
    schema = parts[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    yield from (form for s in schema["anyOf"] for form in of(s, parts)) if "anyOf" in schema else (schema,)


def filled(schema: Any, parts: Any) -> Any:
    """Return a value of a schema."""
    form = next(of(schema, parts))
    return {"string": "red", "array": [], "object": {}}.get(form.get("type"), "red")


def spoiled(schema: Any, parts: Any) -> Iterator[tuple[str, Any]]:
    """Yield a place and a value that has true there, for every number of a schema."""
    for form in of(schema, parts):
        if form.get("type") in ("integer", "number"):
            yield "", True
        elif form.get("type") == "array":
            yield from ((place, [value]) for place, value in spoiled(form["items"], parts))
        needed = {name: filled(form["properties"][name], parts) for name in form.get("required", ())}
        for name, inner in form.get("properties", {}).items():
            for place, value in spoiled(inner, parts):
                yield place or name, {**needed, name: value}


def test_true_is_no_number_in_the_body_of_any_route(client: Any) -> None:
    description = client.get("/openapi.json").json()
    asked = set()
    for path, methods in description["paths"].items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json")
        for place, body in spoiled(content["schema"], description["components"]["schemas"]) if content else ():
            answer = client.post(path, json=body)
            assert answer.status_code == 400, (path, body, answer.text)
            assert answer.json()["message"].endswith(
                f"{place}: Input should be a number, not true or false. /openapi.json says what is taken."
            ), (path, place, answer.text)
            asked.add(f"{path} {place}")
    assert {"/v1/embeddings dimensions", "/v1/search weight", "/v1/search top", "/v2/embed output_dimension"} < asked
    assert {"/v1/classify top", "/v1/detect rate", "/v1/segment threshold"} < asked
    top = client.post("/hf/image-classification", json={"inputs": "x", "parameters": {"top_k": True}})
    assert (top.status_code, "a whole number" in top.json()["message"]) == (400, True)
