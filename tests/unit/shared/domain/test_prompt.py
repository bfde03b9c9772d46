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
        "cat\u202edog",  # direction override
        "cat\u2066dog\u2069",  # direction isolates
        "c\u200bat",  # zero-width space
        "<lo\u200dc0001>",  # a token behind a zero-width joiner
        "\ufeffcat",  # byte order mark
        "\ue000",  # private use
        "\ufdfa" * 100,  # 100 characters that are 1800 under NFKC
        "cat <eos>",
        "<pad>cat",
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
