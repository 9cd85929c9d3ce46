from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.servers.serving import colour_uri


def ranked(client: Any, **given: Any) -> Any:
    answer = client.post("/v1/rerank", json={"query": "something red", **given})
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def test_texts_and_pictures_are_ranked_by_their_cosine_with_the_query(client: Any) -> None:
    documents = ["green", colour_uri("red"), {"text": "blue"}, {"image": colour_uri("green")}, "red"]
    results = ranked(client, documents=documents, return_documents=True)
    scores = [row["relevance_score"] for row in results]
    assert {results[0]["index"], results[1]["index"]} == {1, 4}
    assert scores == sorted(scores, reverse=True)
    assert {row["index"]: row.get("document") for row in results}[2] == {"text": "blue"}
    assert "document" not in {row["index"]: row for row in results}[1]
    assert ranked(client, documents=documents, top_n=2) == [
        {"index": row["index"], "relevance_score": row["relevance_score"]} for row in results[:2]
    ]
    by_picture = client.post("/rerank", json={"query": colour_uri("blue"), "documents": ["red", "blue"]}).json()
    assert [row["index"] for row in by_picture["results"]] == [1, 0]


def test_the_official_client_of_cohere_ranks(address: str) -> None:
    cohere = pytest.importorskip("cohere", reason="the test of Cohere's protocol uses its client")
    with httpx.Client() as connections:
        official = cohere.ClientV2(api_key="none", base_url=address, httpx_client=connections)
        answer = official.rerank(model="embed-v4.0", query="red", documents=["blue", "a red thing"], top_n=1)
    assert [row.index for row in answer.results] == [1]
    assert answer.results[0].relevance_score > 0.9


@pytest.mark.parametrize(
    "given", [{"documents": []}, {"documents": [""]}, {"documents": ["a"], "top_n": 0}, {"documents": [{"x": "a"}]}]
)
def test_requests_that_mean_nothing_get_a_sentence(client: Any, given: dict[str, Any]) -> None:
    answer = client.post("/v1/rerank", json={"query": "red", **given})
    assert answer.status_code == 400
    assert answer.json()["message"].endswith(".")
