"""What a whole conversation asks for: from the messages and the `model` field alone, since nothing is remembered.

Only user messages carry directives. A bare one holds until the next bare one, a directive with a prompt behind it
for its own message. Text beats `model`, except where isolation would be opened or closed against it; and isolation
that a bare directive began is ended by nothing but a bare one, because longer messages hold pasted text. Knows no
scores and no engine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from router.core.chore import is_chore
from router.core.conversation import Conversation, Message
from router.core.directive import Directive, Heard, hear
from router.core.errors import BadRequest, Contradiction, UnknownMode
from router.core.modes import Modes, spoken_list
from router.core.policy import Policy
from router.core.subject import Turn

_MOST_IN_ONE = 4  # directives that are looked for in one message; more than one is a contradiction or a repetition


@dataclass(frozen=True, slots=True)
class Reading:
    """What the conversation asks for now.

    `asked`: adapter names, None when the classifier shall choose. `asked_by`: where the ask stands: the last
    message, an earlier bare directive (or a bare one just now), or `model`. `subject`: the last message as a
    classifier sees it, empty when there is nothing to classify. `messages`: what the engine sees, directives and
    their confirmations taken out. `turns`: the user's messages whose subjects count, oldest first. `confirms`: set
    when the last message is nothing but a directive; then the router itself answers, with `confirmation`. `chore`:
    the last message is a task of the front end's own; nothing in it is a directive, and it is nobody's subject.
    """

    asked: frozenset[str] | None
    asked_by: Literal["message", "conversation", "model"] | None
    subject: str
    messages: tuple[Message, ...]
    turns: tuple[Turn, ...] = ()
    confirms: Directive | None = None
    chore: bool = False

    def prefix(self, turn: Turn | None = None) -> list[str]:
        """Return the user's texts as the engine saw them when `turn` was the last; all of them without one."""
        said = [message.text for message in self.messages if message.role == "user"]
        return said if turn is None else said[: turn.prompts]


def read(conversation: Conversation, model: str | None, modes: Modes) -> Reading:
    """Derive what the conversation asks for.

    Raises BadRequest without a user message; UnknownMode and Forbidden when `model` or the directive in force is
    at fault (a superseded one in the history is not); Contradiction when they exclude each other, and for a
    directive with a prompt that would leave isolated speech.
    """
    messages = conversation.messages
    last = max((i for i, message in enumerate(messages) if message.role == "user"), default=None)
    if last is None:
        raise BadRequest("messages holds no message with the role 'user'; add one", param="messages")
    by_model = asked_by_model(model, modes)
    standing: Heard | None = None
    current: Heard | None = None
    kept: list[Message] = []
    turns: list[Turn] = []
    prompts = 0
    chore = False
    instructed = any(m.role in ("system", "developer") and is_chore(m.text) for m in messages[:last])
    confirmed = False  # the message before was a bare directive: the assistant's next one is our confirmation
    for i, message in enumerate(messages):
        if confirmed and message.role == "assistant" and not (message.extra or {}).get("tool_calls"):
            confirmed = False
            continue
        confirmed = False
        if message.role != "user":
            kept.append(message)
            continue
        chore = is_chore(message.text) or (instructed and i == last)
        heard = None if chore else _hear(message, modes)
        prompts += heard is None or heard.refusal is not None or not heard.directive.bare
        if heard is None:
            kept.append(message)
            if not chore:
                turns.append(Turn(message.text, _names(standing) or by_model, prompts))
            continue
        current = heard if i == last else None
        if heard.directive.bare:
            standing = heard
        if heard.refusal is not None:
            # refused when it was the last: it never had a decision, but it may have a subject
            kept.append(message)
        elif heard.directive.bare:
            confirmed = True
        else:
            kept.append(message.with_text(heard.directive.rest))
        if not heard.directive.bare:
            turns.append(Turn(heard.directive.rest, _names(heard) or by_model, prompts))
    chosen = current or standing
    if chosen is not None and chosen.refusal is not None:
        raise chosen.refusal
    if current is not None and standing is not None:
        _check_leaving(standing, current, modes.policy)
    by_text = _names(chosen)
    _check(by_text, by_model, modes.policy)
    asked = by_text or by_model
    asked_by: Literal["message", "conversation", "model"] | None = None
    if by_text:
        asked_by = "message" if current and not current.directive.bare else "conversation"
    elif by_model:
        asked_by = "model"
    confirms = current.directive if current and current.directive.bare else None
    subject = "" if confirms or chore else turns[-1].subject.text
    return Reading(asked, asked_by, subject, tuple(kept), tuple(turns), confirms, chore)


