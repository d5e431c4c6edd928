"""How much a prompt leans on what was said before it: not, partly or wholly. Knows no label and no score.

Words alone tell. "а подробнее?" brings no subject of its own, "and for gold?" half of one, "why is gold yellow?"
all of it. Wholly leaning prompts need no classifier: it would call them small talk, which they look like.
"""

from __future__ import annotations

import re
from enum import IntEnum
from itertools import islice

from router.core.words import WORD, fold

LOOK = 400
"""Characters of a prompt in which its words are counted; a longer one stands on its own anyway."""


ENOUGH = 6
"""Words with a subject of their own, from which on their number says nothing more."""


class Leaning(IntEnum):
    """How much of its subject a prompt takes from those before it."""

    NOT = 0
    SHORT = 1  # one word of its own: "tell me a joke", "convince me"
    PARTLY = 2  # points back, or goes on: "and for gold?"
    WHOLLY = 3


def _words(text: str) -> frozenset[str]:
    return frozenset(fold(text).split())


_OPENERS = _words("а и но ну да ещё тогда также тоже или либо and but so or also then plus now теперь")
"""Continue what was said, as the first word."""

_MARKS = _words(
    "это этого этому этим этом эта этой эту эти этих этими этот его её ему ей их им ими он она оно они нём ней"
    " них том тот та те тех того тому то него неё нему ними там туда оттуда такой такое такая такие таких так"
    " тут здесь сам сама само it its that this these those they them their he him his she her there one ones"
    " same such"
)
"""Point back at something."""

_PHRASES = re.compile(
    r"^(?:(?:ok|okay|ок|окей|ладно|хорошо|ага|угу|хм+|hmm+|well|right|yes|no|да|нет)\W+)?(?:what about|how"
    r" about|what if|как насчет|что насчет|что если|а если|в смысле|in what|of what|for what|by how)\b"
)
_RETURN = re.compile(
    r"^\W*(?:(?:ок|окей|ладно|хорошо|так|а|и|ну|но|ok|okay|so|and|but|now|let's|let us|lets|can we|could we|i"
    r" want to|давай(?:те)?)\W+)*(?:верн[её]мся|вернись|вернуться|возвращаясь|возвращаемся|обратно|назад|back"
    r"|go(?:ing)? back|return(?:ing)?|coming back|get(?:ting)? back)\s+(?:обратно |снова )?(?:к|ко|to)\s+"
)
"""Goes back to an earlier subject and names it: no leaning on the last one, whatever else is in it."""

_DEFINE = re.compile(
    r"^(?:а |и |and |so |ok |ок )?(?:что такое|кто так(?:ой|ая|ие)|what (?:is|are) (?:an? |the )?|who (?:is"
    r"|was|were) |define )"
)
"""Asks what something is: one word of its own is a whole subject then."""

_FUNCTION = _words(
    # Russian: question words, prepositions, particles, pronouns, auxiliaries
    "что чего чему чем чём кто кого кому кем как какой какая какое какие какого каким каких какую какими"
    " какому каком где куда откуда когда почему зачем отчего сколько скольки чей чья чьё чьи который которая"
    " которое которые которых ли же бы б ведь вот вон уж только лишь даже именно просто вообще всё все всех"
    " всем всего весь вся совсем очень слишком довольно почти примерно около может можно нельзя надо нужно"
    " должен должна должны стоит ли лучше хуже больше меньше раньше позже потом затем сначала сперва опять"
    " снова тоже также ещё уже пока сейчас сегодня не ни нет да без в во на над под по при про о об обо от ото"
    " до из изо к ко с со у за для ради через между перед после кроме вместо насчёт из-за из-под я мы ты вы"
    " мне меня мной нам нас нами тебе тебя вам вас вами мой моя моё мои твой твоя ваш ваша наш наша свой своя"
    " своё свои себя себе собой если чтобы когда пусть либо или и а но зато однако быть есть был была было"
    " были будет будут буду будешь будем значит получается короче кстати типа прям вроде будто ага угу ого ух"
    " ой эх эй хм мм ну окей ок ладно хорошо понял поняла понятно ясно спасибо спс пожалуйста плиз пж супер"
    " класс круто отлично здорово прекрасно замечательно интересно прикольно норм нормально точно верно именно"
    " конечно серьёзно правда честно реально блин чёрт хаха ахаха лол привет пока чо чё шо че дальше далее"
    " давай давайте скажи скажите проще попроще простыми простые прям друг друга другой другая другое другие"
    " другую других другим иначе иной раз раза разы час часа часов часы день дня дней дни год года лет долго"
    " новее поновее прав правы неправ верно выйти забыл против например посмотри глянь просто прямо язык языке"
    " человеку слов слова"
    # English
    + " what which who whom whose where when why how is are was were be been being am do does did done doing don't"
    " doesn't didn't isn't aren't wasn't weren't can can't cannot could couldn't will won't would wouldn't"
    " should shouldn't may might must shall have has had haven't hasn't i you we us me my mine your yours our"
    " ours myself yourself a an the of to in on at by for from with without about into onto over under between"
    " through during before after than as if because while though although whether not no nor yes yeah yep"
    " nope too very really just only even still yet again once ever never always often usually sometimes maybe"
    " perhaps please thanks thank thx ty ok okay oh ah hmm huh wow lol haha cool great nice perfect awesome"
    " good bad fine sure right well got it's that's what's who's how's there's i'm i've i'd i'll you're let's"
    " interesting gotcha understood amazing excellent everyone everybody someone somebody anyone anybody"
    " no-one nobody something anything everything nothing all any both each either neither few many much more"
    " most less least lot lots some other others another else hi hello hey"
)

