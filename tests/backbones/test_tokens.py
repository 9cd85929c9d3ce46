from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diptych.backbones.tokens import ClipBpe, HubTokens, NoTokens, escape, load_tokenizer, openclip_tokens, padded
from diptych.core import DataError, NotAvailable, UsageError
from tests.support.checkpoints import small_tokenizer

BPE = ClipBpe()
START, END = 49406, 49407


@pytest.mark.parametrize(
    "text",
    [
        "a photo of a cat",
        "rock &amp; roll",
        "“quotes” and ﬁne ligatures",
        "Ｆｕｌｌ width",
        "  many \n spaces ",
        "",
        "猫 🐈 naïve",
        "it's 42",
        "a <b> c",
    ],
)
def test_ids_equal_open_clips(text: str) -> None:
    theirs = open_clip.tokenize([text])[0]
    length = int(theirs.argmax()) + 1
    assert BPE.ids([text]) == [theirs[:length].tolist()]


@pytest.mark.parametrize("clean", ["canonicalize", "whitespace"])
def test_other_cleaning_equals_open_clips(clean: str) -> None:
    theirs = open_clip.SimpleTokenizer(clean=clean)(["Rock_and, Roll!"])[0]
    assert ClipBpe(clean).ids(["Rock_and, Roll!"]) == [theirs[: int(theirs.argmax()) + 1].tolist()]


@pytest.mark.parametrize(
    "literal",
    [
        "<end_of_text>",
        "<start_of_text>",
        "<END_OF_TEXT>",
        "a <end_of_text> b",
        "&lt;end_of_text&gt;",
        "&amp;lt;end_of_text&amp;gt;",
        "＜end_of_text＞",
        "<<end_of_text>>",
        "<end_of_text><end_of_text>",
    ],
)
def test_literal_special_tokens_become_letters(literal: str) -> None:
    (ids,) = BPE.ids([literal])
    assert ids[0] == START
    assert ids[-1] == END
    assert not {START, END} & set(ids[1:-1])


def test_open_clip_itself_moves_the_pooling_position() -> None:
    """The trap that escaping closes: a literal end token cuts the sentence short there."""
    assert int(open_clip.tokenize(["a <end_of_text> photo of a cat"])[0].argmax()) == 2


def test_escaped_literals_are_the_ids_of_their_letters() -> None:
    """As the byte-pair encoding would have read them, had it no special tokens."""
    plain = open_clip.SimpleTokenizer()
    plain.pat = open_clip.tokenizer.re.compile(
        r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""", open_clip.tokenizer.re.IGNORECASE
    )
    assert BPE.ids(["a <end_of_text> b"])[0][1:-1] == plain.encode("a <end_of_text> b")


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.sampled_from("<>_ &;ltgamp＜＞endofxsr") | st.characters(codec="utf-8"), max_size=40))
def test_no_text_contains_a_special_id(text: str) -> None:
    (ids,) = BPE.ids([text])
    assert not {START, END} & set(ids[1:-1])


def test_further_special_tokens_are_escaped_too() -> None:
    (ids,) = ClipBpe(special=("<image>",)).ids(["an <image> here"])
    assert max(ids) == END
    assert ids.count(END) == 1


def test_identity_follows_the_cleaning() -> None:
    assert ClipBpe("lower").identity != ClipBpe("whitespace").identity
    assert ClipBpe("lower").identity == BPE.identity


def test_padding() -> None:
    texts = ["a cat", "a photo of a cat"]
    full = padded(BPE, texts, 77, trim=False, truncate=False)
    assert torch.equal(full, open_clip.tokenize(texts))
    assert torch.equal(padded(BPE, texts, 77, trim=True, truncate=False), full[:, :7])


@pytest.mark.parametrize("words", [75, 76])
def test_the_longest_text_that_fits(words: int) -> None:
    text = "cat " * words
    if words == 75:
        assert padded(BPE, [text], 77, trim=True, truncate=False).shape == (1, 77)
    else:
        with pytest.raises(UsageError, match=r"78 tokens and this model reads 77.*NAME.truncate"):
            padded(BPE, [text], 77, trim=True, truncate=False)
        assert torch.equal(padded(BPE, [text], 77, trim=True, truncate=True), open_clip.tokenize([text]))


def test_a_missing_tokenizer_says_where_it_was_looked_for() -> None:
    with pytest.raises(NotAvailable, match=r"siglip.*org/name"):
        NoTokens("siglip-sentencepiece", "hub repository org/name").ids(["a"])


def test_escape_leaves_other_text_alone() -> None:
    assert escape("a < b > c", ["<end_of_text>"]) == "a < b > c"


def test_transformers_tokenizers_split_literal_special_tokens(tmp_path: Path) -> None:
    small_tokenizer(tmp_path)
    tokens = HubTokens(load_tokenizer(tmp_path), "siglip-sentencepiece")
    (ids,) = tokens.ids(["a </s> cat <pad>"])
    assert ids.count(1) == 1
    assert 0 not in ids
    assert ids[-1] == 1
    assert tokens.tokenizer(["a </s> cat"])["input_ids"][0].count(1) == 2  # the trap


def test_a_tokenizer_without_padding_is_refused(tmp_path: Path) -> None:
    small_tokenizer(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    tokenizer.pad_token = None
    with pytest.raises(DataError, match="pad_token"):
        HubTokens(tokenizer, "siglip-sentencepiece")


@pytest.mark.parametrize("wrong", [{"tokenizer_mode": "clips"}, {"tokenizer_kwargs": {"reduction_mask": "random"}}])
def test_tokenizer_settings_that_are_not_supported(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="not supported"):
        openclip_tokens({"text_cfg": wrong}, None, offline=True)


PLAIN = open_clip.SimpleTokenizer()


@given(st.text(st.characters(codec="ascii"), max_size=60))
@settings(max_examples=300, deadline=None)
def test_ascii_texts_take_the_short_way_to_the_same_ids(text: str) -> None:
    """Where cleaning is skipped, and where a control character or an entity forbids it."""
    if not any(PLAIN.decoder[i] in text.lower() for i in PLAIN.all_special_ids):
        assert BPE.ids([text]) == [[START, *PLAIN.encode(text), END]]
