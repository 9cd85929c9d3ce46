from __future__ import annotations

import base64
import gc
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from diptych.serve.model import ServedModel
from diptych.serve.protocols.cohere import packed
from tests.support.servers.serving import colour_bytes, colour_uri


def test_forms_of_vectors_follow_their_definition() -> None:
    vectors = np.array([[0.5, -0.5, 0.0, 1.0, -1.0, 0.1, -0.1, 0.004, 0.2]], dtype=np.float32)
    assert packed(vectors, "int8") == [[64, -64, 0, 127, -127, 13, -13, 1, 25]]
    assert packed(vectors, "uint8") == [[192, 64, 128, 255, 1, 141, 115, 129, 153]]
    assert packed(vectors, "ubinary") == [[0b10010101, 0b10000000]]
    assert packed(vectors, "binary") == [[0b10010101 - 128, 0]]
    assert np.frombuffer(base64.b64decode(packed(vectors, "base64")[0]), "<f4").tolist() == vectors[0].tolist()


def test_the_official_client_embeds_texts_pictures_and_both(address: str, model: ServedModel) -> None:
    cohere = pytest.importorskip("cohere", reason="the test of Cohere's protocol uses its client")
    with httpx.Client() as connections:
        official = cohere.ClientV2(api_key="none", base_url=address, httpx_client=connections)
        check(official, model)


def test_the_official_client_of_the_first_version_embeds_texts(address: str, model: ServedModel) -> None:
    """LangChain's CohereEmbeddings uses it, with the forms of vectors named."""
    cohere = pytest.importorskip("cohere", reason="the test of Cohere's protocol uses its client")
    texts = [f"a red thing {i}" for i in range(100)]
    expected = model.model.encode_text(texts)
    with httpx.Client() as connections:
        official = cohere.Client(api_key="none", base_url=address, httpx_client=connections)
        common = {"model": "embed-v4.0", "input_type": "search_document", "truncate": None}
        plain = official.embed(texts=texts, **common)
        typed = official.embed(texts=texts, embedding_types=["float"], **common)
        official._executor.shutdown()
    assert np.array_equal(np.array(plain.embeddings, np.float32), expected)
    assert plain.meta.billed_units.input_tokens == 0, "releases before 7 add up tokens that must be there"
    assert np.array_equal(np.array(typed.embeddings.float_, np.float32), expected)


def check(official: Any, model: ServedModel) -> None:
    common: dict[str, Any] = {"model": "embed-v4.0", "input_type": "search_document", "embedding_types": ["float"]}
    texts = official.embed(texts=["a red thing"], **{**common, "embedding_types": ["float", "int8", "ubinary"]})
    expected = model.model.encode_text(["a red thing"])
    assert np.array_equal(np.array(texts.embeddings.float_, np.float32), expected)
    assert texts.embeddings.int8 == np.rint(127 * expected).astype(int).tolist()
    images = official.embed(images=[colour_uri("red")], **{**common, "input_type": "image"})
    assert (images.images[0].width, images.images[0].height) == (12, 9)
    both = official.embed(
        inputs=[
            {
                "content": [
                    {"type": "text", "text": "a red thing"},
                    {"type": "image_url", "image_url": {"url": colour_uri("red")}},
                ]
            }
        ],
        **common,
    )
    total = expected[0] + np.array(images.embeddings.float_[0])
    assert np.allclose(both.embeddings.float_[0], total / np.linalg.norm(total), atol=1e-6)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"texts": ["a"], "images": ["data:image/png;base64,"]},
        {"texts": ["a", ""]},
        {"inputs": [{"content": []}]},
        {"inputs": [{"content": [{"type": "audio"}]}]},
        {"texts": ["red"], "output_dimension": 2},
        {"texts": ["red"], "embedding_types": ["int4"]},
    ],
)
def test_requests_that_mean_nothing_get_a_sentence(client: Any, given: dict[str, Any]) -> None:
    answer = client.post("/v2/embed", json={"model": "embed-v4.0", **given})
    assert answer.status_code == 400
    assert answer.json()["message"].endswith(".")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its connection open
def test_llamaindex_embeds_texts_and_pictures(address: str, model: ServedModel, tmp_path: Path) -> None:
    llama = pytest.importorskip("llama_index.embeddings.cohere", reason="LlamaIndex is not in the test group")
    (tmp_path / "red.png").write_bytes(colour_bytes("red"))
    embeddings = llama.CohereEmbedding(base_url=address, api_key="none", model_name="embed-v4.0")
    text = np.array(embeddings.get_text_embedding("a red thing"), np.float32)
    picture = np.array(embeddings.get_image_embedding(str(tmp_path / "red.png")), np.float32)
    assert np.array_equal(text, model.model.encode_text(["a red thing"])[0])
    assert np.array_equal(picture, model.model.encode_image([str(tmp_path / "red.png")])[0])
    del embeddings
    gc.collect()
