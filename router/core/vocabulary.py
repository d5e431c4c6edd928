"""The words directives are made of, Russian and English, all folded. Knows no adapter and no grammar."""

from __future__ import annotations

import re

from router.core.words import fold, skeleton


def _set(words: str) -> frozenset[str]:
    return frozenset(fold(words).split())


MODE = _set("режим режима режиму режиме режимом mode")

ON = _set(
    "включи включите включить включай включайте вкл активируй активируйте активировать переключи переключите"
    " переключить переключись переключитесь переключиться enable activate switch turn"
)
"""Verbs that need no "режим" behind them: "включи физику"."""

ON_WITH_MODE = _set(
    "перейди перейдите перейти используй используйте использовать поставь поставьте поставить смени смените"
    " измени измените изменить поменяй поменяйте поменять"
    " сменить выбери выберите выбрать установи установите установить запусти запустите запустить"
    " use set select choose start enter go change"
)
"""Verbs too common to mean a mode unless they say so: "выбери режим физики", but not "выбери физику"."""

OFF = _set(
    "выключи выключите выключить выключай выкл отключи отключите отключить отключай деактивируй деактивируйте"
    " деактивировать disable deactivate"
)
OFF_WITH_MODE = _set(
    "сбрось сбросьте сбросить убери уберите убрать отмени отмените отменить останови остановите остановить"
    " выйди выйдите выйти reset exit leave stop quit cancel"
)

PARTICLES = _set(
    "на в во из к мне меня пожалуйста только to into on off in from out of the a an me my please only"
)
"""May stand between the verb and what it governs."""

ONTO = _set("на to")
"""May stand between "режим" and the names: "смени режим на физику"."""

INSIDE = _set("в во in")
"""Open "в режиме физики" and "in physics mode"."""

POLITE = _set("пожалуйста теперь сейчас ну а ок окей please now ok okay")

AFTER_ON = _set("on вкл включить включи включен please now пожалуйста сейчас")
AFTER_OFF = _set("off выкл выключить выключи выключен")
"""May close a phrase: "physics mode on", "режим физики выключить"."""

AUTO = _set(
    "auto авто off выкл автоматический автоматическом автоматически автомат automatic выключить выключен"
    " выключено none reset default обычный обычном нормальный normal"
) | {"по умолчанию"}
"""Stand where a name would and mean none: the router chooses again."""

RESERVED = _set("auto авто off выкл")
"""Mean none even if an adapter has taken the word as its alias."""

JOINED = _set("и and плюс plus with с со")
"""Join names; a list ends before one that no name follows."""

THEN = _set("и and а then потом затем но")
"""May be left dangling between a directive and its prompt."""

OR = _set("или либо or vs versus")
"""Behind a name they weigh it against another instead of asking for it."""

QUESTIONS = _set(
    "почему зачем отчего сколько что кто чем кого чего какой какая какое какие каков какова каковы"
    " why what who which how whats"
)
MAYBE_QUESTIONS = _set(
    "как когда где куда откуда правда можно может могут есть бывает"
    " when where is are do does did can could would should will"
)
"""Open a question only if the line has a question mark; else they may open a subordinate clause."""

SURE_QUESTIONS = _set("почему зачем отчего сколько why")
"""Never open a relative clause; what may follow a name with nothing but a space between."""

IMPERATIVES = _set(
    "explain tell write describe solve compute calculate give show summarize summarise rewrite list compare prove"
    " derive find answer help translate define say make discuss outline estimate analyze analyse"
    " let's check please"
)

_STEMS = "режим mode включ вкл выкл отключ активир переключ enable disable activate deactivate switch turn"
SIGN = re.compile("|".join(skeleton(stem) for stem in _STEMS.split()))
"""Some part of every directive, in the skeleton of a folded text: without it there is nothing to parse."""
