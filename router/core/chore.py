"""Recognises what chat front ends ask for themselves: a title, tags, follow-up questions, search queries.

Open WebUI, LibreChat, NextChat, Lobe Chat and others send such tasks to the same address as people's questions,
with the chat inside. They are recognised by their build and not by their wording, which changes with every
release: an instruction opens the message, it demands a short thing of that kind, about the chat. Knows no policy.
"""

from __future__ import annotations

import re

_REACH = 700
"""Characters in which an instruction shows all its signs; what follows may be the chat itself."""

_OPENS = re.compile(
    r"\s*(?:#{1,6}\s*)?(?:(?:task|instructions?|задача|задание|инструкция|ai"
    r" role)\s*:?\s*)?[\s*_\-•]*(?:please |пожалуйста,? |your (?:task|job|role) is to |ваша задача |твоя"
    r" задача |based on [^.\n]{0,80}?,? |you (?:are|will)\b[^\n]{0,120}?\b(?=title|titling|naming|tags?\b"
    r"|autocomplet|follow-up|generate|given|tasked)|ты\b[^\n]{0,80}?(?=заголов|назван)"
    r"|вы\b[^\n]{0,80}?(?=заголов|назван))?(?P<does>generat|creat|writ|provid|suggest|giv|summari[sz]|produc"
    r"|name\b|analy[sz]|determin|reflect|continu|propos|com(?:e|ing) up|title|titling|naming|autocomplet"
    r"|follow-up|tags?\b|заголов|назван|сгенерир|созда|придума|напиш|предлож|определ|суммир|дай|составь|кратко"
    r"|проанализ|озаглав)",
    re.IGNORECASE,
)
_PRODUCT = re.compile(
    r"\b(?:titles?|titling|chat name|(?:conversation|chat|thread|session|topic) names?|naming|(?:broad |topic"
    r" )?tags|follow-?up (?:questions?|prompts?)|search quer(?:y|ies)|fitting emojis?|emojis?|autocompletion"
    r"|give this conversation a name|заголов\w+|названи\w+|тег(?:и|ов|ами)|уточняющ\w+ вопрос\w*|следующ\w+"
    r" вопрос\w*|поисков\w+ запрос\w*)\b",
    re.IGNORECASE,
)
_TALK = re.compile(
    r"\b(?:chat[ _]history|conversation history|(?:the|this|our|previous|following|given|current|these|a)"
    r" (?:above |following |previous |given |current |entire |whole )?(?:chat|conversation|thread|session"
    r"|messages|interaction)s?\b|for conversations|user(?:'s)? (?:first )?message|(?:first|initial) (?:user"
    r" )?message|истори\w+ (?:чата|диалога|переписки|сообщений)|(?:эт\w+|наш\w+|данн\w+|следующ\w+|текущ\w+"
    r"|предыдущ\w+)\s+(?:чат\w*|диалог\w*|бесед\w*|разговор\w*|переписк\w*|сообщени\w*)|(?:чата|диалога|беседы"
    r"|разговора|переписки))",
    re.IGNORECASE,
)
_SHORT = re.compile(
    r"\b(?:\d+\s*(?:-|–|to|или|до)\s*\d+|(?:three|four|five|six|two|ten)(?:[ -](?:to|or)[ -]\w+)?[ -]words?"
    r"|\d+[ -]words?|\d+ characters|words or (?:less|fewer)|word-or-less|concise|short|brief|json|only (?:the"
    r"|respond|return|output)|no (?:punctuation|quotes)|nothing else|fitting|completion type|кратк\w+"
    r"|коротк\w+|не более|до \w+ слов|только (?:заголов|назван|тег|json)\w*|без (?:кавычек|точк))",
    re.IGNORECASE,
)
_EMBEDS = re.compile(
    r"<(?:chat_history|conversation|messages)>|^message: *\x22{3}|^(?:#{1,6}\s*)?chat history:",
    re.IGNORECASE | re.MULTILINE,
)


def is_chore(text: str) -> bool:
    """Say whether a message is a front end's own task.

    It has to open with the instruction: a directive or a question before it makes it a person's message.
    """
    head = text[:_REACH]
    opens = _OPENS.match(head)
    if opens is None:
        return False
    product = _PRODUCT.search(head, opens.start("does"))
    if product is None or product.start() - opens.start("does") > _REACH // 3:
        return False
    embeds = bool(_EMBEDS.search(head) or _EMBEDS.search(text[-4 * _REACH :]))
    return bool(_SHORT.search(head)) and (embeds or bool(_TALK.search(head)))
