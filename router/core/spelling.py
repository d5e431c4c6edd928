"""How a prompt is spelt: unseen characters, look-alike letters, Russian in Latin letters. Knows no directive.

People write "kak nakachat bitsuhu" where the keyboard has no Cyrillic, and a Latin "a" gets into a Cyrillic word
when the keyboard is switched too late. A classifier that was taught neither reads noise. So both are put right
before it sees the text, the first only where the text is Russian beyond doubt: English must never be touched.
"""

from __future__ import annotations

import re

from router.core.words import WORD, fold, is_cyrillic, unmixed, visible

_SURE = frozenset(
    re.findall(
        r"\w+",
        "kak chto chego chemu pochemu zachem skolko gde kogda kuda otkuda kto kogo komu kakoi kakoj kakoy"
        " kakaya kakie kakoe takoe takoi takoj eto etot etogo dlya esli ili mozhno mojno nuzhno nujno nado mne"
        " menya tebya ego ee bez chem tolko ochen eshche esche escho uzhe uje privet spasibo pozhaluista"
        " pozhalujsta pojaluista zdravstvuite obyasni rasskazhi rasskaji pokazhi pokaji napishi posovetui"
        " posovetuj podskazhi podskazhite podskaji reshi naidi najdi chtoby shto schas seichas sejchas potom"
        " pered posle mezhdu moi moj moya tvoi rabotaet delat budet byl byla byli mogu mozhet mojet hochu"
        " khochu togda kstati luchshe bolshe menshe ya ty my vy oni nam vam ne est li",
    )
)
"""Words of everyday Russian in Latin letters."""

# Other languages know these too: they only count beside one that is Russian alone.
_SHARED = frozenset(("my", "est", "li", "ne", "ego", "nam", "ee", "bez", "posle"))

_ENGLISH = frozenset(
    re.findall(
        r"\w+",
        "the of and is are was were be been to in for with that this it you he she they we i'm it's what how"
        " why when where who which does did can could should would will has have had not from by at as an if"
        " or but my your me his her their our there about into than then more most make get use explain tell"
        " show write give please",
    )
)
_ENDINGS = re.compile(
    r"(?:ogo|ego|omu|emu|yj|yi|iy|ij|aya|yaya|oe|ye|ykh|yh|ikh|ih|ami|yami|ovat|irovat|at|yat|it|nut|aet|yaet"
    r"|uet|ost|enie|anie|eniya|aniya|stvo|tsya|sya|ka|ki|ku|kov|ov|ev|nik|nika|uhu|ukha|ishch\w*|skii|skij"
    r"|skiy|ya|yu|iya|iyu|al|ala|ali|il|ila|ili|el|ela|yla)$"
)
_LATIN_WORD = re.compile(r"[A-Za-z'’]+")
_SPELT = re.findall(  # longest first
    r"([^\W\d_]+|['’])=(\w+)",
    "shch=щ tsya=тся sch=щ tsk=тск yje=ые zh=ж kh=х ts=ц ch=ч sh=ш yo=ё jo=ё yu=ю ju=ю ya=я ja=я ye=е je=е a=а b=б"
    " c=ц d=д e=е f=ф g=г h=х i=и k=к l=л m=м n=н o=о p=п q=к r=р s=с t=т u=у v=в w=в x=х z=з '=ь ’=ь",
)
_ONE: dict[str, str] = dict(_SPELT)
_PIECE = re.compile("|".join([*(letters for letters, _ in _SPELT), "y", "j"]))  # these two depend on their place
_VOWELS = "aeiouy"
_SOFT = (
    (re.compile(r"^е(?!сли|сть?$|щ|ё|го$|му$|е$|й$|зд|вро|ди|л[аио]?$|хат|ст)"), "э"),
    (re.compile(r"(?<=[аеоуы])и$"), "й"),
    (re.compile(r"ост$"), "ость"),
    (re.compile(r"лн(?=ы|о|а|и|е|у|ик)"), "льн"),
    (re.compile(r"^(скол|тол|бол|мен|ден)(?=к|ш|г)"), r"\1ь"),
)
_INFINITIVE = re.compile(r"(?:[^аеиоуыэюя](?:а|и|я|е|ы)|[аеиоуы]я|ну)т$")
_BEFORE_INFINITIVE = frozenset(
    ("как", "можно", "нужно", "надо", "мочь", "могу", "хочу", "где", "зачем", "чем", "лучше")
)
_FEW = 2000  # characters that are looked at: a language shows itself long before


def respell(text: str) -> str:
    """Return `text` without unseen characters, each word in one script, and clear transliteration in Cyrillic."""
    text = visible(text)
    if not text.isascii():
        text = WORD.sub(_one_script, text)
    return to_cyrillic(text) if is_transliterated(text) else text


def is_transliterated(text: str) -> bool:
    """Say whether `text` is Russian in Latin letters, beyond doubt.

    One everyday Russian word that no other language has, nearly no English function word, and everyday words in a
    third of all words, or together with Russian endings in half.
    """
    sample = text[:_FEW].lower()
    if any("\u0400" <= letter <= "\u04ff" for letter in sample):
        return False
    words = [word for word in _LATIN_WORD.findall(sample) if len(word) > 1]
    sure = [word for word in words if word in _SURE]
    if not any(word not in _SHARED for word in sure):
        return False
    english = sum(word in _ENGLISH for word in words)
    russian = len(sure) + sum(
        len(word) > 3 and word not in _SURE and bool(_ENDINGS.search(word)) for word in words
    )
    return english * 4 <= len(sure) and (russian * 2 >= len(words) or len(sure) * 3 >= len(words))


def to_cyrillic(text: str) -> str:
    """Return transliterated Russian in Cyrillic, lower case; soft signs are guessed where they are usual."""
    before = ""

    def word(match: re.Match[str]) -> str:
        nonlocal before
        spelt = _spell(match.group().lower())
        if before in _BEFORE_INFINITIVE and _INFINITIVE.search(spelt):
            spelt += "ь"
        before = spelt
        return spelt

    return _LATIN_WORD.sub(word, text)


def _spell(word: str) -> str:
    """Return one lower-case Latin word in Cyrillic letters."""

    def piece(match: re.Match[str]) -> str:
        letters, at = match.group(), match.start()
        if letters not in "yj":
            return _ONE[letters]
        after_vowel = at > 0 and word[at - 1] in _VOWELS
        return "й" if letters == "j" or after_vowel else "ы"

    if word.endswith(("yj", "yi", "iy", "ij", "ii", "yy")):  # the adjective's ending: "novyj", "novyi", "russkiy"
        return _spell(word[:-2]) + ("ий" if word[-3:-2] in "kgh" or word[-2] == "i" else "ый")
    spelt = _PIECE.sub(piece, word)
    for pattern, soft in _SOFT:
        spelt = pattern.sub(soft, spelt)
    return spelt


def _one_script(match: re.Match[str]) -> str:
    """Return the word in one script: the one that most of its letters have, if all can be written in it."""
    word = match.group()
    plain = unmixed(fold(word))
    if not plain:
        return word
    if len(plain) == 1:
        return plain[0]
    cyrillic = sum("\u0400" <= letter.lower() <= "\u04ff" for letter in word)
    return next(look for look in plain if is_cyrillic(look) == (cyrillic * 2 >= len(word)))
