"""What the pages say of the code is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.generate_docs import DOCS, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == PAGES[name](), "run: python -m scripts.generate_docs"


def test_every_test_that_a_page_names_exists(root: Path) -> None:
    named = set(re.findall(r"`(test_\w+)`", (DOCS / "durability.md").read_text("utf-8")))
    assert len(named) > 15
    sources = "\n".join(path.read_text("utf-8") for path in (root / "tests").rglob("test_*.py"))
    assert {name for name in named if f"def {name}(" not in sources} == set()
