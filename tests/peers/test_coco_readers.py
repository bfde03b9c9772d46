"""Other tools read our COCO documents, each in an environment of its own: see requirements.txt beside this file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision as sv
from pycocotools import mask as coco_mask

from api.formats import ResultFormat, document_of
from shared.domain.job import JobStatus
from shared.domain.result import RleMask
from testing.factories import job_request, segmentation_result, segmented_object, stored_job
from testing.pictures import encoded, gradient
from tests.peers.environment import run_peer

_WIDTH, _HEIGHT = 64, 48
_INSIDE = np.zeros((_HEIGHT, _WIDTH), np.uint8, order="F")
_INSIDE[10:30, 20:50] = 1
_INSIDE[15:20, 25:30] = 0  # a hole
_MASK = RleMask(size=(_HEIGHT, _WIDTH), counts=coco_mask.encode(_INSIDE)["counts"].decode())
_AREA = int(_INSIDE.sum())
_CAT = segmented_object(label="cat", box=(20, 10, 50, 30), area=_AREA, mask=_MASK)
_DOG = segmented_object(label="dog", box=(0, 0, 9, 12), area=0, mask=None)
_FORMATS = [ResultFormat.COCO, ResultFormat.COCO_POLYGON]


@pytest.fixture(params=_FORMATS)
def data_set(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with an image and our document of it."""
    job = stored_job(status=JobStatus.SUCCEEDED, request=job_request(file_name="my cat.png"))
    document = document_of(job, segmentation_result(_CAT, _DOG, width=_WIDTH, height=_HEIGHT), request.param)
    for folder in ("images", "annotations"):
        (tmp_path / folder).mkdir()
    (tmp_path / "images" / "my cat.png").write_bytes(encoded(gradient(_WIDTH, _HEIGHT)))
    (tmp_path / "annotations" / "instances_default.json").write_text(json.dumps(document))
    return tmp_path


def _read(reader: str, folder: Path) -> list[Any]:
    run = run_peer([str(Path(__file__).with_name("read_coco.py")), reader, str(folder)], folder)
    read: list[Any] = json.loads(run.stdout.splitlines()[-1])
    return read


@pytest.mark.slow
@pytest.mark.peers
@pytest.mark.parametrize("reader", ["datumaro", "datumaro-stream", "datumaro-experimental", "fiftyone"])
def test_other_tools_read_the_document_as_a_data_set(reader: str, data_set: Path) -> None:
    (cat, cat_box, cat_area), (dog, dog_box, dog_area) = sorted(_read(reader, data_set))
    assert (cat, dog) == ("cat", "dog")
    assert cat_box == pytest.approx(_CAT.box, abs=1e-3)
    assert dog_box == pytest.approx(_DOG.box, abs=1e-3)
    has_run_lengths = '"counts"' in (data_set / "annotations" / "instances_default.json").read_text()
    if reader == "datumaro-experimental" and has_run_lengths:
        assert (cat_area, dog_area) == (None, None)  # it knows polygons only
    else:
        assert (cat_area, dog_area) == (_AREA, None)


def test_supervision_reads_the_document_as_a_data_set(data_set: Path) -> None:
    annotations = data_set / "annotations" / "instances_default.json"
    read = sv.DetectionDataset.from_coco(str(data_set / "images"), str(annotations), force_masks=True)
    ((path, _, detections),) = list(read)
    assert (Path(path).name, read.classes) == ("my cat.png", ["cat", "dog"])
    assert detections.xyxy.tolist() == [list(_CAT.box), list(_DOG.box)]
    assert detections.mask is not None
    cat, dog = np.asarray(detections.mask)
    assert not dog.any()
    assert (cat & (_INSIDE == 1)).sum() == _AREA  # of polygons it also draws the pixels on the line
