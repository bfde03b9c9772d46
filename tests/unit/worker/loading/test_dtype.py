"""The type of the weights that `auto` chooses, on machines of several kinds."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.loading import dtype
from worker.loading.dtype import choose_dtype

_DEMO, _OFFICIAL = 5_082_240, 3_032_242_416
"""Numbers of weights."""
_EPYC = "processor\t: 0\nflags\t\t: fpu sse2 avx2 avx512f avx512_bf16 avx512_vnni\n\nprocessor\t: 1\nflags\t\t: fpu\n"
_XEON = "flags\t\t: fpu avx512f amx_tile amx_bf16\n"
_OLD = "flags\t\t: fpu sse2 avx2 avx512f avx512_vnni\n"
_ARM = "processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n"


@pytest.fixture
def cpu(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that reports this; None: one without such a file, as macOS."""
    path = tmp_path / "cpuinfo"
    if request.param is not None:
        path.write_text(request.param)
    monkeypatch.setattr(dtype, "_CPU_INFO", path)


_KINDS = {"AVX512-BF16": _EPYC, "AMX": _XEON, "older": _OLD, "ARM": _ARM, "says nothing": "", "not Linux": None}


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [(text, "bfloat16" if name in {"AVX512-BF16", "AMX"} else "float32") for name, text in _KINDS.items()],
    ids=list(_KINDS),
    indirect=["cpu"],
)
def test_a_large_model_is_in_bfloat16_on_a_cpu_that_computes_with_it(cpu: None, expected: str) -> None:
    assert choose_dtype("auto", "cpu", _OFFICIAL) == expected


@pytest.mark.parametrize("cpu", _KINDS.values(), ids=list(_KINDS), indirect=True)
def test_a_small_model_is_in_float32_on_every_cpu(cpu: None) -> None:
    assert choose_dtype("auto", "cpu", _DEMO) == "float32"


@pytest.mark.parametrize("cpu", [_OLD], indirect=True)
@pytest.mark.parametrize("device", ["cuda", "xpu", "mps"])
@pytest.mark.parametrize("elements", [_DEMO, _OFFICIAL])
def test_every_model_is_in_bfloat16_on_a_gpu(cpu: None, device: str, elements: int) -> None:
    assert choose_dtype("auto", device, elements) == "bfloat16"


@pytest.mark.parametrize("cpu", [_EPYC, _OLD], indirect=True)
@pytest.mark.parametrize("setting", ["float32", "bfloat16"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_setting_decides_if_it_is_not_auto(cpu: None, setting: str, device: str) -> None:
    assert {choose_dtype(setting, device, elements) for elements in (_DEMO, _OFFICIAL)} == {setting}
