"""Settings that only workers read: weights, engine, process."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from shared.settings.group import PositiveSeconds, SettingsGroup, Token


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|(cuda|xpu)(:\d{1,4})?", value):
        raise ValueError("must be auto, cpu, cuda, cuda:N, xpu, xpu:N or mps (N is the number of a GPU)")
    return value


class CheckpointSettings(SettingsGroup):
    """Weights and device"""

    read_by = "workers"

    hf_token: Token | None = Field(
        None,
        validation_alias="HF_TOKEN",
        repr=False,
        description="Hugging Face token of an account that accepted the licence. Needed for official ids until their "
        "weights are in MASKQ_CACHE_DIR.",
    )
    cache_dir: Path = Field(
        Path.home() / ".cache" / "maskq",
        description="Folder for official weights and vae-oid.npz, which are fetched once, and for locks that show "
        "which workers of this machine have ended and which GPUs are in use. In containers, a volume that the workers "
        "of a host share.",
    )
    base_model: str = Field(
        "",
        description="Model that the model of this worker was fine-tuned from: a name in the registry, or a folder. "
        "Empty: what its files name. Set it if an adapter names a base that is elsewhere now, or if a folder has no "
        "processor files.",
    )
    device: Annotated[str, AfterValidator(_device)] = Field(
        "auto",
        description="`auto`, `cpu`, `cuda` or `cuda:N` (NVIDIA, AMD), `xpu` or `xpu:N` (Intel), `mps` (Apple). Without "
        "a number, a worker takes the first GPU that no other worker with the same MASKQ_CACHE_DIR has; `auto` "
        "looks for them in this order, and is the CPU if there is none.",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="Type in which the model computes. `auto` is bfloat16 on a GPU, or float16 if that emulates it "
        "(T4, V100); on a CPU that computes with bfloat16 (AVX512-BF16, AMX) it is bfloat16 if the model has 20 "
        "million parameters or more; else float32. Set it to compare results between devices.",
    )
    quantize: Literal["none", "int8", "int4"] = Field(
        "none",
        description="`int8` or `int4` stores most weights in 8 or 4 bits, for GPUs with less memory; needs torchao. "
        "`int4` needs an NVIDIA GPU with bfloat16. What fits where: docs/models.md.",
    )


class EngineSettings(SettingsGroup):
    """Engine"""

    read_by = "workers"

    max_batch: int = Field(
        16,
        ge=1,
        le=256,
        description="Most jobs that share a step of the model. Each takes a slot of its cache. By default chosen by "
        "the device: 16 on a CPU, or 32 for a small model; on a GPU up to 128, as many as fit into half of the memory "
        "that the weights leave. Lower it if the GPU's memory is short.",
    )
    prefill_tokens: int = Field(
        8_192,
        ge=1,
        description="Most tokens of images and prompts that start in one step: 32 images at 224 px. By default chosen "
        "by the device: 1,024 for a large model on a CPU. Running jobs wait for that step; lower it if they must not "
        "wait as long.",
    )
    max_prompt_tokens: int = Field(
        512,
        ge=16,
        le=4096,
        description="Most tokens of a prompt; longer ones fail with `prompt_too_long`. Every slot of the cache has "
        "room for it: raise it for long prompts in rare scripts, lower it to save memory.",
    )
    max_answer_tokens: int = Field(
        256,
        ge=24,
        le=4096,
        description="Most tokens of an answer; a longer one is marked `truncated`. An object takes 20 tokens and its "
        "label, so 256 are about 10 objects. Raise it for images with more.",
    )
    force_format: bool = Field(
        True,
        description="Choose only tokens that make whole objects. Off: always the model's most probable token, to "
        "compare with other implementations.",
    )
    feature_cache_bytes: int = Field(
        256_000_000,
        ge=0,
        description="Bytes of memory for the features of recent images, so that another prompt on one of them starts "
        "sooner: 1.2 MB per image at 224 px. 0 turns this off.",
    )


class WorkerSettings(SettingsGroup):
    """Worker"""

    read_by = "workers"

    worker_threads: int = Field(
        24,
        ge=1,
        le=512,
        description="Jobs in flight per worker. By default 1.5 times MASKQ_MAX_BATCH, so that images are prepared and "
        "masks drawn while the model runs. Never below MASKQ_MAX_BATCH, or a batch could not fill. Raise it if the "
        "model waits for images.",
    )
    job_processes: int = Field(
        2,
        ge=1,
        le=64,
        description="Processes of a worker that run all of a job but the model: 50 to 70 MB each. "
        "Raise it if the model waits for images or masks while CPU cores are idle; lower it if memory is short.",
    )
    stuck_s: PositiveSeconds = Field(
        60.0,
        description="Seconds without progress of the engine after which its process ends. Above the longest step: "
        "raise it for a large model on a CPU.",
    )
    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Port on which a worker serves `/metrics`. 0 is none, because several workers may share a machine. "
        "Set it for Prometheus; the second worker of `scripts/up` gets the next port, and so on.",
    )
    metrics_host: str = Field(
        "127.0.0.1",
        description="Address on which a worker serves `/metrics`. By default this machine only; in a container, "
        "`0.0.0.0`.",
    )

    def with_default_threads(self, max_batch: int) -> WorkerSettings:
        """These settings, with the default of `worker_threads` for this batch size: 1.5 times as many, rounded up."""
        if "worker_threads" in self.model_fields_set:
            return self
        values = {**dict(self), "worker_threads": (3 * max_batch + 1) // 2}
        return WorkerSettings.model_construct(_fields_set=self.model_fields_set, **values)
