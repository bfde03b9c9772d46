"""Bounds on the size of modules and functions, on docstrings and on annotations.

How it counts:

- A module has as many lines as its file: code, comments, docstrings and blank lines. Empty `__init__.py` files do not
  count.
- A function has the lines from `def` to its last line, docstring included, decorators excluded. Methods and functions
  inside functions count as well.
- Public names are modules, and the classes, functions and methods whose names, and whose classes' and modules' names,
  do not begin with an underscore. Functions inside functions are not public.
- A function is annotated when all its parameters but `self` and `cls` and its result are.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

_PACKAGES = (
    *("api", "worker", "shared", "webhooks", "local", "scenes", "training", "evaluation", "benchmarks", "testing"),
    "client/src/maskq",
)
_MAX_MEDIAN_MODULE_LINES = 100
_MAX_MODULE_LINES = 300
_MAX_MEDIAN_FUNCTION_LINES = 7
_MAX_FUNCTION_LINES = 50
_MIN_DOCUMENTED = 0.95

Function = ast.FunctionDef | ast.AsyncFunctionDef


@pytest.fixture(scope="module")
def sources() -> dict[Path, str]:
    """The text of every module that is not empty."""
    root = Path(__file__).parent.parent
    paths = [path for package in _PACKAGES for path in sorted((root / package).rglob("*.py"))]
    texts = {path.relative_to(root): path.read_text("utf-8") for path in paths}
    return {path: text for path, text in texts.items() if text}


@pytest.fixture(scope="module")
def modules(sources: dict[Path, str]) -> dict[Path, ast.Module]:
    return {path: ast.parse(text) for path, text in sources.items()}


def _functions(modules: dict[Path, ast.Module]) -> Iterator[tuple[str, Function]]:
    """Every function with its place."""
    for path, module in modules.items():
        for node in ast.walk(module):
            if isinstance(node, Function):
                yield f"{path}:{node.lineno} {node.name}", node


def _lines(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _public(path: Path, module: ast.Module) -> Iterator[tuple[str, bool]]:
    """Every public name of a module, with whether it has a docstring."""
    if any(part.startswith("_") and not part.startswith("__") for part in path.parts):
        return
    yield str(path), ast.get_docstring(module) is not None
    yield from _public_members(str(path), module)


def _public_members(name: str, owner: ast.Module | ast.ClassDef) -> Iterator[tuple[str, bool]]:
    for node in owner.body:
        if isinstance(node, ast.ClassDef | Function) and not node.name.startswith("_"):
            yield f"{name}.{node.name}", ast.get_docstring(node) is not None
            if isinstance(node, ast.ClassDef):
                yield from _public_members(f"{name}.{node.name}", node)


def _unannotated(function: Function) -> list[str]:
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    missing = [each.arg for each in named if each and each.annotation is None and each.arg not in ("self", "cls")]
    return missing if function.returns else [*missing, "return"]


def test_no_module_is_too_long(sources: dict[Path, str]) -> None:
    lines = {str(path): len(text.splitlines()) for path, text in sources.items()}
    assert {name: count for name, count in lines.items() if count > _MAX_MODULE_LINES} == {}
    assert median(lines.values()) <= _MAX_MEDIAN_MODULE_LINES


def test_no_function_is_too_long(modules: dict[Path, ast.Module]) -> None:
    lines = {place: _lines(function) for place, function in _functions(modules)}
    assert {place: count for place, count in lines.items() if count > _MAX_FUNCTION_LINES} == {}
    assert median(lines.values()) <= _MAX_MEDIAN_FUNCTION_LINES


def test_public_names_are_documented(modules: dict[Path, ast.Module]) -> None:
    documented = dict(each for path, module in modules.items() for each in _public(path, module))
    missing = [name for name, has_docstring in documented.items() if not has_docstring]
    assert 1 - len(missing) / len(documented) >= _MIN_DOCUMENTED, "\n".join(missing)


def test_every_function_is_annotated(modules: dict[Path, ast.Module]) -> None:
    missing = {place: _unannotated(function) for place, function in _functions(modules)}
    assert {place: names for place, names in missing.items() if names} == {}


def test_the_measures_find_what_is_wrong() -> None:
    source = '"""A module."""\n\n\nclass Public:\n    def method(self, value) -> None:\n        pass\n'
    module = ast.parse(source)
    ((place, function),) = _functions({Path("a.py"): module})
    assert (place, _lines(function), _unannotated(function)) == ("a.py:5 method", 2, ["value"])
    assert dict(_public(Path("a.py"), module)) == {"a.py": True, "a.py.Public": False, "a.py.Public.method": False}
    assert list(_public(Path("_a.py"), module)) == []
