"""Prompt: the exact ordered content that the model sees, and how it is put together within the token budget.

The order is fixed: persona and recipe (system), history from the cut on, then passages and the new message in one
last `user` part. The cut is a Message's sequence number, kept by the Conversation. History stands whole from it on; only
when the budget overflows does the cut move forward, so far that history takes at most half of the room that the
system part and the last part leave. So the prompt of a Turn starts with the prompt and the answer of the Turn before
for many Turns, and the model's key-value cache holds that prefix. It holds exactly where the recipe's last part is
the message itself (`chat` without passages). Passages and a task's own wording are for one Turn: afterwards history
shows only the person's words, and the prefix holds up to that Turn.

Pure: knows no SQL, no clock and no tokenizer. Tokens are counted by a function that is given: the whole rendering
with the model's chat template, which grows with what is added but is not additive. It is called once where the
history fits, and 2 + log2(Turns) times where the cut moves.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import chain, dropwhile, groupby
from operator import attrgetter
from typing import Literal, NamedTuple

from core.errors import NotFound, PromptTooLong
from core.recipes import Passage, Recipe
from core.values import Value

Role = Literal["system", "user", "assistant"]

MAX_SPEAKER_CHARS = 40


@dataclass(frozen=True, slots=True)
class PromptPart:
    """One message of a Prompt. An answer carries the token ids it was generated as, where the model is the same."""

    role: Role
    text: str
    token_ids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """Ordered parts: system, history from the cut on, passages with the new message (always last, role `user`)."""

    parts: tuple[PromptPart, ...]


Count = Callable[[Prompt], int]
"""Tokens of the whole rendering of a Prompt."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to a Turn. `token_ids` only where the same model revision generated them."""

    generation_id: int
    text: str
    token_ids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Speech:
    """What someone said, with its answer: a Turn, or a message that is read for context only.

    `seq` is the sequence number of the Message in its Conversation, which its Turn shares. `text` is None where it was
    purged: then neither it nor its answer is shown. `speaker` is the display name. What `staff` said in a hand-off was
    said to the person by whom they talk to, so it stands among the answers: nobody else can write words there.
    """

    seq: int
    message_id: int
    revision: int
    text: str | None
    speaker: str | None = None
    answer: Answer | None = None
    staff: bool = False


@dataclass(frozen=True, slots=True)
class PromptRequest:
    """Everything of which a Prompt is made.

    `history` is in order and ends before `newest`; what stands before `cut_seq` may be missing. `shared` says that
    several people speak, so that each message carries its speaker's name. `budget` is the tokens that a prompt may
    have. To regenerate an older Turn, give the cut of its own PromptRecord, not the Conversation's.
    """

    recipe: Recipe
    newest: Speech
    budget: int
    history: Sequence[Speech] = ()
    cut_seq: int = 0
    persona: str = ""
    language: str = "en"
    arguments: Mapping[str, str] = field(default_factory=dict)
    passages: tuple[Passage, ...] = ()
    shared: bool = False


class SpeechReference(NamedTuple):
    """A Speech without its words."""

    message_id: int
    revision: int
    generation_id: int | None


class PromptRecord(Value):
    """What a Prompt was made of, to be rendered again: references and counts, no copies of other people's words.

    `arguments` are the Turn's own; whoever forgets its words forgets them too. `left_out` counts the messages of the
    history given that the Prompt does not show: those before the cut, or all of them for a one-shot recipe.
    """

    version: Literal[1] = 1
    recipe: str
    recipe_version: str
    persona_version: str
    language: str
    arguments: dict[str, str]
    shared: bool
    newest: SpeechReference
    history: tuple[SpeechReference, ...]
    passages: tuple[str, ...]
    cut_seq: int
    left_out: int
    prompt_tokens: int
    budget: int


@dataclass(frozen=True, slots=True)
class Assembled:
    """A Prompt within its budget. `cut_seq` is the cut to keep on the Conversation: never before the one given."""

    prompt: Prompt
    prompt_tokens: int
    cut_seq: int
    left_out: int
    record: PromptRecord


def assemble(request: PromptRequest, count: Count) -> Assembled:
    """Return the Prompt for `request.newest` within the budget, moving the cut only where it overflows.

    Raises PromptTooLong where the system part and the newest message alone do not fit, RecipeError, and NotFound
    where the newest message was purged.
    """
    pages = _Pages.of(request)
    start, prompt = 0, pages.prompt()
    tokens = count(prompt)
    if tokens > request.budget:
        start, prompt, tokens = _move_cut(pages, tokens, request.budget, count)
    shown = pages.shown[start:]
    cut_seq = request.cut_seq if start == 0 else (shown[0] if shown else request.newest).seq
    record = _record(request, shown, cut_seq, tokens)
    return Assembled(prompt, tokens, cut_seq, record.left_out, record)


def render(request: PromptRequest) -> Prompt:
    """Return the Prompt of everything in `request` from its cut on, whatever its length."""
    return _Pages.of(request).prompt()


def render_again(
    record: PromptRecord,
    recipe: Recipe,
    *,
    newest: Speech,
    history: Sequence[Speech],
    passages: tuple[Passage, ...] = (),
    persona: str = "",
) -> Prompt:
    """Return the Prompt that `record` tells of, given what its references lead to today.

    It is the same Prompt where `recipe.version` and `version_of(persona)` are the record's and nothing was purged.
    """
    request = PromptRequest(
        recipe=recipe,
        newest=newest,
        budget=record.budget,
        history=history,
        cut_seq=record.cut_seq,
        persona=persona,
        language=record.language,
        arguments=record.arguments,
        passages=passages,
        shared=record.shared,
    )
    return render(request)


