"""No code of a checkpoint is run: every call that loads one says so, although it is the default of the library."""

from __future__ import annotations

import ast
from pathlib import Path

_PACKAGES = "api", "worker", "shared", "webhooks", "local", "scenes", "training", "evaluation", "benchmarks", "testing"
_METHODS = {"from_pretrained", "from_config"}
_FUNCTIONS = {"pipeline", "get_class_from_dynamic_module"}


def _calls(root: Path) -> list[tuple[str, ast.Call]]:
    paths = [path for package in _PACKAGES for path in (root / package).rglob("*.py")]
    nodes = [(path, node) for path in paths for node in ast.walk(ast.parse(path.read_text("utf-8")))]
    calls = [(path, node) for path, node in nodes if isinstance(node, ast.Call)]
    return [(f"{path}:{call.lineno}", call) for path, call in calls if _loads(call)]


def _loads(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr in _METHODS
    return isinstance(call.func, ast.Name) and call.func.id in _FUNCTIONS


def test_every_call_that_loads_a_checkpoint_refuses_its_code(root: Path) -> None:
    calls = _calls(root)
    assert len(calls) >= 4
    for place, call in calls:
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        refusal = given.get("trust_remote_code")
        assert isinstance(refusal, ast.Constant), place
        assert refusal.value is False, place


def test_nothing_else_mentions_such_code(root: Path) -> None:
    texts = {path: path.read_text("utf-8") for package in _PACKAGES for path in (root / package).rglob("*.py")}
    safe = "trust_remote_code=False"
    assert not [path for path, text in texts.items() if text.count("trust_remote_code") > text.count(safe)]
