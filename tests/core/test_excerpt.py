"""What is taken out of a message and what stays, on the forms that front ends, mail programs and agents send."""

from __future__ import annotations

import pytest

from router.core.excerpt import LOOK, MOST, excerpt

QUESTION = "почему она падает на пустом списке?"


def prose(text: str) -> str:
    return excerpt(text).prose


def test_code_leaves_the_name_of_its_language() -> None:
    parts = excerpt(f"Вот функция:\n```python\ndef mean(xs):\n    return sum(xs) / len(xs)\n```\n{QUESTION}")
    assert parts.prose == f"Вот функция:\npython\n{QUESTION}"
    assert "def mean" in parts.material


def test_code_without_a_name_leaves_its_beginning_and_an_open_fence_ends_with_the_text() -> None:
    assert prose(f"{QUESTION}\n~~~\nfor x in xs: pass\n{'y = 1' * 500}").startswith(
        f"{QUESTION}\nfor x in xs: pass"
    )
    assert len(prose(f"{QUESTION}\n~~~\nfor x in xs: pass\n{'y = 1' * 500}")) < 200


@pytest.mark.parametrize(
    "text",
    [
        f"> Дорогой клиент,\n> цена растёт.\n\n{QUESTION}",
        f"{QUESTION}\n\nOn Mon, Mar 4, 2024 at 9:12 AM HR <hr@x.org> wrote:\n> Dear team,\n> your salary ...",
        f"{QUESTION}\n\nпн, 4 мар. 2024 г. в 09:12, Кадры <hr@x.org> написал:\n> Коллеги, ...",
        f"{QUESTION}\n\n-----Original Message-----\nFrom: HR\nSubject: pay\n\nDear team, the salary falls.",
        f"{QUESTION}\n\n----- Исходное сообщение -----\nОт: HR\nТема: оклад\n\nКоллеги, оклад падает.",
        f"-----Пересланное сообщение-----\nОт: HR\nТема: оклад\n{QUESTION}",
        f"{QUESTION}\n\n-- \nИван Петров\nОтдел продаж",
        f"{QUESTION}\n\nSent from my iPhone",
        f"{QUESTION}\n\nС уважением,\nИван",
        f"<task>\n{QUESTION}\n</task>\n<environment_details>\n# Files\nmain.py\n</environment_details>",
        f"<context>\n{'a document ' * 50}\n</context>\n<user_query>\n{QUESTION}\n</user_query>",
        f"<system-reminder>Use the tools sparingly.</system-reminder>\n{QUESTION}",
        f"<attached_files>\nmain.py\n</attached_files>\n{QUESTION}",
    ],
)
def test_only_the_question_is_left(text: str) -> None:
    assert prose(text) == QUESTION


def test_the_result_of_a_tool_is_nobody_s_question() -> None:
    assert excerpt("[read_file for 'src/main.py'] Result:\nimport os\nwhy is this here?") == excerpt("")


@pytest.mark.parametrize(
    "text",
    [
        "What does <b>bold</b> mean in HTML?",
        "is 3 > 2 and 2 < 3?",
        "сравни x->y и y->x",
        "From here to eternity: who wrote it?",
    ],
)
def test_markup_in_a_sentence_stays(text: str) -> None:
    assert prose(text) == text


def test_what_is_quoted_is_the_material() -> None:
    parts = excerpt("> the salary falls by ten percent\n\nчто это значит?")
    assert (parts.prose, parts.material) == ("что это значит?", "the salary falls by ten percent")


@pytest.mark.parametrize("where", [0, 30_000, 50_000, 99_000])
def test_a_question_is_found_wherever_it_stands_in_a_long_document(where: int) -> None:
    asked = "Какой штраф за просрочку? "
    document = "Стороны договорились о нижеследующем. " * 2700
    assert len(document) > 100_000
    found = prose(f"{document[:where]} {asked}{document[where:]}")
    assert asked.strip() in found
    assert len(found) <= MOST + 250


def test_no_more_than_a_bounded_part_is_looked_at() -> None:
    """A character beyond what is looked at changes nothing; the same character within it does."""
    document = list("слово " * 20_000)
    whole = excerpt("".join(document))
    document[LOOK] = "X"
    assert excerpt("".join(document)) == whole
    document[10] = "X"
    assert excerpt("".join(document)) != whole
