from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from diptych.core import UsageError
from diptych.serve.model import ServedModel
from tests.support.colours import ColourEncoder
from tests.support.servers.serving import colour_bytes, colour_uri


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


def test_pictures_in_other_forms_are_not_read_as_texts(client: Any) -> None:
    def post(given: object) -> Any:
        return client.post("/v1/embeddings", json={"model": "colours", "input": given}).json()

    plain = base64.b64encode(colour_bytes("red")).decode()
    part = {"type": "image_url", "image_url": {"url": colour_uri("red")}}
    expected = post(colour_uri("red"))["data"]
    for given in (plain, f"data:application/octet-stream;base64,{plain}", part, [part]):
        assert post(given)["data"] == expected
    refused = post(["https://example.org/red.png"])["error"]["message"]
    assert refused.startswith("input 0 is a URL, which is not fetched: send the picture itself")
    assert "data" in post({"text": "https://example.org/red.png"}), "a text that is meant as one"


def test_token_ids_get_an_error_that_names_the_flag(official: Any, openai: Any) -> None:
    for tokens in ([1, 2, 3], [[1, 2], [3]]):
        with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
            official.embeddings.create(model="colours", input=tokens)


def test_models_are_listed_and_none_is_loaded_by_a_request(official: Any, openai: Any) -> None:
    assert [m.id for m in official.models.list()] == ["colours", "embed-v4.0"]
    assert official.models.retrieve("colours").dimensions == 4
    with pytest.raises(openai.NotFoundError, match=r"is not served: use colours.*--alias .*=colours"):
        official.embeddings.create(model="hf:someone/else", input="red")


def test_widths_and_counts_are_checked(client: Any) -> None:
    def post(**given: Any) -> Any:
        return client.post("/v1/embeddings", json={"model": "colours", **given})

    assert post(input="red", dimensions=4).status_code == 200
    assert "cannot give 2" in post(input="red", dimensions=2).json()["error"]["message"]
    assert "not 9: send several requests." in post(input=["red"] * 9).json()["error"]["message"]
    assert post(input=[""]).status_code == post(input=[{"audio": "x"}]).status_code == 400
    jina = post(input=[{"text": "red"}, {"image": base64.b64encode(colour_bytes("red")).decode()}])
    assert len(jina.json()["data"]) == 2


def test_infinity_asks_without_the_prefix_and_with_0_dimensions(client: Any) -> None:
    given = {"model": "colours", "input": ["red"], "dimensions": 0, "encoding_format": "float", "user": None}
    short, long = client.post("/embeddings", json=given), client.post("/v1/embeddings", json=given)
    assert short.status_code == 200, short.text
    assert short.json()["data"] == long.json()["data"]
    owned = [{**facts, "owned_by": "infinity"} for facts in client.get("/v1/models").json()["data"]]
    assert client.get("/models").json() == {"object": "list", "data": owned}


def test_messages_of_vllm_have_one_vector_of_their_parts(client: Any) -> None:
    def vectors(**given: Any) -> Any:
        answer = client.post("/v1/embeddings", json={"model": "colours", **given})
        assert answer.status_code == 200, answer.text
        return np.array([row["embedding"] for row in answer.json()["data"]])

    picture = {"type": "image_url", "image_url": {"url": colour_uri("red")}}
    text = {"type": "text", "text": "blue"}
    red, blue = vectors(input=[colour_uri("red"), "blue"])
    assert np.array_equal(vectors(messages=[{"role": "user", "content": [picture]}]), [red])
    assert np.array_equal(vectors(messages=[{"role": "user", "content": "blue"}]), [blue])
    both = vectors(messages=[{"role": "user", "content": [picture, text]}])
    assert np.allclose(both, (red + blue) / np.linalg.norm(red + blue), atol=1e-6)
    for given in ({}, {"input": "red", "messages": []}, {"messages": []}, {"messages": [{"content": 3}]}):
        assert client.post("/v1/embeddings", json=given).status_code == 400


def test_texts_that_are_too_long_are_refused_or_cut_as_the_server_is_set(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = ColourEncoder.inputs

    def short(self: ColourEncoder, items: Any, size: int | None = None) -> Any:
        if self.modality == "text" and any(len(text.split()) > 5 for text in items):
            raise UsageError("a text has more than 5 words: truncate=True (NAME?truncate).")
        return inputs(self, items, size)

    monkeypatch.setattr(ColourEncoder, "inputs", short)
    given = {"input": "red and four more words blue"}
    refused = serve().post("/v1/embeddings", json=given)
    assert refused.status_code == 400
    assert refused.json()["message"] == "a text has more than 5 words: have the server started so that it cuts texts."
    cut = serve(truncate=True).post("/v1/embeddings", json=given)
    assert cut.status_code == 200, cut.text
    red = serve().post("/v1/embeddings", json={"input": "red"}).json()["data"]
    assert cut.json()["data"] == red

    client = serve()
    red, blue = (client.post("/v2/embed", json={"texts": [c]}).json()["embeddings"]["float"] for c in ("red", "blue"))
    texts = {"texts": ["red one two three four five blue"]}
    for truncate, expected in ((None, red), ("END", red), ("START", blue)):
        answer = client.post("/v2/embed", json={**texts, "truncate": truncate})
        assert answer.json()["embeddings"]["float"] == expected, truncate
    assert client.post("/v2/embed", json={**texts, "truncate": "NONE"}).status_code == 400


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


def test_a_body_that_is_no_object_names_no_class_of_ours(client: Any) -> None:
    for body in ([1, 2], "red", 3):
        answer = client.post("/v1/embeddings", json=body)
        sentence = answer.json()["error"]["message"]
        assert (answer.status_code, "EmbeddingsRequest" in sentence) == (400, False)
        assert sentence.startswith("The body is no JSON object")


def test_models_are_what_infinitys_client_reads(client: Any) -> None:
    """Its ``ModelInfo.from_dict`` raises KeyError without ``stats``, and ValueError for any owner but "infinity"."""
    facts = client.get("/models").json()["data"][0]
    assert (facts["stats"], facts["owned_by"]) == ({"queue_absolute": 0}, "infinity")
    assert client.get("/v1/models").json()["data"][0]["owned_by"] == "diptych"


def test_azures_client_asks_by_its_deployment(openai: Any, address: str) -> None:
    client = openai.AzureOpenAI(azure_endpoint=address, api_key="k" * 16, api_version="2024-02-01", max_retries=0)
    plain = openai.OpenAI(base_url=f"{address}/openai/v1", api_key="k" * 16, max_retries=0)
    found, told = (one.embeddings.create(model="colours", input="red").data[0].embedding for one in (client, plain))
    assert found == told
    with pytest.raises(openai.NotFoundError, match="'nope' is not served"):
        client.embeddings.create(model="nope", input="red")
