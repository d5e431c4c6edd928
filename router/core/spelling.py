"""How a prompt is spelt: unseen characters, look-alike letters, Russian in Latin letters. Knows no directive.

People write "kak nakachat bitsuhu" where the keyboard has no Cyrillic, and a Latin "a" gets into a Cyrillic word
when the keyboard is switched too late. A classifier that was taught neither reads noise. So both are put right
before it sees the text, the first only where the text is Russian beyond doubt: English must never be touched.
"""

from __future__ import annotations

import re

from router.core.words import fold, is_cyrillic, unmixed, visible


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SURE = _words(
    "kak chto chego chemu pochemu zachem skolko gde kogda kuda otkuda kto kogo komu kakoi kakoj kakoy"
    " kakaya kakie kakoe takoe takoi takoj eto etot etogo dlya esli ili mozhno mojno nuzhno nujno nado mne"
    " menya tebya ego ee bez chem tolko ochen eshche esche escho uzhe uje privet spasibo pozhaluista"
    " pozhalujsta pojaluista zdravstvuite obyasni rasskazhi rasskaji pokazhi pokaji napishi posovetui"
    " posovetuj podskazhi podskazhite podskaji reshi naidi najdi chtoby shto schas seichas sejchas potom"
    " pered posle mezhdu moi moj moya tvoi rabotaet delat budet byl byla byli mogu mozhet mojet hochu"
    " khochu togda kstati luchshe bolshe menshe ya ty my vy oni nam vam ne est li chyom kakom kakov kakova"
    " kakovo kakim kakimi kakuyu cherez seychas vsyo lyudey lyudi chelovek tebe tozhe takzhe mozhesh mogut"
    " hotya zdes teper pomogi perechisli nazovi sravni vyvedi dokazhi nuzhen nuzhna nuzhny otlichaetsya"
    " otlichayutsya znachit schitaetsya nazyvaetsya proizoshla proizoshlo byvaet goda godu nedelyu dnya"
)
"""Words of everyday Russian in Latin letters."""

# Other languages have these words too: they count, but not without one that is Russian alone.
_SHARED = _words(
    "my est li ne ego nam ee bez posle kogo komu moi moj ya ty vy oni vam byl byla byli budet tebe goda"
    " v na i s po za iz ot k do u pri o pod so vo net no a to on ona nad ob mogu"
)

# A sign that it is not Russian: what other languages in Latin letters can hardly do without.
_FOREIGN = _words(
    "jest sie jak czy nie co ile jsem jak se proc kdo kde kako da su gdje kaj ali je el los"
    " las que como una por para del der die das und ist wie ein eine nicht le les des une pour dans"
    " che di il per een het van hoe bir ve kadar apa yang dan untuk"
)

_ENGLISH = _words(
    "the of and is are was were be been to in for with that this it you he she they we i'm it's what how"
    " why when where who which does did can could should would will has have had not from by at as an if"
    " or but my your me his her their our there about into than then more most make get use explain tell"
    " show write give please"
)
_ENDINGS = re.compile(
    r"(?:ogo|ego|omu|emu|yj|yi|iy|ij|aya|yaya|oe|ye|ykh|yh|ikh|ih|ami|yami|ovat|irovat|at|yat|it|nut|aet"
    r"|yaet|uet|yut|ost|oy|om|em|y|i|enie|anie|eniya|aniya|stvo|tsya|sya|ka|ki|ku|kov|ov|ev|nik|nika|uhu"
    r"|ukha|ishch\w*|skii|skij|skiy|ya|yu|iya|iyu|al|ala|ali|il|ila|ili|el|ela|yla)$"
)
_LETTERS = re.compile(r"[^\W\d_]+")  # part by part: "API-ключ" is of two scripts on purpose
_LATIN_WORD = re.compile(r"[A-Za-z'’]+")
# Without either of these no word is of two scripts. Letters beyond may be either script's in another form (NFKC).
_BESIDE = re.compile(r"[A-Za-z][\u0400-\u04ff]|[\u0400-\u04ff][A-Za-z]")
_BEYOND = re.compile(r"[^\W\d_a-zA-Z\u0400-\u04ff]")
_SPELT = re.findall(  # longest first
    r"([^\W\d_]+|['’])=(\w+)",
    "shch=щ tsya=тся sch=щ tsk=тск zh=ж kh=х ts=ц ch=ч sh=ш yo=ё jo=ё yu=ю ju=ю ya=я ja=я ye=е je=е a=а b=б"
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
_SHOUTED = 10  # capital letters
_FEW = 2000  # characters that are looked at: a language shows itself long before


def respell(text: str) -> str:
    """Return `text` without unseen characters and shouting, each word in one script, Russian in Cyrillic."""
    text = visible(text)
    if _is_shouted(text):
        text = text.lower()
    if not text.isascii() and (_BESIDE.search(text) or _BEYOND.search(text)):
        text = _LETTERS.sub(_one_script, text)
    return to_cyrillic(text) if is_transliterated(text) else text


def _is_shouted(text: str) -> bool:
    """Say whether somebody left Caps Lock on: most letters of more than an abbreviation are capitals."""
    sample = text[:_FEW]
    capitals = sum(map(str.isupper, sample))
    return capitals >= _SHOUTED and capitals * 2 > sum(map(str.isalpha, sample))


def is_transliterated(text: str) -> bool:
    """Say whether `text` is Russian in Latin letters, beyond doubt.

    One everyday Russian word that no other language has, nearly no English function word, and such words are a
    quarter of all, or Russian ones and Russian endings half.
    """
    sample = text[:_FEW].lower()
    if not sample.isascii() and any(letter.isalpha() and not letter.isascii() for letter in sample):
        return False
    words = _LATIN_WORD.findall(sample)
    sure = sum(word in _SURE and word not in _SHARED for word in words)
    if not sure or any(word in _FOREIGN for word in words):
        return False
    known = sum(word in _SURE or word in _SHARED for word in words)
    ended = sum(len(word) > 3 and word not in _SURE and bool(_ENDINGS.search(word)) for word in words)
    english = sum(word in _ENGLISH for word in words)
    return english * 4 <= sure and ((known + ended) * 2 >= len(words) or sure * 4 >= len(words))


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

    if word.endswith("ye") and word[-3:-2] not in _VOWELS:  # the plural's: "novye"
        return _spell(word[:-2]) + "ые"
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
