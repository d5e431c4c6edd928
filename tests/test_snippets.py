"""The runner of code blocks fails where a reader would, and runs nothing that it does not understand."""

from __future__ import annotations

import pytest

from tests.snippets import SnippetFailed, read, run

PAGE = """\
# A page
```
just shown
```
```python
print("one", 1 + 1)  # -> one 2
```
<!-- not run: it installs something -->
```bash
exit 3
```
```console
$ echo "two lines"; echo here
two lines
here
$ echo $WHO
somebody
```
1. In a list:
   ```yaml
   a: [1, 2]
   ```
"""


def test_blocks_are_found_with_their_lines_and_run() -> None:
    found = read("docs/page.md", PAGE)
    assert [(each.line, each.language, each.runs) for each in found] == [
        (2, "", False),
        (5, "python", True),
        (9, "bash", False),
        (12, "console", True),
        (20, "yaml", True),
    ]
    assert found[2].kept == "it installs something"
    printed = [run(each, {}, {"WHO": "somebody"}) for each in found if each.runs]
    assert printed == ["one 2\n", "two lines\nhere\nsomebody\n", ""]


def test_the_address_of_the_page_becomes_the_servers() -> None:
    (snippet,) = read("page.md", '```bash\necho "http://127.0.0.1:8080/v1"\n```\n')
    assert run(snippet, {"http://127.0.0.1:8080": "http://127.0.0.1:4242"}) == "http://127.0.0.1:4242/v1\n"


@pytest.mark.parametrize(
    ("block", "why"),
    [
        ('```python\nprint("one")  # -> two\n```', "promises 'two'"),
        ("```python\nraise ValueError\n```", "ValueError"),
        ("```bash\nfalse | true\n```", "ends with 1"),
        ("```console\n$ echo yes\nno\n```", "promises 'no'"),
        ("```json\n{1}\n```", "is no json"),
        ("```yaml\na: [\n```", "is no yaml"),
    ],
)
def test_what_does_not_work_fails_with_its_place(block: str, why: str) -> None:
    (snippet,) = read("docs/page.md", f"\n\n{block}\n")
    with pytest.raises(SnippetFailed, match=why) as caught:
        run(snippet, {})
    assert str(caught.value).startswith("page.md:3:")


@pytest.mark.parametrize(
    ("page", "why"),
    [("```ruby\nputs 1\n```\n", "nobody runs 'ruby'"), ("<!-- not run: -->\n```bash\nls\n```\n", "say why")],
)
def test_a_block_that_nobody_would_run_is_an_error(page: str, why: str) -> None:
    with pytest.raises(SnippetFailed, match=why):
        read("page.md", page)
