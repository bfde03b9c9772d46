"""Other tools read one document of many jobs, whose annotations come first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import supervision as sv

from api.formats.coco_writer import CocoWriter
from shared.domain.job import JobStatus
from testing.factories import job_request, segmentation_result, stored_job
from testing.pictures import encoded, gradient
from tests.peers.test_coco_readers import _AREA, _CAT, _DOG, _HEIGHT, _INSIDE, _WIDTH, _read

_IMAGES = {"a.png": [_CAT], "my cat.png": [_DOG, _CAT]}


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """A folder with the images of two jobs and our document of both."""
    for folder in ("images", "annotations"):
        (tmp_path / folder).mkdir()
    writer = CocoWriter()
    pieces = [writer.begin()]
    for name, objects in _IMAGES.items():
        (tmp_path / "images" / name).write_bytes(encoded(gradient(_WIDTH, _HEIGHT)))
        job = stored_job(status=JobStatus.SUCCEEDED, request=job_request(file_name=name, ref="scan-7"))
        pieces.append(writer.add(job, segmentation_result(*objects, width=_WIDTH, height=_HEIGHT)))
    writer.skip(stored_job(status=JobStatus.CANCELED))
    (tmp_path / "annotations" / "instances_default.json").write_bytes(b"".join([*pieces, writer.end()]))
    return tmp_path


@pytest.mark.slow
@pytest.mark.peers
@pytest.mark.parametrize("reader", ["datumaro", "datumaro-stream", "datumaro-experimental", "fiftyone"])
def test_other_tools_read_all_images(reader: str, data_set: Path) -> None:
    found = sorted(_read(reader, data_set), key=str)
    assert [label for label, _, _ in found] == ["cat", "cat", "dog"]
    assert [box for _, box, _ in found] == [pytest.approx(each.box, abs=1e-3) for each in (_CAT, _CAT, _DOG)]
    areas = [None] * 3 if reader == "datumaro-experimental" else [_AREA, _AREA, None]  # it knows polygons only
    assert [area for _, _, area in found] == areas


def test_supervision_reads_all_images(data_set: Path) -> None:
    annotations = data_set / "annotations" / "instances_default.json"
    read = sv.DetectionDataset.from_coco(str(data_set / "images"), str(annotations), force_masks=True)
    assert read.classes == ["cat", "dog"]
    found = {Path(path).name: detections for path, _, detections in read}
    assert {name: detections.xyxy.tolist() for name, detections in found.items()} == {
        name: [list(each.box) for each in objects] for name, objects in _IMAGES.items()
    }
    masks = found["a.png"].mask
    assert masks is not None
    assert (np.asarray(masks)[0] & (_INSIDE == 1)).sum() == _AREA