_GENERIC = _words(
    # asking for more, again, otherwise: English verbs, nouns, adjectives that have no subject of their own
    "tell say says said show give explain describe elaborate expand continue go going on make made do mean"
    " means meant clarify repeat rephrase summarize summarise shorten simplify simpler simple simply short"
    " shorter long longer brief briefly detail details detailed deeper further step steps example examples"
    " instance sample point points part parts way ways thing things kind kinds sort type types version"
    " versions option options alternative alternatives case cases reason reasons cause idea ideas question"
    " questions answer answers problem issue main first second third fourth last next previous former latter"
    " one two three four five times time day days week weeks month months year years hour hours minute minutes"
    " old older new newer big bigger biggest small smaller fast faster slow better best worse worst cheaper"
    " cheap expensive easier easy harder hard different difference similar same opposite view side sides pros"
    " cons risk risks advantages disadvantages benefits arguments against safe fair true possible important"
    " enough necessary happen happens happened work works worked working use used using need needs needed want"
    " take takes took get gets getting start begin know knows think thinks believe agree disagree sound sounds"
    " look looks like try tried help helps see come came keep let put call called change fix convince doubt"
    " wrong sense sources source link links proof prove eli5 list table words word sentence sentences"
    " paragraph bullet text line lines language english russian stuff guy person people man funnier funny"
    " weird crazy opinion advice recommend suggest suggestion cost costs price much exactly actually basically"
    " probably instead rather anyway also deep high low far end ended rest wait stop back done decide decides"
    " effect happens mistake mistakes emergency exception"
)

_STEMS = re.compile(
    r"(?:подробн|детальн|поподробн|объясн|поясн|расска|опиш|покаж|привед|пример|продолж|уточн|повтор|попрощ"
    r"|короч|покороч|кратк|длинн|подлинн|понят|поним|непонят|пальц|сделат|сделай|дела[йтюе]|перв|втор|трет"
    r"|четверт|последн|предыдущ|следующ|шаг|пункт|част[ьи]|вариант|способ|случа|причин|вопрос|ответ|проблем"
    r"|разниц|отлич|сравн|похож|врем|минут|секунд|недел|месяц|быстр|медленн|больш|побольш|маленьк|меньш"
    r"|поменьш|стар[ыеш]|хорош|лучш|получш|плох|хуж|дешев|подешев|дорог|недорог|легч|полегч|легк|сложн|посложн"
    r"|трудн|риск|плюс|минус|преимущ|недостат|довод|аргумент|безопас|честн|возможн|важн|нужн|главн|основн"
    r"|нормальн|получ|помога|помож|помоч|использ|пользов|начат|начин|начн|зна[еюй]|дума|счита|посовет"
    r"|порекоменд|рекоменд|вывод|итог|выгляд|попроб|пробова|стои|цен[аыуе]|увер|сомнева|смысл|знач|означа"
    r"|источник|ссылк|доказ|список|спис|таблиц|предложен|абзац|текст|строк|русск|английск|штук|человек"
    r"|люд[иея]|весел|повесел|смешн|посмешн|понадоб|займ|занима|хват|происход|происош|случил|быва|кончил"
    r"|закончил|закончит|заверш|связан|каса[ею]|влия|завис|исправ|поправ|замен|появ|возника|ошиб|случайн|обычн"
    r"|конкретн|мнени|точк|зрени|сторон|обратн|поряд|работа[ею])[а-я]{0,4}"
)
"""The same in Russian: the beginnings of inflected words, and how far an ending may go on."""


def leaning(text: str) -> Leaning:
    """Return how much the prompt leans. `text` is a subject: courtesies, code and quotations are gone."""
    if len(text) > LOOK:
        return Leaning.NOT
    folded = fold(text).strip()
    words = WORD.findall(folded)
    own = list(islice(filter(_has_subject, words), ENOUGH))
    if not own:
        return Leaning.WHOLLY
    if _RETURN.match(folded):
        return Leaning.NOT
    if (asked := _DEFINE.match(folded)) and not _MARKS.intersection(WORD.findall(folded[asked.end() :])):
        return Leaning.NOT
    points_back = bool(_MARKS.intersection(words)) and len(own) <= 4
    continues = (words[0] in _OPENERS or bool(_PHRASES.match(folded))) and len(own) <= 5
    if points_back or continues:
        return Leaning.PARTLY
    return Leaning.SHORT if len(own) == 1 else Leaning.NOT


def _has_subject(word: str) -> bool:
    """Say whether a folded word can be what a prompt is about."""
    if not any(letter.isalpha() for letter in word) or len(word) < 2:
        return False
    return not (
        word in _FUNCTION
        or word in _MARKS
        or word in _OPENERS
        or word in _GENERIC
        or _STEMS.fullmatch(word) is not None
    )
