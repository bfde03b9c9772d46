"""FiftyOne applies `MaskqModel` to a data set, in a real database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from testing.pictures import encoded, gradient
from tests.client.labelstudio.phrase_worker import FAINT_SCORE, SCORE, box_of, mask_of
from tests.peers.environment import run_peer

pytestmark = [pytest.mark.slow, pytest.mark.peers]

_SIZES = {"1.png": (64, 48), "2.png": (90, 130), "3.png": (33, 70)}


def _applied(prompt: str, folder: Path, service: str, **options: Any) -> tuple[dict[str, Any], str]:
    """What each image has, and the name of the error that `apply_model` raised."""
    images = folder / "images"
    images.mkdir()
    for name, (width, height) in _SIZES.items():
        (images / name).write_bytes(encoded(gradient(width, height)))
    script = str(Path(__file__).with_name("apply_model.py"))
    env = {"MASKQ_URL": service, "FIFTYONE_DATABASE_DIR": str(folder / "database"), "FIFTYONE_DO_NOT_TRACK": "true"}
    run = run_peer([script, prompt, str(images), json.dumps(options)], folder, **env)
    labels, error = json.loads(run.stdout.splitlines()[-1])
    return labels, error


@pytest.mark.parametrize("batch_size", [None, 2])
def test_a_data_set_gets_instance_masks(tmp_path: Path, phrase_service: str, batch_size: int | None) -> None:
    labels, _ = _applied("cat ; faint dog ; box", tmp_path, phrase_service, batch_size=batch_size)
    assert set(labels) == set(_SIZES)
    for name, (width, height) in _SIZES.items():
        cat, dog, box = labels[name]
        assert [cat[0], dog[0], box[0]] == ["cat", "faint dog", "box"]
        assert [cat[2], dog[2], box[2]] == pytest.approx([SCORE, FAINT_SCORE, SCORE])
        assert box[3] is None
        mask = mask_of("cat", width, height)
        x0, y0, x1, y1 = box_of(mask)
        sides = np.array([width, height, width, height])
        assert np.array(cat[1]) * sides == pytest.approx([x0, y0, x1 - x0, y1 - y0])
        ys, xs = np.nonzero(mask[y0:y1, x0:x1])
        assert (cat[3], cat[4]) == ([y1 - y0, x1 - x0], [list(each) for each in zip(xs, ys, strict=True)])


def test_fiftyone_applies_its_own_threshold_and_classes(tmp_path: Path, phrase_service: str) -> None:
    options = {"confidence_thresh": 0.5, "classes": ["cat", "faint dog"]}
    labels, _ = _applied("cat ; faint dog ; truck", tmp_path, phrase_service, **options)
    assert {found[0] for image in labels.values() for found in image} == {"cat"}


def test_an_image_that_fails_costs_the_others_of_its_batch_nothing(tmp_path: Path, phrase_service: str) -> None:
    labels, error = _applied("fails at 90", tmp_path, phrase_service, batch_size=3)
    assert (labels["2.png"], error) == (None, "")
    assert len(labels["1.png"]) == len(labels["3.png"]) == 1


@pytest.mark.parametrize("options", [{"keep_others": False}, {}])
def test_an_error_is_raised_if_asked_or_if_all_images_fail(
    tmp_path: Path, phrase_service: str, options: dict[str, Any]
) -> None:
    prompt = "fails at 90" if options else "fails at 64 ; fails at 90 ; fails at 33"
    labels, error = _applied(prompt, tmp_path, phrase_service, batch_size=3, skip_failures=False, **options)
    assert set(labels.values()) == {None}
    assert error == "JobFailed"
