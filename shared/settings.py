"""Every setting of every process, with its unit and the reason for its value. Read once, at start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.errors import ConfigurationError

_SECRETS = Path("/run/secrets")
"""Where Docker and Kubernetes put secrets: `/run/secrets/hf_token` holds what `HF_TOKEN` would."""

Delay = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _numbers(value: object) -> object:
    """Numbers as an environment variable holds them: `5, 300`."""
    return [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class Settings(BaseSettings):
    """One frozen object; the environment variable of a field is its name in upper case."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    # --- Broker and store ---------------------------------------------------------------------------------------------

    redis_url: str = Field(
        "redis://127.0.0.1:6379/0", description="Redis >= 7 or Valkey: Celery's broker and the store."
    )
    allow_data_loss: bool = Field(
        False, description="Run on a server that may lose accepted jobs: one without AOF, or one that evicts keys."
    )
    redis_timeout_s: float = Field(
        5.0, gt=0, description="Longest wait for one answer of Redis. Short, so that a frozen server is noticed."
    )

    image_store: str = Field(
        "", description="Where images are kept: empty is Redis; or `file:///folder`, `s3://bucket/prefix` for many."
    )
    sweep_s: float = Field(600.0, gt=0, description="How often each worker removes images there that no job needs.")

    # --- Model --------------------------------------------------------------------------------------------------------

    model_id: str = Field(
        "demo", min_length=1, description="`demo`, an official id from models/registry.toml, or a local folder."
    )
    models: str = Field(
        "",
        description="Several models in one deployment: all of them by commas, for the front end. A worker serves its "
        "own `MODEL_ID`; the front end's is what a job is for unless it says otherwise.",
    )
    accept_unserved: bool = Field(
        False,
        description="Accept jobs for a model that no live worker serves: they wait until one comes, which scaling from "
        "zero needs. Off, they are refused with 503.",
    )
    models_dir: Path = Field(
        Path("models"), description="Folder with the registry and the demo checkpoint; relative to the working folder."
    )
    cache_dir: Path = Field(
        Path.home() / ".cache" / "maskq", description="Where official weights and vae-oid.npz are kept once fetched."
    )
    hf_token: SecretStr | None = Field(
        None, description="Hugging Face token of an account that accepted the licence. Official ids only."
    )
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda|cuda:\d+)$", description="`auto` takes the first CUDA device, else the CPU."
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="`auto` is bfloat16 on CUDA and float32 on a CPU, where bfloat16 is slow."
    )

    # --- Worker -------------------------------------------------------------------------------------------------------

    worker_threads: int = Field(
        24,
        ge=1,
        le=512,
        description="Jobs in hand at once. Above max_batch, so that images are prepared and masks drawn meanwhile.",
    )
    max_batch: int = Field(
        16, ge=1, le=256, description="Most jobs that share a step of the model; each takes a slot of its cache."
    )
    prefill_tokens: int = Field(
        8_192, ge=1, description="Images and prompts that start in one step, in tokens: the others wait for it."
    )
    max_prompt_tokens: int = Field(
        512, ge=16, le=4096, description="Longest prompt the model takes. Each slot of the cache has room for it."
    )
    max_answer_tokens: int = Field(
        256, ge=24, le=4096, description="Longest answer. An object takes 20 tokens and its label, so about 10 objects."
    )
    force_format: bool = Field(
        True, description="Choose only tokens that make whole objects. Off: whatever the model likes best."
    )
    feature_cache_bytes: int = Field(
        256_000_000,
        ge=0,
        description="What is kept of images seen lately, for the next prompt on them; 1.2 MB each at 224 px.",
    )
    heartbeat_s: float = Field(
        5.0, gt=0, description="How often a worker says that it lives. Three missed beats: gone."
    )
    lease_s: float = Field(30.0, gt=0, description="How long a silent worker keeps a job: some missed heartbeats.")
    give_up_s: float = Field(
        20.0,
        gt=0,
        description="A worker unheard for so long drops its jobs, before the lease ends and another has them.",
    )
    poll_s: float = Field(1.0, gt=0, description="How often a worker with free hands looks for jobs unasked.")
    stuck_s: float = Field(60.0, gt=0, description="An engine without progress for so long ends the process.")
    drain_s: float = Field(
        25.0, ge=0, description="How long a worker told to stop finishes jobs before returning them."
    )
    restart_grace_s: float = Field(
        30.0, ge=0, description="No lease is reaped while Redis is up for less: workers must reconnect first."
    )

    # --- Figures for those who watch over it --------------------------------------------------------------------------

    metrics_port: int = Field(0, ge=0, le=65535, description="Port on which a worker serves `/metrics`; 0 is none.")
    metrics_host: str = Field("127.0.0.1", description="Address on which it does.")
    metrics_allow: str = Field(
        "127.0.0.0/8,::1/128", description="Networks whose clients the front end shows its `/metrics`, by commas."
    )

    otlp_endpoint: str = Field(
        "", description="Where traces go, as OTLP over HTTP: `http://collector:4318`. Empty: there are none."
    )

    # --- Limits on what clients send ----------------------------------------------------------------------------------

    max_image_bytes: int = Field(
        20_000_000, ge=1, description="Largest image file. Phones and cameras stay below 20 MB."
    )
    max_image_pixels: int = Field(
        25_000_000, ge=1, description="Most pixels, checked in the header: 25 MP are 75 MB once decoded."
    )
    decode_processes: int = Field(
        4, ge=1, le=64, description="Most helper processes per front end or worker that decode images, one each."
    )
    decode_memory_bytes: int = Field(
        1_000_000_000, ge=300_000_000, description="Memory of such a helper. The worst images of 25 MP need 515 MB."
    )
    decode_cpu_s: int = Field(
        10, ge=1, description="CPU time an image may take to decode. Honest ones of 25 MP take up to 1.5 s."
    )
    max_prompt_chars: int = Field(512, ge=1, description="Longest prompt, as sent.")
    max_queued_jobs: int = Field(
        1_000, ge=1, description="Jobs that may wait per model; images are kept in Redis meanwhile."
    )
    max_timeout_s: int = Field(86_400, ge=1, description="Longest `timeout` of a job.")
    max_wait_s: float = Field(
        60.0, gt=0, description="Longest `?wait=`; proxies commonly cut silent connections at 60 s."
    )

    # --- Who may call, and what one process carries -------------------------------------------------------------------

    require_keys: bool | None = Field(
        None, description="Whether callers need an API key (`scripts/keys`). Unset: unless bound to this machine only."
    )
    header_timeout_s: float = Field(
        10.0, gt=0, description="Longest wait for a request's headers, and for the first of a connection."
    )
    body_timeout_s: float = Field(
        120.0, gt=0, description="Longest upload: 20 MB in this time is 1.4 Mbit/s, a slow phone."
    )
    upload_memory_bytes: int = Field(
        1_000_000_000, ge=1, description="Bytes of uploads in hand at once; beyond that they get 503, not our memory."
    )
    max_waiters: int = Field(
        10_000, ge=1, description="Long polls and event streams open at once in one front end process."
    )
    stream_s: float = Field(
        600.0, gt=0, description="Longest event stream; clients come back by themselves, to a process that may be new."
    )
    ping_s: float = Field(
        15.0, gt=0, description="How often a silent event stream sends a comment, so that proxies keep it open."
    )

    # --- Logs ---------------------------------------------------------------------------------------------------------

    log_format: Literal["text", "json"] = Field("text", description="`text` for people, `json` a line for machines.")

    # --- URLs that clients send: images and webhooks ------------------------------------------------------------------

    url_allow_http: bool = Field(
        False, description="Allow plain http. Off: what is sent could be read, or swapped, on the way."
    )
    url_allow_private: bool = Field(
        False, description="Allow addresses that are not public, and any port. For closed networks and development."
    )
    url_timeout_s: float = Field(10.0, gt=0, description="Longest fetch of an image, all redirects included.")

    # --- Webhooks -----------------------------------------------------------------------------------------------------

    webhook_timeout_s: float = Field(
        15.0, gt=0, description="Longest delivery, from the name's resolution to the status. The lease is twice that."
    )
    webhook_retries_s: Annotated[tuple[Delay, ...], NoDecode, BeforeValidator(_numbers)] = Field(
        (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400),
        description="Seconds from a failed try to the next; what Standard Webhooks advises, until the job is gone.",
    )
    webhook_concurrency: int = Field(
        256, ge=1, description="Deliveries that one process has under way. They mostly wait, so many are cheap."
    )
    webhook_host_concurrency: int = Field(
        8, ge=1, description="Of those, to one host: a slow one must not hold up others."
    )
    webhook_rotation_s: int = Field(
        86_400, ge=0, description="How long a replaced secret signs along: a day for receivers to take the new one."
    )

    # --- Retention ----------------------------------------------------------------------------------------------------

    retention_s: int = Field(
        86_400, ge=1, description="How long a finished job is kept: a day of retries for its client."
    )
    image_retention_s: int = Field(
        3_600, ge=1, description="How long its image is kept for overlays. Short: images fill the memory of Redis."
    )
    result_cache_s: int = Field(
        0, ge=0, description="How long a result answers the same image, prompt and formats again; 0 is never."
    )
    idempotency_s: int = Field(86_400, ge=1, description="How long an idempotency key stands for its job.")
    tombstone_s: int = Field(604_800, ge=1, description="How long an expired job answers 410 instead of 404: a week.")


def load_settings() -> Settings:
    """Read the settings from the environment, and from files in /run/secrets for what is not there.

    Raises:
        ConfigurationError: a value is not allowed; names the variable and says what it may be.
    """
    try:
        return Settings(_secrets_dir=_SECRETS if _SECRETS.is_dir() else None)
    except ValidationError as error:
        wrong = "; ".join(f"{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise ConfigurationError(f"wrong settings in the environment: {wrong}") from None
