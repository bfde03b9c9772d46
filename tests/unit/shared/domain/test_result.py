from shared.domain.brush import BrushRegion, ControlTags
from shared.domain.job import Job, MaskFormat
from shared.domain.result import BrushMask, PngMask, RleMask, SegmentationResult
from testing.factories import job_request, segmentation_result, segmented_object, stored_job

_RLE = RleMask(size=(4, 4), counts="0@")
_PNG = PngMask(format=MaskFormat.PNG, size=(4, 4), data="")


_BRUSH = BrushMask(region=BrushRegion.of([4, 8, 4], 4, 4))


def _result(mask: RleMask | None, *others: PngMask | BrushMask) -> SegmentationResult:
    return segmentation_result(segmented_object(mask=mask, alternate_masks=list(others)))


def _job(*formats: MaskFormat, tags: ControlTags = ControlTags()) -> Job:  # noqa: B008 - it is frozen
    return stored_job(request=job_request(mask_formats=formats, control_tags=tags))


def test_masks_are_in_the_requested_formats_and_no_other() -> None:
    stored = _result(_RLE, _PNG)
    png_only = stored.of_job(_job(MaskFormat.PNG)).objects[0]
    assert (png_only.mask, png_only.alternate_masks) == (_PNG, [])
    both = stored.of_job(_job(MaskFormat.PNG, MaskFormat.RLE)).objects[0]
    assert (both.mask, both.alternate_masks) == (_PNG, [_RLE])


def test_an_object_without_a_mask_has_none_in_any_format() -> None:
    found = _result(None).of_job(_job(MaskFormat.RLE, MaskFormat.LABELSTUDIO)).objects[0]
    assert (found.mask, found.alternate_masks, found.rle) == (None, [], None)


def test_an_empty_label_is_none_and_has_a_name_for_tools() -> None:
    found = segmented_object(label="")
    assert (found.label, found.name, segmented_object(label="cat").name) == (None, "unknown", "cat")


def test_a_result_is_unchanged_after_storing_it_as_json() -> None:
    stored = _result(_RLE, _PNG, _BRUSH)
    assert SegmentationResult.model_validate_json(stored.model_dump_json()) == stored


def test_a_region_has_the_names_of_the_job_that_is_read() -> None:
    stored = _result(_RLE, _BRUSH)
    for tags in (ControlTags(), ControlTags(from_name="masks", to_name="photo")):
        job = _job(MaskFormat.LABELSTUDIO, MaskFormat.RLE, tags=tags)
        found = stored.of_job(job).objects[0]
        assert isinstance(found.mask, BrushMask)
        region = found.mask.region
        assert (region.id, region.from_name, region.to_name) == (f"{job.id}-0", tags.from_name, tags.to_name)
        assert (region.score, region.value.brushlabels) == (0.9, ["cat"])
        assert region.value.rle == _BRUSH.region.value.rle


def test_an_object_without_a_label_has_a_brush_label_for_tools() -> None:
    stored = segmentation_result(segmented_object(label=None, mask=_BRUSH))
    mask = stored.of_job(_job(MaskFormat.LABELSTUDIO)).objects[0].mask
    assert isinstance(mask, BrushMask)
    assert mask.region.value.brushlabels == ["unknown"]
