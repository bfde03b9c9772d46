"""What is read from a labeling config."""

from __future__ import annotations

import pytest
from maskq.labelstudio.problems import BadRequest, NoPrediction
from maskq.labelstudio.project_config import ProjectConfig

_IMAGE = '<Image name="image" value="$image"/>'


def controls_of(inner: str, image: str = _IMAGE) -> dict[str, dict[str, list[str]]]:
    """Labels with phrases, by the name of the control."""
    config = ProjectConfig.of(f"<View>{image}{inner}</View>")
    return {each.name: {label: list(names) for label, names in each.phrases.items()} for each in config.controls}


def brush(inner: str, attributes: str = "") -> str:
    return f'<BrushLabels name="tag" toName="image" {attributes}>{inner}</BrushLabels>'


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ('<Label value="Cat"/>', {"Cat": ["cat"]}),
        ('<Label value="Cat" alias="c1"/>', {"c1": ["cat"]}),
        ('<Label value="Car" predicted_values="car, red truck"/>', {"Car": ["car", "red truck"]}),
        ('<Label value="Car" predicted_values="car; bus"/>', {"Car": ["car", "bus"]}),
        ('<Label value="Car" predicted_values=" , "/>', {"Car": ["car"]}),
        ('<Label alias="x" predicted_values="cat"/>', {"x": ["cat"]}),
        ('<Label value="a; b"/>', {"a; b": ["a, b"]}),
        ('<Label value="Tom &amp; Jerry &#233;"/>', {"Tom & Jerry é": ["tom & jerry é"]}),
        ('<View><Label value="Cat"/></View><!-- --><Label value="Dog"/>', {"Cat": ["cat"], "Dog": ["dog"]}),
    ],
)
def test_a_label_stands_for_phrases(label: str, expected: dict[str, list[str]]) -> None:
    assert controls_of(brush(label)) == {"tag": expected}


@pytest.mark.parametrize(
    "label", ["", '<Label value="$labels"/>', '<Label value=""/>', '<Label value="..."/>', "<Choice value='a'/>"]
)
def test_a_control_without_labels_that_are_known_is_none(label: str) -> None:
    assert controls_of(brush(label)) == {}


def test_names_of_tags_are_read_as_the_editor_reads_them() -> None:
    inner = '<brushlabels name="tag" toName="other, image"><label value="Cat"/></brushlabels>'
    assert controls_of(inner, '<image name="image" value="$image"/>') == {"tag": {"Cat": ["cat"]}}


@pytest.mark.parametrize(
    "inner",
    [
        '<BrushLabels name="tag" toName="text"><Label value="Cat"/></BrushLabels><Text name="text" value="$text"/>',
        '<BrushLabels toName="image"><Label value="Cat"/></BrushLabels>',
        '<KeyPointLabels name="tag" toName="image"><Label value="Cat"/></KeyPointLabels>',
        '<Choices name="tag" toName="image"><Choice value="Cat"/></Choices>',
    ],
)
def test_other_controls_are_left_out(inner: str) -> None:
    assert controls_of(inner) == {}


def test_a_smart_control_is_an_input_if_there_is_another() -> None:
    smart = '<RectangleLabels name="box" toName="image" smart="true"><Label value="Cat"/></RectangleLabels>'
    assert list(controls_of(brush('<Label value="Cat"/>') + smart)) == ["tag"]
    assert list(controls_of(smart)) == ["box"]


def test_prompts_are_typed_into_text_areas_of_the_whole_image() -> None:
    areas = """<TextArea name="prompt" toName="image"/><TextArea name="note" toName="image" perRegion="true"/>
      <TextArea name="other" toName="text"/>"""
    assert ProjectConfig.of(f"<View>{_IMAGE}{areas}</View>").prompts == {"prompt"}


def test_the_image_may_be_inside_an_object_of_the_task() -> None:
    image = '<Image name="image" value="$files.front"/>'
    (found,) = ProjectConfig.of(f"<View>{image}{brush(_CAT)}</View>").images
    assert found.value_in({"files": {"front": "/a.png"}}) == "/a.png"
    for data in ({}, {"files": None}, {"files": "x"}, {"files": {"front": None}}):
        with pytest.raises(NoPrediction, match=r"\$files.front"):
            found.value_in(data)


_CAT = '<Label value="Cat"/>'
_BOMB = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<View",
        "<View></Vie>",
        "<View/><View/>",
        "\x00",
        "\ud800",
        f'<!DOCTYPE v [<!ENTITY a0 "x">{_BOMB}]><View>&a9;</View>',
        '<!DOCTYPE v SYSTEM "file:///etc/passwd"><View/>',
        '<!DOCTYPE v [<!ENTITY x SYSTEM "file:///etc/passwd">]><View>&x;</View>',
        '<!DOCTYPE v [<!ENTITY % p SYSTEM "http://127.0.0.1:1/"> %p;]><View/>',
        "<View>&undefined;</View>",
        "<View>" * 100_000,
        f"<View>{_IMAGE}{brush(_CAT, 'model_score_threshold=' + repr('x'))}</View>",
    ],
    ids=str.__len__,
)
def test_a_config_that_is_broken_or_dangerous_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        ProjectConfig.of(text)


def test_a_declaration_of_the_encoding_is_allowed() -> None:
    assert ProjectConfig.of('<?xml version="1.0" encoding="utf-8"?><View/>').controls == []