def version_of(text: str) -> str:
    """Return a short name of exactly this text."""
    return sha256(text.encode()).hexdigest()[:12]


def speaker_name(name: str) -> str:
    """Return a display name that cannot be taken for something said: one line, no colon, at most 40 characters."""
    kept = (" " if c in ":：" or unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c for c in name)
    return " ".join("".join(kept).split())[:MAX_SPEAKER_CHARS].rstrip()


@dataclass(frozen=True, slots=True)
class _Pages:
    """The parts of a Prompt before it is decided where its history starts."""

    system: tuple[PromptPart, ...]
    shown: Sequence[Speech]
    history: Sequence[tuple[PromptPart, ...]]  # one entry a Speech of `shown`
    last: PromptPart

    @classmethod
    def of(cls, request: PromptRequest) -> _Pages:
        """Render every part once, so that trying a cut only joins them."""
        carried = (s for s in _carried(request) if s.seq >= request.cut_seq)
        shown = list(dropwhile(attrgetter("staff"), carried))  # chat templates want a person to begin
        history = [_spoken(speech, request.shared) for speech in shown]
        return cls(_system(request), shown, history, _last(request))

    def prompt(self, start: int = 0) -> Prompt:
        """Return the Prompt whose history starts with the Speech at `start`."""
        history = chain.from_iterable(self.history[start:])
        return Prompt(tuple(_merged(chain(self.system, history, (self.last,)))))

    def starts(self) -> list[int]:
        """Return where history can start other than at 0: at what a person said, or nowhere (the last entry)."""
        shown = self.shown
        begins = [i for i in range(1, len(shown)) if shown[i].seq != shown[i - 1].seq and not shown[i].staff]
        return begins + ([len(shown)] if shown else [])


def _move_cut(pages: _Pages, tokens: int, budget: int, count: Count) -> tuple[int, Prompt, int]:
    """Return (start, Prompt, tokens) of the longest history that takes at most half of the room that is left to it.

    `tokens` is the count with the whole history. Raises PromptTooLong.
    """
    starts = pages.starts()
    if not starts:
        raise PromptTooLong(tokens, budget)
    start = starts.pop()
    best = pages.prompt(start)
    least = fewest = count(best)
    if least > budget:
        raise PromptTooLong(least, budget)
    limit = least + (budget - least) // 2
    low, high = 0, len(starts)
    while low < high:
        middle = (low + high) // 2
        tried = pages.prompt(starts[middle])
        tokens = count(tried)
        if tokens <= limit:
            start, best, fewest, high = starts[middle], tried, tokens, middle
        else:
            low = middle + 1
    return start, best, fewest


def _carried(request: PromptRequest) -> Iterator[Speech]:
    """Yield the history that the recipe sees, without what was purged."""
    return (s for s in request.history if s.text is not None) if request.recipe.history else iter(())


def _system(request: PromptRequest) -> tuple[PromptPart, ...]:
    """Return the system part, or nothing where recipe and persona have nothing to say."""
    text = request.recipe.render_system(persona=request.persona, language=request.language, arguments=request.arguments)
    return (PromptPart("system", text),) if text else ()


def _last(request: PromptRequest) -> PromptPart:
    """Return the part with the passages and the newest message."""
    if request.newest.text is None:
        raise NotFound("The message was purged.")
    text = request.recipe.render_user(
        text=request.newest.text.strip(),
        message=_message(request.newest, request.shared),
        persona=request.persona,
        language=request.language,
        arguments=request.arguments,
        passages=request.passages,
    )
    return PromptPart("user", text)


def _spoken(speech: Speech, shared: bool) -> tuple[PromptPart, ...]:
    """Return a past Speech as parts: what was said, and the answer where there is one."""
    if speech.staff:
        return (PromptPart("assistant", (speech.text or "").strip()),)
    said = PromptPart("user", _message(speech, shared))
    if speech.answer is None or not speech.answer.text:
        return (said,)
    return said, PromptPart("assistant", speech.answer.text, speech.answer.token_ids)


def _message(speech: Speech, shared: bool) -> str:
    """Return what was said, under the speaker's name where several people speak."""
    text = (speech.text or "").strip()
    name = speaker_name(speech.speaker or "") if shared else ""
    return f"{name}: {text}" if name else text


def _merged(parts: Iterable[PromptPart]) -> Iterator[PromptPart]:
    """Join what one side said with nothing between into one part: chat templates want the roles to alternate."""
    for _role, run in groupby(parts, key=attrgetter("role")):
        first, *others = run
        yield replace(first, text="\n\n".join(p.text for p in (first, *others)), token_ids=None) if others else first


def _record(request: PromptRequest, shown: Sequence[Speech], cut_seq: int, tokens: int) -> PromptRecord:
    return PromptRecord(
        recipe=request.recipe.name,
        recipe_version=request.recipe.version,
        persona_version=version_of(request.persona),
        language=request.language,
        arguments=dict(request.arguments),
        shared=request.shared,
        newest=SpeechReference(request.newest.message_id, request.newest.revision, None),
        history=tuple(_reference(speech) for speech in shown),
        passages=tuple(passage.reference for passage in request.passages),
        cut_seq=cut_seq,
        left_out=sum(speech.text is not None for speech in request.history) - len(shown),
        prompt_tokens=tokens,
        budget=request.budget,
    )


def _reference(speech: Speech) -> SpeechReference:
    answer = speech.answer
    return SpeechReference(speech.message_id, speech.revision, answer.generation_id if answer else None)
