"""Measures how good the masks are, by the authors' protocol.

scripts/evaluate scenes --count 500
scripts/evaluate coco FOLDER --model google/paligemma2-3b-mix-448
scripts/evaluate refcoco FOLDER --dataset refcoco --split val --service http://127.0.0.1:8000

To continue an interrupted run, give the same command again.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import httpx2

from evaluation.datasets.coco import coco_examples
from evaluation.datasets.refcoco import SPLIT_BY, refcoco_examples
from evaluation.datasets.scenes import scene_examples
from evaluation.example import DataError, Example
from evaluation.http_predictor import Service, default_model, evaluate_service
from evaluation.metrics import Metrics, format_table
from evaluation.run import IN_FLIGHT
from scenes.layout import FORMS
from shared.domain.tiles import AUTO, CHOICES
from shared.errors import ConfigurationError
from shared.process.environment import load_settings


def main() -> int:
    """Evaluate and print the metrics. Returns an exit status."""
    options = _arguments()
    logging.basicConfig(level=logging.WARNING)
    try:
        metrics = _evaluate(options)
    except (ConfigurationError, DataError) as error:
        print(f"maskq: {error}", file=sys.stderr)
        return 1
    except httpx2.HTTPStatusError as error:
        print(f"maskq: the service returned {error.response.status_code}: {error.response.text[:300]}", file=sys.stderr)
        return 1
    except (httpx2.HTTPError, KeyboardInterrupt) as error:
        print(f"maskq: interrupted ({type(error).__name__}); the same command continues from here", file=sys.stderr)
        return 1
    print(format_table(metrics))
    print(f"\npredictions, metrics, objects.csv, worst.png and samples.png are in {options.out}")
    return 0


def _evaluate(options: argparse.Namespace) -> Metrics:
    """Evaluate a service or an engine. The model is chosen before the first prediction."""
    settings, dataset = load_settings(), _dataset_name(options)
    run = options.out, options.in_flight, options.tiles
    if options.service:
        return evaluate_service(
            _examples(options), dataset, _service(options), *run, with_calibration=options.calibrate
        )
    from evaluation.engine_predictor import evaluate_engine  # torch takes seconds to import, and a service needs none

    settings = settings.replace(model_id=options.model or settings.model.model_id)
    return evaluate_engine(_examples(options), dataset, settings, *run, with_calibration=options.calibrate)


def _service(options: argparse.Namespace) -> Service:
    """The service with a definite model, which the first line of predictions.jsonl names."""
    service = Service(options.service, options.model, os.environ.get("MASKQ_API_KEY"))
    return service if service.model_id else replace(service, model_id=default_model(service))


def _examples(options: argparse.Namespace) -> list[Example]:
    return list(islice(_dataset(options), options.limit))


def _dataset(options: argparse.Namespace) -> Iterator[Example]:
    if options.data == "scenes":
        return scene_examples(options.count, options.first, FORMS[options.form])
    if options.data == "coco":
        return coco_examples(options.folder, options.annotations, options.images)
    return refcoco_examples(options.folder, options.dataset, options.split, options.split_by, options.images)


def _dataset_name(options: argparse.Namespace) -> str:
    """All options that choose the examples, for the first line of predictions.jsonl."""
    names = (
        "data",
        "folder",
        "annotations",
        "dataset",
        "split",
        "split_by",
        "count",
        "first",
        "form",
        "limit",
        "tiles",
    )
    return " ".join(f"{name}={value}" for name in names if (value := getattr(options, name, None)) is not None)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--model", help="a name in the registry, a folder, or NAME=FOLDER (default: MASKQ_MODEL_ID)")
    common.add_argument("--service", metavar="URL", help="use a running service; MASKQ_API_KEY is its API key")
    common.add_argument("--out", type=Path, default=Path(".data/evaluation"), help="output folder")
    common.add_argument("--limit", type=int, help="use only the first examples")
    common.add_argument("--in-flight", type=int, default=IN_FLIGHT, help="examples at the same time; 1 never batches")
    common.add_argument("--tiles", choices=CHOICES, metavar="TILES", default=AUTO, help="auto, 1 or COLUMNSxROWS")
    common.add_argument("--calibrate", action="store_true", help="also write calibration.json and reliability.png")
    kinds = parser.add_subparsers(dest="data", required=True)
    scenes = kinds.add_parser("scenes", parents=[common], help="held-out scenes, for the checkpoints demo and emoji")
    scenes.add_argument("--count", type=int, default=500, help="number of scenes")
    scenes.add_argument("--first", type=int, default=0, help="number of the first held-out scene")
    scenes.add_argument(
        "--form", choices=list(FORMS), default="ordinary", help="only ordinary (demo) and emoji (emoji) are trained on"
    )
    coco = kinds.add_parser("coco", parents=[common], help="a folder in COCO's format; category names are the prompts")
    coco.add_argument("folder", type=Path)
    coco.add_argument("--annotations", type=Path, help="default: the only JSON file in the folder")
    refcoco = kinds.add_parser("refcoco", parents=[common], help="RefCOCO, RefCOCO+ or RefCOCOg")
    refcoco.add_argument("folder", type=Path)
    refcoco.add_argument("--dataset", choices=list(SPLIT_BY), default="refcoco")
    refcoco.add_argument("--split", default="val")
    refcoco.add_argument("--split-by", help="default: unc, or umd for refcocog")
    for kind in (coco, refcoco):
        kind.add_argument("--images", type=Path, help="folder of the image files")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
