"""Greetings, "please" and thanks around a prompt, Russian and English: they say nothing about its subject."""

from __future__ import annotations

import re

_GREETING = (
    r"(?:здравствуй(?:те)?|привет(?:ствую|ик|ики)?(?: всем)?|всем привет|добр(?:ый|ого|ое|ой) (?:день|дня"
    r"|вечер|вечера|утро|утра|времени суток|ночи)|доброго здоровья|приветствую(?: вас)?|салют|здарова|здорово"
    r"|хай|йоу?|hi(?: there| all| everyone| again)?|hello(?: there| everyone| again)?|hey(?: there| all|"
    r" guys)?|good (?:morning|afternoon|evening|day)(?: to you)?|greetings|howdy|yo|dear (?:assistant|all|team"
    r"|sir|madam|sirs)|hiya)"
)
_ADDRESS = (
    r"(?:друг|друзья|дружище|бот|агоге|коллеги|ребята|уважаемы[йе]\s+\w+|my friend|friend|buddy|mate|bot|agoge"
    r"|assistant|folks)"
)
_OPENING = (
    r"(?:(?:не )?(?:мог(?:ли|у)|можешь|можете|смож(?:ешь|ете)|могли)(?: бы)?(?: ли)?(?: (?:ты|вы))? (?:мне"
    r" )?(?:пожалуйста )?(?:подсказать|сказать|помочь(?: разобраться)?|ответить)|подскажи(?:те)?(?: мне)?(?=,|"
    r" пож| плиз| пж| где| как| что| поч)|скажи(?:те)?(?: мне)?(?=,| пож| плиз| пж)|будь(?:те)? добр[аы]?|если"
    r" (?:не сложно|не трудно|можно)|буду (?:очень )?благодар(?:ен|на)(?: за ответ)?|прошу (?:вас"
    r" )?(?:подсказать|помочь)|пожалуйста|плиз|плз|пж|у меня (?:такой |есть )?вопрос|вопрос такой|такой вопрос"
    r"|хочу (?:спросить|узнать)|хотел(?:а)? (?:бы )?(?:спросить|узнать)|извини(?:те)?(?: за беспокойство)?"
    r"|простите|(?:(?:can|could|would|will) you )?(?:please |kindly |possibly )?(?:tell me|help me understand"
    r"|let me know)(?=,| please| (?:how|what|why|who|when|where|which|if|whether) )|i(?: would|'d) like to"
    r" (?:know|ask)|i(?: was|'m| am) wondering|(?:can|could|may) i ask(?: you)?(?: something)?|i have a"
    r" (?:quick )?question|quick question|just a quick question|(?:can|could|would) you (?:please|kindly)"
    r"|please|pls|plz|kindly|excuse me|sorry to bother you|if you don't mind)"
)
_THANKS = (
    r"(?:(?:заранее |большое |огромное |всем )*(?:спасибо|спс|благодарю(?: вас)?|благодарствую)(?: (?:большое"
    r"|огромное|заранее|за (?:помощь|ответ)|тебе|вам))*|буду (?:очень )?(?:благодар(?:ен|на)|признател(?:ен"
    r"|ьна))(?: за (?:ответ|помощь))?|с уважением|хорошего (?:дня|вечера)|жду ответа|пожалуйста|плиз|плз|пж"
    r"|(?:many )?thanks(?: (?:a lot|so much|a bunch|in advance|for (?:your|the) (?:help|answer|time)))*|thank"
    r" you(?: (?:so much|very much|in advance|kindly|for (?:your|the) (?:help|answer|time)))*|thx|ty|tia"
    r"|cheers|much appreciated|appreciate it|i(?:'d| would) appreciate (?:it|your help|any help)|have a"
    r" (?:nice|great|good) (?:day|one|evening)|best regards|kind regards|regards|please|pls|plz)"
)
_EDGE = r"[\s,.!:;\-–—()🙂😊🙏👋]"
_HEAD = re.compile(
    rf"{_EDGE}*(?:{_GREETING}(?:,? {_ADDRESS})?|{_OPENING}(?:,? {_ADDRESS})?)(?:{_EDGE}+|$)", re.IGNORECASE
)
_TAIL = re.compile(rf"(?:^|(?<=[\s,.!?:;…)])){_THANKS}{_EDGE}*$", re.IGNORECASE)
_INSIDE = re.compile(r"\s*,?\s*\bпожалуйста\b,?(?=\s|$|[.?!])|,\s*please\s*,", re.IGNORECASE)
_PLEASE = re.compile("пожалуйста|please", re.IGNORECASE)  # looked for in a fifth of the time
_REACH = 160  # characters at either end in which courtesies are looked for
_MOST = 6  # courtesies in a row at one end


def without_courtesy(text: str) -> str:
    """Return `text` without greetings, polite openings, "please" and thanks; "" when nothing else was said."""
    text = text.strip()
    for _ in range(_MOST):
        head = _HEAD.match(text[:_REACH])
        if head is None or not head.end():
            break
        text = text[head.end() :]
    for _ in range(_MOST):
        text = text.rstrip()
        start = max(0, len(text) - _REACH)
        tail = _TAIL.search(text[start:])
        if tail is None:
            break
        text = text[: start + tail.start()].rstrip(" \n,;:-–—")
    if len(text) <= 4 * _REACH and _PLEASE.search(text):
        text = _INSIDE.sub(" ", text)
    text = text.strip()
    return text if any(letter.isalnum() for letter in text) else ""
