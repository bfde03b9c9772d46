"""Checkpoints on this machine: lists the models of the registry and of the settings, fetches them, and checks their
files.

scripts/models list
scripts/models fetch google/paligemma2-3b-mix-448
scripts/models check
scripts/models check /models/my-finetune
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

from shared.errors import CheckpointError, ConfigurationError
from shared.process.environment import load_settings
from shared.registry import (
    QUANTIZED_BYTES,
    RegistryEntry,
    ServedModel,
    find_model,
    offered_models,
    read_registry,
)
from shared.settings import Settings
from worker.loading.hub import cached_checkpoint, damaged_files, fetch_checkpoint, has_digests
from worker.loading.model_folder import CONFIG, check_folder, check_model, explained_access, memory_elements, read_json
from worker.loading.vae_file import find_vae

_DTYPES = ("float32", "bfloat16")
_COLUMNS = (
    *("model", "here", "px", "tokens"),
    *(f"{stored} GB" for stored in (*_DTYPES, *QUANTIZED_BYTES)),
    *("softcap", "prompt"),
)


def main() -> int:
    """Run one command. Returns an exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/models", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="all models of the registry and of the settings")
    fetch = commands.add_parser("fetch", help="download into the cache, or resume a download")
    fetch.add_argument("model", nargs="+", help="a name in the registry")
    check = commands.add_parser("check", help="compare files with their digests, and load folders")
    check.add_argument(
        "model", nargs="*", help="a name in the registry, or a folder; default: those here and those of the settings"
    )
    options = parser.parse_args()
    try:
        settings = load_settings()
        return _COMMANDS[options.command](settings, getattr(options, "model", []))
    except ConfigurationError as error:
        print(f"maskq: {error.detail}", file=sys.stderr)
        return 1


def _list(settings: Settings, _: list[str]) -> int:
    models = {name: find_model(name, settings.model) for name in read_registry(settings.model)}
    rows = [_row(model, settings) for model in {**models, **offered_models(settings.model)}.values()]
    print(table([_COLUMNS, *rows]))
    print(
        "\nGB of the weights only; int8 and int4: with MASKQ_QUANTIZE, computed in bfloat16. For softcap see "
        "models/registry.toml"
    )
    return 0


def _row(model: ServedModel, settings: Settings) -> tuple[str, ...]:
    folder = _folder(model, settings)
    entry = _described(model.entry, folder) if folder else model.entry
    sizes = [_gigabytes(entry.weights_bytes(dtype)) for dtype in _DTYPES]
    sizes += [_gigabytes(entry.quantized_bytes(quantization)) for quantization in QUANTIZED_BYTES]
    resolution, tokens = str(entry.resolution or "?"), str(entry.image_tokens or "?")
    softcap = "on" if entry.softcap else "off"
    return model.name, "yes" if folder else "no", resolution, tokens, *sizes, softcap, entry.prompt


def _described(entry: RegistryEntry, folder: Path) -> RegistryEntry:
    """An entry without numbers, such as that of a local folder, with those of its files. They stay unknown if the
    folder does not contain a whole model."""
    if entry.parameters:
        return entry
    try:
        with explained_access(folder):
            parameters = memory_elements(folder, check_model(folder))
            vision = read_json(folder / CONFIG)["vision_config"]
    except (CheckpointError, KeyError):
        return entry
    sides = {"resolution": vision.get("image_size"), "patch": vision.get("patch_size")}
    return entry.model_copy(update={"parameters": parameters, **{k: v for k, v in sides.items() if v}})


def _gigabytes(size: int | None) -> str:
    return "?" if size is None else f"{size / 1e9:.2f}"


def _fetch(settings: Settings, names: list[str]) -> int:
    enable_progress_bars()
    for name in names:
        model = find_model(name, settings.model)
        folder = model.folder or fetch_checkpoint(model.name, settings.checkpoint, is_gated=model.entry.gated)
        with explained_access(folder):
            check_folder(folder)
            vae = find_vae([folder], settings.checkpoint.cache_dir)
        print(f"{model.name}: {folder}\n{model.name}: masks from {vae}")
    return 0


def _check(settings: Settings, names: list[str]) -> int:
    """Check models of the registry and folders. Without names: all models that are here, and those of the settings."""
    found = [find_model(name, settings.model) for name in names or read_registry(settings.model)]
    required = found if names else list(offered_models(settings.model).values())
    models = {model.name: model for model in [*found, *required] if model in required or _folder(model, settings)}
    verdicts = [(model.name, *_verdict(model, settings)) for model in models.values()]
    print(table([(name, text) for name, _, text in verdicts]))
    return 0 if all(good for _, good, _ in verdicts) else 1


def _verdict(model: ServedModel, settings: Settings) -> tuple[bool, str]:
    try:
        return True, _checked_folder(model, settings) if model.folder else _checked_snapshot(model, settings)
    except ConfigurationError as error:
        return False, error.detail


def _checked_snapshot(model: ServedModel, settings: Settings) -> str:
    """Compare the files of a model from the hub with their digests."""
    folder = cached_checkpoint(model.name, settings.checkpoint)
    if not folder:
        raise CheckpointError(f"not here: scripts/models fetch {model.name}")
    if damaged := damaged_files(folder):
        names = ", ".join(path.name for path in damaged)
        raise CheckpointError(f"damaged: {names}; delete them and fetch again")
    find_vae([folder], settings.checkpoint.cache_dir)
    return "every file has its digest" if has_digests(folder) else "complete; its files have no digests"


def _checked_folder(model: ServedModel, settings: Settings) -> str:
    """Load a local model on the CPU, as a worker does."""
    from worker.build import set_up_libraries  # torch takes seconds to import, and other commands need none
    from worker.loading.checkpoint import load_checkpoint

    set_up_libraries()
    on_cpu = settings.checkpoint.model_copy(update={"device": "cpu", "dtype": "bfloat16"})
    load_checkpoint(model, on_cpu, settings.model)
    return f"loads from {model.folder}; a local folder has no digests"


def _folder(model: ServedModel, settings: Settings) -> Path | None:
    """The folder of a model that is on this machine."""
    if model.folder:
        return model.folder if model.folder.exists() else None
    return cached_checkpoint(model.name, settings.checkpoint)


def table(rows: Iterable[tuple[str, ...]]) -> str:
    """Rows as aligned columns of text."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


_COMMANDS: dict[str, Callable[[Settings, list[str]], int]] = {"list": _list, "fetch": _fetch, "check": _check}

if __name__ == "__main__":
    disable_progress_bars()
    sys.exit(main())