def asked_by_model(model: str | None, modes: Modes) -> frozenset[str] | None:
    """Return what OpenAI's `model` field asks for: `physics`, `физика+агоге`; None for empty and `auto`.

    Names and aliases exactly, case aside; a leading `agoge/` is dropped. Raises UnknownMode as OpenAI's 404
    `model_not_found`, because clients know that one; Forbidden as for a directive.
    """
    spoken = (model or "").strip()
    if not spoken or modes.named(spoken) is None:
        spoken = spoken.removeprefix("agoge/").strip()
        if spoken.lower() in ("", "auto", "авто", "agoge") and modes.named(spoken) is None:
            return None
    names: set[str] = set()
    for part in spoken.split("+"):
        name = modes.named(part)
        if name is None:
            refusal = UnknownMode(
                f"the model {model!r} does not exist: no adapter is called {part.strip()!r}; {modes.listing()}",
                code="model_not_found",
                param="model",
            )
            refusal.status = 404
            raise refusal
        names.add(name)
    if (forbidden := modes.refusal(names)) is not None:
        forbidden.param = "model"
        raise forbidden
    asked = frozenset(names)
    _check(frozenset(), asked, modes.policy)
    return asked


def confirmation(reading: Reading, policy: Policy) -> str:
    """Return the router's own answer to a bare directive, in its language: who speaks now and how to end it.

    Raises ValueError when the reading confirms nothing.
    """
    if reading.confirms is None:
        raise ValueError("the last message is not a bare directive; there is nothing to confirm")
    russian = reading.confirms.language == "ru"
    if reading.asked is None:
        if russian:
            return "Режим выключен: адаптеры снова выбираются по каждому вопросу."
        return "Mode off: adapters are chosen for every prompt again."
    alone = any(policy.adapter(name).alone for name in reading.asked)
    always = frozenset() if alone else policy.always()
    speaking = spoken_list(sorted(reading.asked | always))
    verb = "говорят" if len(reading.asked | always) > 1 else "говорит"
    if reading.asked_by == "model":
        if russian:
            return f"Режим из сообщений выключен. По полю model {verb}: {speaking}."
        return f"The mode from the messages is off. By the model field, now speaking: {speaking}."
    if russian:
        return f"Теперь {verb} {'только ' if alone else ''}{speaking}. Выключить: «режим: авто»."
    return f'Now speaking: {speaking}{" alone" if alone else ""}. To switch off: "mode: auto".'


def _names(heard: Heard | None) -> frozenset[str]:
    return heard.directive.names if heard else frozenset()


def _hear(message: Message, modes: Modes) -> Heard | None:
    """Return the directive of one message with all repetitions taken out; two different ones are refused."""
    heard = hear(message.text, modes)
    if heard is None or heard.refusal is not None:
        return heard
    directive, refusal = heard.directive, heard.refusal
    for _ in range(_MOST_IN_ONE):
        again = hear(directive.rest, modes)
        if again is None:
            break
        if again.refusal is not None:
            refusal = again.refusal
            break
        if again.directive.names != directive.names:
            said = [spoken_list(sorted(names)) or "auto" for names in (directive.names, again.directive.names)]
            refusal = Contradiction(
                f"one message asks for {said[0]} and for {said[1]}; keep one of them, or join them with +",
                param="messages",
            )
            break
        directive = replace(directive, rest=again.directive.rest, bare=again.directive.bare)
    else:
        if hear(directive.rest, modes) is not None:  # what follows may be another wish: nobody reads on for ever
            refusal = Contradiction("one message repeats its directive over and over; keep one", param="messages")
    if not isinstance(message.content, str) and message.with_text("").content:
        directive = replace(directive, bare=False)  # an image is a prompt too
    return Heard(directive, refusal)


def _check(by_text: frozenset[str], by_model: frozenset[str] | None, policy: Policy) -> None:
    """Raise Contradiction for an isolated adapter with company, in one ask or between the two."""
    for asked, where in ((by_text, "messages"), (by_model or frozenset(), "model")):
        alone = sorted(name for name in asked if policy.adapter(name).alone)
        if alone and len(asked) > 1:
            others = spoken_list(sorted(asked - {alone[0]}))
            raise Contradiction(f"{alone[0]} speaks alone, not together with {others}; ask for one", param=where)
    if not by_text or by_model is None or by_text == by_model:
        return
    if any(policy.adapter(name).alone for name in by_text | by_model):
        raise Contradiction(
            f"the messages ask for {spoken_list(sorted(by_text))}, but model fixes {spoken_list(sorted(by_model))}"
            ", and isolated speech is not entered or left against it; change model or drop the directive",
            param="model",
        )


def _check_leaving(standing: Heard, current: Heard, policy: Policy) -> None:
    """Raise Contradiction when a message with more than a directive would leave isolation that a bare one began.

    A mail or a web page that somebody pastes can open or close with "mode: auto"; only a message that is nothing
    but the directive is surely the user's own wish. Entering is not refused: it silences the core, and says so.
    """
    left = sorted(name for name in standing.directive.names if policy.adapter(name).alone)
    if standing.refusal is not None or not left or current.directive.bare:
        return
    if current.directive.names == standing.directive.names:
        return
    said = spoken_list(sorted(current.directive.names)) or "auto"
    raise Contradiction(
        f"{left[0]} speaks alone in this conversation; a directive in a longer message ({said}) does not end it, "
        "because it may be pasted text; send the directive as a message of its own, or put it in quotation marks",
        param="messages",
    )
