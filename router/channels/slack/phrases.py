"""What the router itself says in Slack, in the language it was spoken to. Knows no Slack call and no decision."""

from __future__ import annotations

from dataclasses import dataclass

from router.core.errors import Refused
from router.core.words import is_cyrillic

LONGEST = 600  # characters of a refusal that a thread shows


@dataclass(frozen=True, slots=True)
class Phrases:
    """One language. `{who}` and `{what}` are filled in."""

    reading: str
    asking: str
    alone: str
    stand_in: str
    asked_for: str
    unknown_subject: str
    inherited: str
    cut_off: str
    does_not_fit: str
    why: str
    close: str
    good: str
    bad: str
    thanks: str
    not_kept: str
    forgotten: str
    again: str
    nothing_yet: str
    who_answers: str
    only_text: str
    nothing_said: str
    no_history: str
    too_long: str
    internal: str
    broke_off: str
    modes: str
    example: str
    auto: str
    mode: str
    alone_mode: str
    help: str
    scores: str
    gates: str
    nearest: str
    failures: dict[str, str]


ENGLISH = Phrases(
    reading="reads the thread…",
    asking="asks {who}…",
    alone="alone",
    stand_in="a stand-in answered: no adapter took part",
    asked_for="you chose it",
    unknown_subject="unlike anything it was taught",
    inherited="subject of an earlier message",
    cut_off="cut off at the length limit",
    does_not_fit="⚠️ The rest does not fit here. Ask me in a thread for the whole answer.",
    why="Why?",
    close="Close",
    good="Right expert",
    bad="Wrong expert",
    thanks="Kept, thank you.",
    not_kept="This was not kept: the store cannot be reached. Please try again later.",
    forgotten="This decision is not remembered here any more. Ask again, then press “Why?”.",
    again="The decision itself is not remembered here any more; this is what would be decided now.",
    nothing_yet="I have not answered you in this channel recently.",
    who_answers="Who should answer?",
    only_text="I read text only, and there is none in this message.",
    nothing_said="The expert returned an empty answer.",
    no_history="I cannot read this thread ({what}), so I do not know which mode it is in. I say nothing "
    "rather than let the wrong expert speak.",
    too_long="This thread is too long for me to read whole, and half of it"
    " is not enough for an answer. Please start a new one.",
    internal="Something went wrong here; the log has the details. Nobody else answered in the expert's place.",
    broke_off="The answer broke off: {what} What stands above is incomplete.",
    modes="*Who may be asked*",
    example="also: {what}",
    auto="Agoge chooses for every prompt",
    mode="Mode",
    alone_mode="{what}, alone",
    help="*How to ask*\n"
    "• `/agoge your question`: an answer that only you see\n"
    "• `/agoge modes`: who may be asked\n"
    "• `/agoge why`: why my last answer to you here came out as it did\n"
    "• mention me in a channel, or write to me directly: I answer in the thread and know what was said there\n"
    "• `mode: physics` alone in a message fixes the experts of a thread, `mode: auto` frees them again",
    scores="*Scores*",
    gates="*Adapters*",
    nearest="*Nearest examples*",
    failures={
        "blend_unavailable": "No engine can serve {who} now, and nothing is put in its place. Try again later.",
        "rate_limit_exceeded": "The engine is full right now. Try again in a minute.",
        "backend_timeout": "The engine did not answer in time. Nobody else answers in its place.",
        "backend_unreachable": "The engine cannot be reached. Nobody else answers in its place.",
        "backend_failed": "The engine failed. Nobody else answers in its place.",
        "context_length_exceeded": "This conversation is too long for the model. Please start a new thread.",
    },
)

RUSSIAN = Phrases(
    reading="читает тред…",
    asking="спрашивает: {who}…",
    alone="в одиночку",
    stand_in="ответила замена: ни один адаптер не участвовал",
    asked_for="вы выбрали сами",
    unknown_subject="не похоже ни на что изученное",
    inherited="тема одного из прежних сообщений",
    cut_off="обрезано по пределу длины",
    does_not_fit="⚠️ Остальное сюда не помещается. Спросите меня в треде, там ответ будет целиком.",
    why="Почему?",
    close="Закрыть",
    good="Эксперт верный",
    bad="Эксперт не тот",
    thanks="Записано, спасибо.",
    not_kept="Это не записано: хранилище недоступно. Попробуйте позже.",
    forgotten="Это решение здесь больше не помнят. Спросите ещё раз и нажмите «Почему?».",
    again="Само решение здесь больше не помнят; вот что было бы решено сейчас.",
    nothing_yet="Я давно не отвечал вам в этом канале.",
    who_answers="Кто будет отвечать?",
    only_text="Я читаю только текст, а в этом сообщении его нет.",
    nothing_said="Эксперт вернул пустой ответ.",
    no_history="Я не могу прочитать этот тред ({what}) и не знаю, какой в нём режим. Лучше промолчу, "
    "чем дам слово не тому эксперту.",
    too_long="Этот тред слишком длинный, чтобы прочитать его целиком, а по половине я не отвечаю. Начните новый.",
    internal="Здесь что-то сломалось; подробности в журнале. Никто другой вместо эксперта не ответил.",
    broke_off="Ответ оборвался: {what} То, что выше, не закончено.",
    modes="*Кого можно спросить*",
    example="также: {what}",
    auto="Agoge выбирает сам для каждого вопроса",
    mode="Режим",
    alone_mode="{what}, в одиночку",
    help="*Как спросить*\n"
    "• `/agoge ваш вопрос`: ответ увидите только вы\n"
    "• `/agoge режимы`: кого можно спросить\n"
    "• `/agoge почему`: почему мой последний ответ вам здесь вышел таким\n"
    "• упомяните меня в канале или напишите лично: я отвечу в треде и знаю, что в нём сказано\n"
    "• `режим: физика` отдельным сообщением закрепляет экспертов за тредом, `режим: авто` снова освобождает",
    scores="*Оценки*",
    gates="*Адаптеры*",
    nearest="*Ближайшие примеры*",
    failures={
        "blend_unavailable": "Сейчас ни один движок не может подать {who}, а замены не будет. Попробуйте позже.",
        "rate_limit_exceeded": "Движок сейчас занят. Попробуйте через минуту.",
        "backend_timeout": "Движок не ответил вовремя. Никто другой вместо него не отвечает.",
        "backend_unreachable": "Движок недоступен. Никто другой вместо него не отвечает.",
        "backend_failed": "Движок сломался. Никто другой вместо него не отвечает.",
        "context_length_exceeded": "Этот разговор слишком длинный для модели. Начните новый тред.",
    },
)


def phrases(text: str) -> Phrases:
    """Return the language of `text`: Russian where it has a Cyrillic letter, else English."""
    return RUSSIAN if is_cyrillic(text.lower()) else ENGLISH


def told(error: Refused, words: Phrases, who: str = "") -> str:
    """Return a refusal for a thread: short, true, and without what an engine said about itself."""
    known = words.failures.get(error.code)
    if known is not None:
        return known.format(who=who or "this")
    if error.status >= 500:
        return words.failures["backend_failed"]
    return error.message if len(error.message) <= LONGEST else error.message[:LONGEST] + "…"
