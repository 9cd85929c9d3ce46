from __future__ import annotations

from diptych.serve.inputs import Input, parts_of


def test_a_request_is_split_into_batches_of_different_inputs() -> None:
    inputs = [Input("text", "a"), Input("image", b"x"), Input("text", "b"), Input("text", "a"), Input("text", "c")]
    assert list(parts_of(inputs, 2)) == [("image", [[1]]), ("text", [[0, 3], [2]]), ("text", [[4]])]
