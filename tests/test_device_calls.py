"""Calls that only one kind of device has are in few modules, behind a check of the kind. All other code runs on any
device."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

_PACKAGES = ("worker", "evaluation", "training", "benchmarks", "local", "testing", "scenes")
_KINDS = {"cuda", "xpu", "mps", "backends"}
_ALLOWED = {"worker/engine/cuda_graphs.py", "worker/engine/host_copy.py"}


def _calls(module: ast.Module) -> Iterator[str]:
    """`torch.cuda`, `from torch import cuda`, `from torch.cuda import ...`, `tensor.cuda()` and the like."""
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and node.attr in _KINDS:
            if isinstance(node.value, ast.Name) and node.value.id == "torch":
                yield f"{node.lineno}: torch.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            names = {*(node.module or "").split("."), *(each.name for each in node.names)}
            yield from (f"{node.lineno}: from torch import {name}" for name in names & _KINDS)
        elif isinstance(node, ast.Import):
            yield from (f"{node.lineno}: import {each.name}" for each in node.names if _is_kind(each.name))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _KINDS:
            yield f"{node.lineno}: .{node.func.attr}()"


def _is_kind(name: str) -> bool:
    first, _, rest = name.partition(".")
    return first == "torch" and rest.split(".")[0] in _KINDS


def test_calls_for_one_kind_of_device_are_in_the_modules_for_it(root: Path) -> None:
    found = {
        f"{path.relative_to(root)}:{call}"
        for package in _PACKAGES
        for path in (root / package).rglob("*.py")
        if str(path.relative_to(root)) not in _ALLOWED
        for call in _calls(ast.parse(path.read_text("utf-8")))
    }
    assert found == set()


def test_each_of_these_modules_asks_for_the_kind_first(root: Path) -> None:
    for name in _ALLOWED:
        text = (root / name).read_text("utf-8")
        assert list(_calls(ast.parse(text)))
        assert 'device.type == "cuda"' in text or 'device.type != "cuda"' in text


def test_every_way_to_write_such_a_call_is_found() -> None:
    lines = ("torch.cuda.Event()", "from torch import mps", "import torch.xpu", "x.cuda()", "import torch.backends.mps")
    assert all(list(_calls(ast.parse(line))) for line in lines)
    assert not list(_calls(ast.parse("import torch.nn\ntorch.device('cuda')\nx.to('cuda')")))
