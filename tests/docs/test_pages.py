import re

import pytest
from pages import ROOT, blocks, named_files, run_python, tables

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "benchmarks" / "README.md"])


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_that_a_page_names_is_there(path):
    for name in named_files(path.read_text()):
        assert (path.parent / name).exists() or (ROOT / name).exists(), name


def page(tmp_path, text):
    path = tmp_path / "page.md"
    path.write_text(re.sub(r"^    ", "", text, flags=re.MULTILINE))
    return path


def test_blocks_share_a_namespace_and_what_they_print_is_compared(tmp_path):
    path = page(
        tmp_path,
        """
    ```python
    a = 2
    ```
    Words.
    ```python
    print(a + 1)
    ```
    prints
    ```text
    3
    ```
    ```
    not run (
    ```
    """,
    )
    assert run_python(path) == 2
    assert [(block.language, block.line) for block in blocks(path.read_text())][:3] == [
        ("python", 3),
        ("python", 7),
        ("text", 11),
    ]
    path.write_text(path.read_text().replace("\n3\n", "\n4\n"))
    with pytest.raises(AssertionError, match=r"page\.md, line 7: printed\n3"):
        run_python(path)


def test_output_that_the_page_does_not_show_is_an_error(tmp_path):
    with pytest.raises(AssertionError, match="printed\nhidden"):
        run_python(page(tmp_path, "```python\nprint('hidden')\n```\n"))


def test_an_error_in_a_block_points_to_the_line_of_the_page(tmp_path):
    path = page(tmp_path, "A page.\n\n```python\nb = 1\nb / 0\n```\n")
    with pytest.raises(ZeroDivisionError) as caught:
        run_python(path)
    last = caught.traceback[-1]
    assert (str(last.path), last.lineno + 1) == (str(path), 5)


def test_tables_and_files():
    text = "| a | b |\n|---|---|\n| 1 | 2 |\n\n[x](docs/x.md#part) [y](https://z.org) `metrics/base.py` `a.b/c`\n"
    assert tables(text) == [[["a", "b"], ["1", "2"]]]
    assert named_files(text) == {"docs/x.md", "metrics/base.py"}
