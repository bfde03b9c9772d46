"""What docstrings and docs/client.md show works."""

from __future__ import annotations

import doctest
import pkgutil
import re
from importlib import import_module
from pathlib import Path

import maskq
import pytest

_OF_OTHER_TOOLS = {"cvat", "fiftyone"}
"""They need these tools when they are imported."""
_NAMES = {each.name for each in pkgutil.iter_modules(maskq.__path__)} - _OF_OTHER_TOOLS
_MODULES = ["maskq", *(f"maskq.{name}" for name in sorted(_NAMES))]


@pytest.fixture(autouse=True)
def _folder(service: str, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder has a picture, and the environment names the service."""
    monkeypatch.setenv("MASKQ_URL", service)
    monkeypatch.chdir(photo.parent)


@pytest.mark.parametrize("name", _MODULES)
def test_the_examples_of_a_module_work(name: str) -> None:
    module = import_module(name)
    assert doctest.testmod(module, extraglobs={"Client": maskq.Client}).failed == 0


def test_docstrings_have_examples() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [each for name in _MODULES for each in finder.find(import_module(name)) if each.examples]
    assert len(examples) >= 6


def test_the_programs_on_the_page_work(root: Path, png: bytes) -> None:
    text = (root / "docs" / "client.md").read_text("utf-8")
    programs = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(programs) >= 5
    Path("photo.jpg").write_bytes(png)
    Path("photos").mkdir()
    for number in range(3):
        Path("photos", f"{number}.jpg").write_bytes(png + bytes([number]))
    for program in programs:
        exec(compile(program, "docs/client.md", "exec"), {})
