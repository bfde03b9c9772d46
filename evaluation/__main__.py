"""How good the masks are, by the authors' protocol.

scripts/evaluate drawn --scenes 500
scripts/evaluate coco FOLDER --model google/paligemma2-3b-mix-448
scripts/evaluate refcoco FOLDER --dataset refcoco --split val --service http://127.0.0.1:8000

A run that was cut off goes on where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import httpx2

from evaluation.datasets.coco import coco_questions
from evaluation.datasets.refcoco import SPLIT_BY, refcoco_questions
from evaluation.example import DataError, Question
from evaluation.metrics import as_table
from evaluation.predictors import default_model
from evaluation.run import IN_FLIGHT, Asked, evaluate
from shared.errors import ConfigurationError
from shared.process.environment import load_settings


def main() -> int:
    """Evaluate and print the figures. Returns an exit status."""
    options = _arguments()
    logging.basicConfig(level=logging.WARNING)
    try:
        asked = _asked(options)
        questions = list(islice(_questions(options), options.limit))
        found = evaluate(questions, _data_name(options), asked, options.out, options.in_flight)
    except (ConfigurationError, DataError) as error:
        print(f"maskq: {error}", file=sys.stderr)
        return 1
    except httpx2.HTTPStatusError as error:
        print(f"maskq: the service answered {error.response.status_code}: {error.response.text[:300]}", file=sys.stderr)
        return 1
    except (httpx2.HTTPError, KeyboardInterrupt) as error:
        print(f"maskq: cut off ({type(error).__name__}); the same command goes on from here", file=sys.stderr)
        return 1
    print(as_table(found))
    print(f"\nanswers, figures, objects.csv, worst.png and samples.png are in {options.out}")
    return 0


def _asked(options: argparse.Namespace) -> Asked:
    """The service, or an engine; which model is asked is settled before the first question."""
    settings, key = load_settings(), os.environ.get("MASKQ_API_KEY")
    if options.service:
        return Asked(settings, options.service, options.model or default_model(options.service, key), key)
    return Asked(settings.replace(model_id=options.model or settings.model.model_id))


def _questions(options: argparse.Namespace) -> Iterator[Question]:
    if options.data == "drawn":
        from evaluation.datasets.scenes import (
            drawn_questions,  # needs the recipe's libraries, which no other data set needs
        )

        return drawn_questions(options.scenes, options.first)
    if options.data == "coco":
        return coco_questions(options.folder, options.annotations, options.images)
    return refcoco_questions(options.folder, options.dataset, options.split, options.split_by, options.images)


def _data_name(options: argparse.Namespace) -> str:
    """What is asked, for the first line of the answers."""
    names = ("data", "folder", "annotations", "dataset", "split", "split_by", "scenes", "first", "limit")
    return " ".join(f"{name}={value}" for name in names if (value := getattr(options, name, None)) is not None)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--model", help="a name of the registry or a local folder (default: MASKQ_MODEL_ID)")
    common.add_argument("--service", metavar="URL", help="ask a running service, MASKQ_API_KEY being its key")
    common.add_argument("--out", type=Path, default=Path(".data/evaluation"), help="folder for what comes out")
    common.add_argument("--limit", type=int, help="only the first questions")
    common.add_argument("--in-flight", type=int, default=IN_FLIGHT, help="questions asked at once; 1 never batches")
    kinds = parser.add_subparsers(dest="data", required=True)
    drawn = kinds.add_parser("drawn", parents=[common], help="held-out scenes of the demo checkpoint's own world")
    drawn.add_argument("--scenes", type=int, default=500)
    drawn.add_argument("--first", type=int, default=0, help="number of the first held-out scene")
    coco = kinds.add_parser("coco", parents=[common], help="a folder in COCO's format, category names as prompts")
    coco.add_argument("folder", type=Path)
    coco.add_argument("--annotations", type=Path, help="default: the only JSON file there")
    refcoco = kinds.add_parser("refcoco", parents=[common], help="RefCOCO, RefCOCO+ or RefCOCOg")
    refcoco.add_argument("folder", type=Path)
    refcoco.add_argument("--dataset", choices=list(SPLIT_BY), default="refcoco")
    refcoco.add_argument("--split", default="val")
    refcoco.add_argument("--split-by", help="default: unc, or umd for refcocog")
    for kind in (coco, refcoco):
        kind.add_argument("--images", type=Path, help="where the image files are")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
