import pytest

from shared.domain.prompt import normalize_prompt
from shared.errors import InvalidField


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("cat", "segment cat"),
        ("segment cat", "segment cat"),
        ("Segment  left   wheel", "segment left wheel"),  # the task word in any case; spaces become one
        ("cat;dog", "segment cat ; dog"),
        ("segment cat ; dog ;", "segment cat ; dog"),  # empty phrases are left out
        (" cat\n", "segment cat"),
        ("Red Circle", "segment Red Circle"),  # the phrase itself is not changed
        ("ﬁsh", "segment fish"),  # NFKC
        ("segmentation", "segment segmentation"),  # not the task word
        ("Straße 猫", "segment Straße 猫"),
        ("a < b > c", "segment a < b > c"),  # brackets alone are not a token
        ("cat, dog", "segment cat, dog"),  # a comma is part of a phrase: "man in blue, left"
        ("cat\uff1bdog\u061bbird", "segment cat ; dog ; bird"),  # full-width and Arabic semicolons
        ("cat &amp; dog", "segment cat & dog"),  # the semicolon of an HTML entity separates nothing
    ],
)
def test_prompts_get_the_form_the_model_was_trained_on(text: str, prompt: str) -> None:
    assert normalize_prompt(text) == prompt
    assert normalize_prompt(prompt) == prompt


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "segment",
        "segment ",
        " ; ; ",
        "x" * 513,
        "x" * 100_000,
        "cat<loc0000><seg000>",
        "< LOC0123 >",
        "<image>",
        "</bos>",
        "\uff1cloc0001\uff1e",  # becomes ASCII under NFKC
        "cat\x00",
        "cat\x1b[31m",
        "\u200d",  # a joiner that joins nothing
        "\ufe0f",
        "...",
        '""',
        "<lo\u200dc0001>",  # a token behind a zero-width joiner
        "&lt;loc0001&gt;",
        "\ufeff<loc0001>",
        "\uffff",  # not a character
        "\ue000",  # private use
        "\ufdfa" * 100,  # 100 characters that are 1800 under NFKC
        "cat <eos>",
        "<pad>cat",
        "<image><loc0001>",
        "<bos>cat<eos>",
        "<unk>",
        "<start_of_turn>user",
        "<seg127>",
        "<loc1023>",
        "<LOC1>",
        "cat\ud800",  # lone surrogate
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidField, match=r"^prompt: "):
        normalize_prompt(text)


@pytest.mark.parametrize(
    "phrase",
    [
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, with a zero-width non-joiner
        "\u0915\u094d\u200d\u0937",  # Hindi, with a zero-width joiner
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",  # a family
        "\u2764\ufe0f\u200d\U0001f525",  # a heart on fire
        "\U0001f44d\U0001f3fd",  # a skin tone
        "1\ufe0f\u20e3",  # a keycap
        "\U0001f1eb\U0001f1f7",  # a flag of two letters
        "\U0001f3f4\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f",  # the flag of Wales
        "\U0001fae9",  # newer than Python's tables
    ],
)
def test_words_and_emoji_keep_their_invisible_characters(phrase: str) -> None:
    assert normalize_prompt(phrase) == f"segment {phrase}"
    assert normalize_prompt(f"red {phrase} ; cat") == f"segment red {phrase} ; cat"


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffcat",  # byte order mark
        "c\u00adat",  # soft hyphen
        "c\u200bat",  # zero-width space
        "c\u2060at",  # word joiner
        "\u202ecat\u202c",  # direction override
        "\u2066cat\u2069",  # direction isolates
        "cat\u200e\u200f",
        "c\u200dat\u200c",  # joiners between letters that never join
        "cat\U000e0064\U000e006f\U000e0067",  # a hidden text, without the flag
    ],
)
def test_characters_that_nobody_sees_are_dropped(text: str) -> None:
    assert normalize_prompt(text) == "segment cat"


@pytest.mark.parametrize(
    "text",
    [
        "segment cat\\n",  # a literal backslash and n
        "segment\\tcat\\r\\n",
        '"cat"',
        "'segment cat'",
        "\u201ccat\u201d",
        "\u00abcat\u00bb",
        "\u2018segment \u201ccat\u201d\u2019",
        '\\"cat\\"',
        "`cat`",
        '"cat',
        "segment: cat",
        "SEGMENT : cat",
        "segment:cat",
        "<image>segment cat",
        "<image> <image>\nsegment cat\n",
        "<image><bos>segment cat",
        "<image>cat",
        "cat.",
        '"cat."',
        "segment cat;",
        "segment segment cat",
        "\uff02cat\uff02",
    ],
)
def test_what_people_put_around_a_name_is_dropped(text: str) -> None:
    assert normalize_prompt(text) == "segment cat"


@pytest.mark.parametrize(
    "text",
    [
        "'cat' ; 'dog'",
        "\u2018cat\u2019;\u2018dog\u2019",
        '["cat", "dog"]',
        "['cat', 'dog']",
        "- cat\n- dog\n",
        "* cat\r\n* dog",
        "\u2022 cat\n\n\u2022 dog",
        "1. cat\n2. dog",
        "1) segment cat\\n2) segment dog",
        "cat ; dog ; Cat",
        "cat;cat;dog;dog",
    ],
)
def test_a_list_of_things_is_several_phrases_and_each_is_asked_for_once(text: str) -> None:
    assert normalize_prompt(text) == "segment cat ; dog"


@pytest.mark.parametrize(
    "phrase", ["cat - dog", "[cat]", "3 cats", "2. floor", "left-most cat", "the 'big' cat's tail"]
)
def test_what_only_resembles_a_list_is_one_phrase(phrase: str) -> None:
    assert normalize_prompt(phrase) == f"segment {phrase}"


def test_every_phrase_is_cleaned_and_quotes_within_one_stay() -> None:
    assert normalize_prompt('segment "cat" ; segment "dog".') == "segment cat ; dog"
    for phrase in ('"left" and "right" shoe', '6" pipe', 'pipe of 6"', "dogs'", "cat's tail", "segment of an orange"):
        assert normalize_prompt(phrase) == f"segment {phrase}"


@pytest.mark.parametrize(
    "text",
    [
        "detect cat",
        "cat ; detect dog",
        "Detect: cat ; dog",
        '"detect cat"',
        "<image>detect cat\n",
        "caption en",
        "caption",
        "caption the image",
        "cap en",
        "describe en",
        "ocr",
        "answer en what colour is the cat?",
        "answer: red",
        "answer where is the cat",
        "question en a cat",
        "question is there a cat?",
    ],
)
def test_the_other_tasks_of_the_model_are_refused_with_a_word(text: str) -> None:
    with pytest.raises(InvalidField, match=r"^prompt: only the task `segment` is served; send what to segment"):
        normalize_prompt(text)


@pytest.mark.parametrize(
    "phrase", ["detective", "detector", "captions", "captain", "cap", "red cap", "question mark", "answer sheet"]
)
def test_things_named_like_a_task_are_accepted(phrase: str) -> None:
    assert normalize_prompt(phrase) == f"segment {phrase}"


def test_a_thing_with_the_name_of_a_task_is_asked_for_with_the_task_in_front() -> None:
    assert normalize_prompt("segment caption") == "segment caption"
