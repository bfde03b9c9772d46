"""Checkpoints on this machine: lists the models of the registry, fetches them, and checks their files.

scripts/models list
scripts/models fetch google/paligemma2-3b-mix-448
scripts/models check
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

from shared.errors import ConfigurationError
from shared.process.environment import load_settings
from shared.registry import BYTES_PER_PARAMETER, RegistryEntry, ServedModel, find_model, read_registry
from shared.settings import Settings
from worker.loading.hub import cached_checkpoint, damaged_files, fetch_checkpoint, has_digests, weight_files
from worker.loading.vae_file import find_vae

_COLUMNS = ("model", "here", "px", "tokens", *(f"{dtype} GB" for dtype in BYTES_PER_PARAMETER), "softcap", "prompt")


def main() -> int:
    """Run one command. Returns an exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/models", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="all models of the registry")
    fetch = commands.add_parser("fetch", help="download into the cache, or resume a download")
    fetch.add_argument("model", nargs="+", help="a name in the registry")
    check = commands.add_parser("check", help="compare files with their digests")
    check.add_argument(
        "model", nargs="*", help="a name in the registry, or a folder; default: all models that are here"
    )
    options = parser.parse_args()
    try:
        settings = load_settings()
        return _COMMANDS[options.command](settings, getattr(options, "model", []))
    except ConfigurationError as error:
        print(f"maskq: {error.detail}", file=sys.stderr)
        return 1


def _list(settings: Settings, _: list[str]) -> int:
    rows = [_row(name, entry, settings) for name, entry in read_registry(settings.model.models_dir).items()]
    print(table([_COLUMNS, *rows]))
    print("\nGB of the weights only: parameters x bytes of the dtype. For softcap see models/registry.toml")
    return 0


def _row(name: str, entry: RegistryEntry, settings: Settings) -> tuple[str, ...]:
    here = "yes" if _folder(find_model(name, settings.model.models_dir), settings) else "no"
    sizes = [_gigabytes(entry.weights_bytes(dtype)) for dtype in BYTES_PER_PARAMETER]
    softcap = "on" if entry.softcap else "off"
    return name, here, str(entry.resolution or "?"), str(entry.image_tokens or "?"), *sizes, softcap, entry.prompt


def _gigabytes(size: int | None) -> str:
    return "?" if size is None else f"{size / 1e9:.2f}"


def _fetch(settings: Settings, names: list[str]) -> int:
    enable_progress_bars()
    for name in names:
        model = find_model(name, settings.model.models_dir)
        folder = model.folder or fetch_checkpoint(model.name, settings.checkpoint)
        vae = find_vae(folder, settings.checkpoint.cache_dir)
        print(f"{model.name}: {folder}\n{model.name}: masks from {vae}")
    return 0


def _check(settings: Settings, names: list[str]) -> int:
    """Compare the files of models with their digests. Without names: all models that are here."""
    models = [find_model(name, settings.model.models_dir) for name in names or read_registry(settings.model.models_dir)]
    here = [(model, _folder(model, settings)) for model in models]
    lines = [(model.name, *_verdict(folder, settings)) for model, folder in here if folder or names]
    print(table([(name, verdict) for name, _, verdict in lines]))
    return 0 if all(good for _, good, _ in lines) else 1


def _verdict(folder: Path | None, settings: Settings) -> tuple[bool, str]:
    if folder is None:
        return False, "not here"
    if damaged := damaged_files(folder):
        return False, "damaged: " + ", ".join(path.name for path in damaged) + "; delete them and fetch again"
    if not weight_files(folder):
        return False, "incomplete: no model.safetensors, or not all of it"
    find_vae(folder, settings.checkpoint.cache_dir)
    return True, "every file has its digest" if has_digests(folder) else "complete; a local folder has no digests"


def _folder(model: ServedModel, settings: Settings) -> Path | None:
    return model.folder or cached_checkpoint(model.name, settings.checkpoint)


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
