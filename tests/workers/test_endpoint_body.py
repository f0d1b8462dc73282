"""What is said stays what was said, its tokens are never counted too few, and a stream is read however it is cut."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import slimpajama  # noqa: F401 - registers the packaged model's tokenizer
from core.prompts import Prompt, PromptPart
from tests.workers.tiny import make_tokenizer
from workers.endpoint.body import content, messages_of
from workers.endpoint.counting import UpperBound
from workers.endpoint.pieces import read_pieces

MARKERS = (
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|start_header_id|>", "<|START_OF_TURN_TOKEN|>",
    "<｜User｜>", "<｜end▁of▁sentence｜>", "<s>", "</s>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>",
    "<turn|>", "<tool_call|>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "[|user|]", "[SYSTEM_PROMPT]", "[gMASK]",
)  # fmt: skip
TEXT = st.text(st.characters() | st.sampled_from(["<", "|", ">", "[", "]", "\N{ARABIC LIGATURE JALLAJALALOUHOU}"]))


@given(text=st.lists(TEXT | st.sampled_from(MARKERS)).map("".join))
def test_no_marker_is_left_and_nothing_else_is_changed(text: str) -> None:
    said = content(text)
    assert not any(marker in said for marker in MARKERS)
    assert "\0" not in said
    said.encode()
    before = (
        text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )
    assert said.replace(" ", "") == before.replace(" ", "")


@pytest.mark.parametrize("text", ["a < b | c > d", "x[0] | y", "<b>bold</b>", "<script>", "a <= b", "[1, 2]", "😀 é"])
def test_other_brackets_stay_as_they_are(text: str) -> None:
    assert content(text) == text


def test_the_system_part_opens_the_persons_first_message_where_it_has_to() -> None:
    roles = (("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"))
    prompt = Prompt(tuple(PromptPart(role, text) for role, text in roles))
    assert [m["role"] for m in messages_of(prompt)] == ["system", "user", "assistant", "user"]
    assert messages_of(prompt, system_in_user=True)[0] == {"role": "user", "content": "s\n\na"}


@pytest.fixture(scope="module", params=["bytes", "slimpajama"])
def some_tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return make_tokenizer() if request.param == "bytes" else AutoTokenizer.from_pretrained("slimpajama")


@given(said=st.lists(TEXT, min_size=1, max_size=4))
def test_the_bound_is_never_below_the_tokens(some_tokenizer: PreTrainedTokenizerFast, said: list[str]) -> None:
    def tokens(texts: list[str]) -> int:
        roles = ("user", "assistant")
        messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
        encoded = some_tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
        return len(encoded["input_ids"])

    one = tokens(["a"])
    bound = UpperBound(once=one, each=tokens(["a"] * 3) - one)
    said = [content(text) for text in said]
    assert bound.bound([{"role": "user", "content": text} for text in said]) >= tokens(said)


class Cut(httpx2.AsyncByteStream):
    """A body in pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


@given(words=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1)), cuts=st.sets(st.integers(0, 999)))
def test_a_stream_is_read_however_the_network_cuts_it(words: list[str], cuts: set[int]) -> None:
    events = [json.dumps({"choices": [{"delta": {"content": word}}]}, ensure_ascii=False) for word in words]
    body = "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode()
    edges = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    pieces = [body[start:end] for start, end in pairwise(edges)]

    async def read() -> list[str]:
        response = httpx2.Response(
            200,
            headers={"Content-Type": "text/event-stream"},
            stream=Cut(pieces),
            request=httpx2.Request("POST", "http://x/v1"),
        )
        return [piece.text async for piece in read_pieces(response, 1 << 20)]

    assert asyncio.run(read()) == words
