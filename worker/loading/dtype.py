"""Chooses the type of the weights. Loads no PyTorch, so that commands that only examine a machine can ask as well."""

from __future__ import annotations

from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
_INSTRUCTIONS = {"avx512_bf16", "amx_bf16"}
"""Flags of CPUs that multiply matrices of bfloat16. Others convert each number, which takes longer than float32."""
_SMALL_ELEMENTS = 20_000_000
"""A model with fewer weights is in float32 on every CPU: it is fast and small enough, and its answers are then the same
on every machine."""


def choose_dtype(setting: str, device: str, elements: int, *, gpu_has_bfloat16: bool = True) -> str:
    """`float32`, `bfloat16` or `float16`, for a model with so many weights on a device of this type.

    `auto` is bfloat16 on a GPU, or float16 if that only emulates it. On a CPU that computes with bfloat16 it is that if
    the model is not small; else float32.
    """
    if setting != "auto":
        return setting
    if device != "cpu":
        return "bfloat16" if gpu_has_bfloat16 else "float16"
    return "bfloat16" if elements >= _SMALL_ELEMENTS and computes_bfloat16() else "float32"


def computes_bfloat16() -> bool:
    """Whether this machine's CPU has instructions for products of bfloat16. False if it does not say."""
    return not _INSTRUCTIONS.isdisjoint(_flags())


def _flags() -> set[str]:
    """What Linux reports for the first core."""
    try:
        with _CPU_INFO.open(encoding="utf-8") as lines:
            return next((set(line.split()) for line in lines if line.startswith("flags")), set())
    except OSError:
        return set()
