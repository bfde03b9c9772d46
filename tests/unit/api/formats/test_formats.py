"""Results in the formats of other tools, read by those tools."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import supervision as sv
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from api.formats import ResultFormat, document_of
from shared import VERSION
from shared.domain.job import JobStatus, MaskFormat
from shared.domain.result import PngMask, RleMask, SegmentedObject, Skipped
from shared.errors import InvalidField
from testing.factories import job_request, segmentation_result, segmented_object, stored_job
from worker.stages.parse import Detection
from worker.stages.place import place
from worker.stages.render import render_object
from worker.stages.run_lengths import resize

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it is written for an older pydantic
    from label_studio_sdk.converter import brush

_WIDTH, _HEIGHT = 130, 90
_REQUEST = job_request(prompt="segment cat ; dog", mask_formats=(MaskFormat.PNG,))
_JOB = stored_job(id="0197a2b4", status=JobStatus.SUCCEEDED, request=_REQUEST)


def _soft(seed: int) -> npt.NDArray[np.float32]:
    """A mask in several pieces, with holes."""
    return resize(np.random.default_rng(seed).uniform(-1, 1, (8, 8)).astype(np.float32), 64, 64)


def _found(seed: int, label: str, box_yxyx: tuple[int, int, int, int]) -> SegmentedObject:
    detection = Detection(label, box_yxyx, tuple(range(16)), 0.25 * (seed + 1))
    return render_object(place(detection, _soft(seed), (_WIDTH, _HEIGHT)), [MaskFormat.PNG])


_OBJECTS = [
    _found(0, "cat", (0, 0, 1023, 1023)),
    _found(1, "dog", (100, 200, 700, 900)),
    _found(2, "cat", (500, 0, 1023, 300)),
]
_MASKS = [
    coco_mask.decode({"size": found.rle.size, "counts": found.rle.counts}) == 1 for found in _OBJECTS if found.rle
]
_BOX_ONLY = segmented_object(label="box", score=0.5, box=(3, 4, 13, 24), area=0, mask=None)


def _document(name: ResultFormat, objects: list[SegmentedObject]) -> dict[str, Any]:
    result = segmentation_result(*objects, width=_WIDTH, height=_HEIGHT)
    return document_of(_JOB, result, name)


def _coco(document: dict[str, Any]) -> COCO:
    data_set = COCO()
    data_set.dataset = document
    data_set.createIndex()
    return data_set


@pytest.mark.parametrize("name", [each for each in ResultFormat if each is not ResultFormat.MASKQ])
def test_an_object_without_a_label_is_of_the_class_unknown(name: ResultFormat) -> None:
    document = _document(name, [_OBJECTS[0].model_copy(update={"label": None})])
    text = json.dumps({name: value for name, value in document.items() if name != "info"})
    assert "unknown" in text
    assert ': ""' not in text.replace('"supercategory": ""', "")
    assert "null" not in text


# --- COCO -------------------------------------------------------------------------------------------------------------


def test_pycocotools_reads_the_document_as_a_data_set() -> None:
    data_set = _coco(_document(ResultFormat.COCO, _OBJECTS))
    annotations = data_set.loadAnns(data_set.getAnnIds(imgIds=[1]))
    names = [data_set.loadCats(each["category_id"])[0]["name"] for each in annotations]
    assert names == ["cat", "dog", "cat"]
    for annotation, mask, found in zip(annotations, _MASKS, _OBJECTS, strict=True):
        assert (data_set.annToMask(annotation) == mask).all()
        x, y, width, height = annotation["bbox"]
        assert (x, y, x + width, y + height) == found.box
        assert annotation["area"] == mask.sum() == found.area


def test_pycocotools_reads_the_annotations_as_results() -> None:
    document = _document(ResultFormat.COCO, _OBJECTS)
    results = _coco(document).loadRes(document["annotations"])
    read = results.loadAnns(results.getAnnIds())
    assert [each["score"] for each in read] == [0.25, 0.5, 0.75]
    assert all((results.annToMask(each) == mask).all() for each, mask in zip(read, _MASKS, strict=True))


@pytest.mark.parametrize("name", [ResultFormat.COCO, ResultFormat.COCO_POLYGON])
def test_coco_includes_objects_without_masks(name: ResultFormat) -> None:
    _, annotation = _document(name, [_OBJECTS[0], _BOX_ONLY])["annotations"]
    assert (annotation["bbox"], annotation["area"], annotation["segmentation"]) == ([3, 4, 10, 20], 200, [])
    assert len(_coco({**_document(name, [_BOX_ONLY])}).loadRes([annotation]).getAnnIds()) == 1


def test_coco_polygons_cover_the_same_pixels_without_holes() -> None:
    document = _document(ResultFormat.COCO_POLYGON, _OBJECTS)
    data_set = _coco(document)
    for annotation, mask in zip(data_set.loadAnns(data_set.getAnnIds()), _MASKS, strict=True):
        assert (data_set.annToMask(annotation) == mask).all()
        assert all(len(polygon) >= 8 for polygon in annotation["segmentation"])
    rest = {"annotations": None}
    assert document | rest == _document(ResultFormat.COCO, _OBJECTS) | rest


@pytest.mark.parametrize(("file_name", "expected"), [("my cat.png", "my cat.png"), ("", "0197a2b4")])
def test_coco_names_the_file_of_the_image_and_where_the_data_is_from(file_name: str, expected: str) -> None:
    job = _JOB.model_copy(update={"request": _REQUEST.model_copy(update={"file_name": file_name})})
    document = document_of(job, segmentation_result(), ResultFormat.COCO)
    assert [image["file_name"] for image in document["images"]] == [expected]
    assert document["licenses"] == []
    assert document["info"] == {
        "description": "segment cat ; dog",
        "url": "",
        "version": VERSION,
        "year": 1970,
        "contributor": "maskq, demo",
        "date_created": "1970-01-01T00:00:00+00:00",
    }


# --- Roboflow ---------------------------------------------------------------------------------------------------------


def test_supervision_reads_the_roboflow_document() -> None:
    detections = sv.Detections.from_inference(_document(ResultFormat.ROBOFLOW, _OBJECTS))
    assert detections.xyxy.tolist() == [list(found.box) for found in _OBJECTS]
    assert detections.confidence is not None
    assert detections.confidence.tolist() == [0.25, 0.5, 0.75]
    assert detections.class_id is not None
    assert detections.class_id.tolist() == [0, 1, 0]
    assert list(detections.data["class_name"]) == ["cat", "dog", "cat"]
    assert detections.mask is not None
    assert (np.asarray(detections.mask) == np.stack(_MASKS)).all()


def test_supervision_reads_boxes_without_masks() -> None:
    detections = sv.Detections.from_inference(_document(ResultFormat.ROBOFLOW, [_BOX_ONLY]))
    assert detections.xyxy.tolist() == [[3, 4, 13, 24]]
    assert detections.mask is None


def test_supervision_draws_the_masks_it_read() -> None:
    detections = sv.Detections.from_inference(_document(ResultFormat.ROBOFLOW, _OBJECTS[1:2]))
    drawn = sv.MaskAnnotator(opacity=1).annotate(np.zeros((_HEIGHT, _WIDTH, 3), np.uint8), detections)
    assert (drawn.any(2) == _MASKS[1]).all()


# --- Label Studio -----------------------------------------------------------------------------------------------------


def _brush_masks(document: dict[str, Any]) -> list[npt.NDArray[np.bool_]]:
    layers = [brush.decode_rle(region["value"]["rle"]) for region in document["result"]]
    return [layer.reshape(_HEIGHT, _WIDTH, 4)[..., 3] > 0 for layer in layers]


def test_label_studio_reads_its_brush_labels() -> None:
    document = _document(ResultFormat.LABELSTUDIO, _OBJECTS)
    assert all((read == mask).all() for read, mask in zip(_brush_masks(document), _MASKS, strict=True))
    assert [region["value"]["brushlabels"] for region in document["result"]] == [["cat"], ["dog"], ["cat"]]
    assert {(region["original_width"], region["original_height"]) for region in document["result"]} == {(130, 90)}
    assert (document["score"], document["model_version"]) == (0.5, "demo")
    assert len({region["id"] for region in document["result"]}) == 3


@pytest.mark.parametrize("mask", _MASKS)
def test_brush_labels_decode_like_those_of_label_studio_s_encoder(mask: npt.NDArray[np.bool_]) -> None:
    document = _document(ResultFormat.LABELSTUDIO, _OBJECTS)
    number = next(index for index, each in enumerate(_MASKS) if each is mask)
    theirs = brush.mask2rle((mask * 255).astype(np.uint8))
    ours = document["result"][number]["value"]["rle"]
    assert brush.decode_rle(theirs).tolist() == brush.decode_rle(ours).tolist()
    assert len(ours) <= len(theirs)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 63, 64, 65, 16_383, 16_384, 16_385, 40_000])
@pytest.mark.parametrize("value", [0, 1])
def test_brush_labels_encode_runs_of_any_length(length: int, value: int) -> None:
    inside = np.full((1, length + 1), value, np.uint8, order="F")
    inside[0, -1] = 1 - value
    counts = coco_mask.encode(inside)["counts"].decode()
    found = segmented_object(mask=RleMask(size=(1, length + 1), counts=counts))
    (region,) = _document(ResultFormat.LABELSTUDIO, [found])["result"]
    assert (brush.decode_rle(region["value"]["rle"])[::4] > 0).tolist() == inside[0].tolist()


# --- All --------------------------------------------------------------------------------------------------------------


def test_the_maskq_document_has_the_formats_of_the_request() -> None:
    document = _document(ResultFormat.MASKQ, _OBJECTS)
    assert [[found["mask"]["format"], found["alternate_masks"]] for found in document["objects"]] == [["png", []]] * 3
    assert PngMask.model_validate(document["objects"][0]["mask"]).size == (_HEIGHT, _WIDTH)


@pytest.mark.parametrize("name", ResultFormat)
def test_every_document_says_what_is_missing(name: ResultFormat) -> None:
    skipped = Skipped(reason="empty_box", text="<loc0001>")
    result = segmentation_result(_OBJECTS[0], truncated=True, skipped=[skipped], width=_WIDTH, height=_HEIGHT)
    document = document_of(_JOB, result, name)
    assert (document["truncated"], document["skipped"]) == (True, [{"reason": "empty_box", "text": "<loc0001>"}])


def test_label_studio_s_document_names_objects_without_masks() -> None:
    document = _document(ResultFormat.LABELSTUDIO, [_OBJECTS[0], _BOX_ONLY])
    assert (len(document["result"]), document["skipped"]) == (1, [{"reason": "no_mask", "text": "box"}])


@pytest.mark.parametrize("name", ResultFormat)
def test_a_result_without_objects_is_a_valid_document(name: ResultFormat) -> None:
    document = _document(name, [])
    if name is ResultFormat.ROBOFLOW:
        assert len(sv.Detections.from_inference(document)) == 0
    if name is ResultFormat.COCO:
        assert _coco(document).getAnnIds() == []
    if name is ResultFormat.LABELSTUDIO:
        assert (document["result"], document["score"]) == ([], 0.0)
    if name is ResultFormat.MASKQ:
        assert document["objects"] == []


@pytest.mark.parametrize("name", ["coco-polygon", "labelstudio"])
def test_masks_with_very_many_details_are_not_written_run_by_run(name: str) -> None:
    mask = RleMask(size=(1_000, 1_000), counts="1" * 60_000)
    result = segmentation_result(*[segmented_object(mask=mask)] * 4)
    assert document_of(_JOB, result, ResultFormat.COCO)["annotations"]
    with pytest.raises(InvalidField, match="too many details"):
        document_of(_JOB, result, ResultFormat(name))
