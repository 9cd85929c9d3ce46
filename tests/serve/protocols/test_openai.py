from __future__ import annotations

import base64
from typing import Any

import httpx
import numpy as np
import pytest

from diptych.serve.model import ServedModel
from tests.support.serving import colour_bytes, colour_uri


@pytest.fixture(scope="module")
def openai() -> Any:
    return pytest.importorskip("openai", reason="the test of OpenAI's protocol uses its client")


@pytest.fixture
def official(address: str, openai: Any) -> Any:
    with openai.OpenAI(api_key="none", base_url=f"{address}/v1", max_retries=0) as client:
        yield client


def test_the_official_client_reads_base64_and_floats_alike(official: Any, model: ServedModel) -> None:
    packed = official.embeddings.create(model="colours", input=["a red thing", "a blue thing"])
    plain = official.embeddings.create(model="colours", input=["a red thing", "a blue thing"], encoding_format="float")
    expected = model.model.encode_text(["a red thing", "a blue thing"])
    for answer in (packed, plain):
        assert np.array_equal(np.array([d.embedding for d in answer.data], np.float32), expected)
    assert packed.model == "colours"
    assert [d.index for d in packed.data] == [0, 1]


def test_the_official_client_sends_pictures_as_data_addresses(official: Any, model: ServedModel) -> None:
    mixed = official.embeddings.create(model="colours", input=[colour_uri("red"), "something red"])
    plain = base64.b64encode(colour_bytes("red")).decode()
    marked = official.embeddings.create(model="colours", input=[plain], extra_body={"modality": "image"})
    assert mixed.data[0].embedding == marked.data[0].embedding
    vectors = np.array([d.embedding for d in mixed.data])
    assert vectors[0] @ vectors[1] > 0.9


def test_token_ids_get_an_error_that_names_the_flag(official: Any, openai: Any) -> None:
    for tokens in ([1, 2, 3], [[1, 2], [3]]):
        with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
            official.embeddings.create(model="colours", input=tokens)


def test_models_are_listed_and_none_is_loaded_by_a_request(official: Any, openai: Any) -> None:
    assert [m.id for m in official.models.list()] == ["colours", "embed-v4.0"]
    assert official.models.retrieve("colours").dimensions == 4
    with pytest.raises(openai.NotFoundError, match="is not served: use colours"):
        official.embeddings.create(model="hf:someone/else", input="red")


def test_widths_and_counts_are_checked(client: Any) -> None:
    def post(**given: Any) -> Any:
        return client.post("/v1/embeddings", json={"model": "colours", **given})

    assert post(input="red", dimensions=4).status_code == 200
    assert "cannot give 2" in post(input="red", dimensions=2).json()["error"]["message"]
    assert "not 9: send several" in post(input=["red"] * 9).json()["error"]["message"]
    assert post(input=[""]).status_code == post(input=[{"audio": "x"}]).status_code == 400
    jina = post(input=[{"text": "red"}, {"image": base64.b64encode(colour_bytes("red")).decode()}])
    assert len(jina.json()["data"]) == 2


def test_langchain_embeds_texts_where_it_sends_no_token_ids(address: str, model: ServedModel) -> None:
    langchain = pytest.importorskip("langchain_openai", reason="LangChain is not in the test group: it is large")
    texts = ["a red thing", "a blue thing"]
    expected = model.model.encode_text(texts)
    with httpx.Client() as connections:
        embeddings = langchain.OpenAIEmbeddings(
            base_url=f"{address}/v1", api_key="none", model="colours", check_embedding_ctx_length=False,
            http_client=connections,
        )  # fmt: skip
        assert np.array_equal(np.array(embeddings.embed_documents(texts), np.float32), expected)
        assert np.array_equal(np.array(embeddings.embed_query(texts[0]), np.float32), expected[0])


def test_llamaindex_embeds_texts(address: str, model: ServedModel) -> None:
    like = pytest.importorskip("llama_index.embeddings.openai_like", reason="LlamaIndex is not in the test group")
    texts = ["a red thing", "a blue thing"]
    with httpx.Client() as connections:
        embeddings = like.OpenAILikeEmbedding(
            model_name="colours", api_base=f"{address}/v1", api_key="none", http_client=connections
        )
        found = np.array(embeddings.get_text_embedding_batch(texts), np.float32)
    assert np.array_equal(found, model.model.encode_text(texts))
