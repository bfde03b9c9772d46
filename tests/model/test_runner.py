"""The runner writes the same tokens as transformers, whichever sequences join and leave the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image
from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration

from scenes.scene import HELD_OUT_SEEDS, draw_scene
from shared.domain.paligemma import CODEBOOK_SIZE, LOCATIONS, location_token, mask_token
from tests.model.reference import answer_of_transformers
from worker.engine.grammar import SpecialTokenIds
from worker.engine.model_input import ModelInput
from worker.engine.pixel_values import to_pixel_values
from worker.engine.runner import Runner, RunnerLimits
from worker.engine.sequence import Answer, Sequence
from worker.loading.checkpoint import Checkpoint
from worker.stages.parse import parse_answer
from worker.stages.preprocess import Preprocessor

pytestmark = pytest.mark.slow

_MAX_TOKENS = 60
_SLOTS = 6
_PROMPTS = [
    "segment red circle",
    "segment square",
    "segment blue star ; heart ; white ring",
    "segment zebra",
    "segment a thing that nobody ever trained this model to find",
    "segment black",
]


# --- Models -----------------------------------------------------------------------------------------------------------


@dataclass(repr=False)
class Subject:
    """A model, inputs for it, and the answers of transformers to them."""

    model: Any
    ids: SpecialTokenIds
    inputs: list[ModelInput]
    _generated: dict[tuple[int, bool], tuple[int, ...]]

    def generate(self, index: int, *, force_format: bool) -> tuple[int, ...]:
        """The answer of transformers to one input alone, with `<eos>`."""
        key = (index, force_format)
        if key not in self._generated:
            ids = self.ids if force_format else None
            self._generated[key] = answer_of_transformers(self.model, self.inputs[index], ids, _MAX_TOKENS)
        return self._generated[key]


def _demo_inputs(demo: Checkpoint, count: int) -> list[ModelInput]:
    preprocessor = Preprocessor(demo.processor, max_prompt_tokens=512)
    scenes = [draw_scene(seed) for seed in HELD_OUT_SEEDS[:count]]
    return [
        preprocessor.prepare(Image.fromarray(scene.image), _PROMPTS[index % len(_PROMPTS)])
        for index, scene in enumerate(scenes)
    ]


@pytest.fixture(scope="module")
def demo_subject(demo: Checkpoint) -> Subject:
    tokenizer = demo.processor.tokenizer
    ids = SpecialTokenIds.of(tokenizer.get_vocab(), tokenizer.eos_token_id)
    return Subject(demo.model, ids, _demo_inputs(demo, 24), {})


_FIRST_LOCATION, _WORDS = 40, 40
_IMAGE_TOKEN = 39


def _random_subject(*, layers: int, heads: int, kv_heads: int, softcaps: tuple[float, float] | None) -> Subject:
    """A tiny untrained PaliGemma 2. Location tokens are likely, so that it writes objects, and so is the end."""
    torch.manual_seed(layers * 100 + heads * 10 + kv_heads)
    attention_cap, final_cap = softcaps or (None, None)
    size = _FIRST_LOCATION + LOCATIONS + CODEBOOK_SIZE
    text = {
        "model_type": "gemma2", "vocab_size": size, "hidden_size": 32, "intermediate_size": 64, "head_dim": 16,
        "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv_heads,
        "query_pre_attn_scalar": 16, "attn_logit_softcapping": attention_cap, "final_logit_softcapping": final_cap,
        "use_bidirectional_attention": True, "initializer_range": 0.3,
    }  # fmt: skip
    vision = {
        "model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 16, "patch_size": 4, "projection_dim": 32, "vision_use_head": False,
    }  # fmt: skip
    config = PaliGemmaConfig(
        text_config=text, vision_config=vision, projection_dim=32, image_token_index=_IMAGE_TOKEN, hidden_size=32
    )
    model = PaliGemmaForConditionalGeneration(config).eval()
    with torch.no_grad():
        model.lm_head.weight[:_WORDS] *= 2
        model.lm_head.weight[_FIRST_LOCATION : _FIRST_LOCATION + LOCATIONS] *= 1.3
    random = np.random.default_rng(layers)
    prefix = [_IMAGE_TOKEN] * 16
    inputs = [
        ModelInput(
            random.integers(0, 256, (16, 16, 3), np.uint8),
            prefix + random.integers(2, _WORDS - 2, 2 + index % 7).tolist(),
            bytes([index]),
        )
        for index in range(12)
    ]
    locations = tuple(range(_FIRST_LOCATION, _FIRST_LOCATION + LOCATIONS))
    codes = tuple(range(_FIRST_LOCATION + LOCATIONS, size))
    return Subject(model, SpecialTokenIds(locations, codes, eos_id=1), inputs, {})


_SHAPES: dict[str, Callable[[], Subject]] = {
    "capped": lambda: _random_subject(layers=3, heads=4, kv_heads=2, softcaps=(50.0, 30.0)),
    "tightly capped": lambda: _random_subject(layers=2, heads=2, kv_heads=1, softcaps=(1.0, 2.0)),
    "many heads": lambda: _random_subject(layers=2, heads=8, kv_heads=2, softcaps=None),
    "no shared heads": lambda: _random_subject(layers=4, heads=2, kv_heads=2, softcaps=None),
}


@pytest.fixture(scope="module", params=["demo", *_SHAPES])
def subject(request: pytest.FixtureRequest, demo_subject: Subject) -> Subject:
    return demo_subject if request.param == "demo" else _SHAPES[request.param]()


# --- Runs -------------------------------------------------------------------------------------------------------------


class Writing:
    """Sequences in the slots of one runner. Tests run each step."""

    def __init__(self, subject: Subject, *, force_format: bool, lag: int = 0, feature_bytes: int = 0) -> None:
        longest = max(len(each.token_ids) for each in subject.inputs) + _MAX_TOKENS
        limits = RunnerLimits(_SLOTS, longest, feature_bytes)
        self._subject = subject
        self._runner = Runner(subject.model, subject.ids, limits, force_format=force_format, lag=lag)
        self._free = list(range(_SLOTS))
        self.by_index: dict[int, Sequence] = {}

    @property
    def running(self) -> list[Sequence]:
        return [each for each in self.by_index.values() if not each.is_done]

    def join(self, indices: list[int]) -> None:
        """Start inputs that have not started, as many as there are free slots."""
        new = [index for index in indices if index not in self.by_index][: len(self._free)]
        for index in new:
            self.by_index[index] = Sequence(self._subject.inputs[index], Future(), slot=self._free.pop(0))
        if new:
            self._run(self._runner.prefill, [self.by_index[index] for index in new])

    def leave(self, position: int) -> None:
        """Stop one running sequence."""
        leaving = self.running[position % len(self.running)]
        leaving.is_done = True
        self._free.append(leaving.slot)

    def step(self) -> None:
        if self.running:
            self._run(self._runner.decode, self.running)

    def _run(self, step: Callable[[list[Sequence]], Any], sequences: list[Sequence]) -> None:
        for each in sequences:
            each.steps_in_flight += 1
        for each, chosen in zip(sequences, step(sequences).read(), strict=True):
            each.append(chosen, _MAX_TOKENS)
            if each.is_done:
                self._free.append(each.slot)

    def finish(self) -> dict[int, Answer]:
        """Run steps until all sequences have ended."""
        while self.running:
            self.step()
        return {index: each.answer for index, each in self.by_index.items()}


def _with_eos(answer: Answer) -> tuple[int, ...]:
    return tuple(answer.token_ids) if answer.truncated else (*answer.token_ids, 1)


@contextmanager
def _counting_calls(module: torch.nn.Module) -> Iterator[list[int]]:
    sizes: list[int] = []
    handle = module.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    yield sizes
    handle.remove()


# --- Tests ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("force_format", [False, True], ids=["free", "forced"])
def test_every_answer_equals_that_of_transformers_alone(subject: Subject, force_format: bool) -> None:
    writing = Writing(subject, force_format=force_format)
    count = len(subject.inputs)
    while len(writing.by_index) < count:
        writing.join(list(range(count)))
        writing.step()
    answers = writing.finish()
    expected = {index: subject.generate(index, force_format=force_format) for index in range(count)}
    assert {index: _with_eos(answer) for index, answer in answers.items()} == expected
    assert any(len(tokens) > 20 for tokens in expected.values())


@given(
    actions=st.lists(
        st.one_of(
            st.tuples(st.just("join"), st.lists(st.integers(0, 11), min_size=1, max_size=4, unique=True)),
            st.tuples(st.just("leave"), st.integers(0, 5)),
            st.tuples(st.just("step"), st.integers(1, 9)),
        ),
        max_size=20,
    ),
    force_format=st.booleans(),
)
@examples(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_sequences_that_join_and_leave_change_no_other_answer(
    subject: Subject, actions: list[tuple[str, Any]], force_format: bool
) -> None:
    writing = Writing(subject, force_format=force_format)
    left: set[int] = set()
    for action, argument in actions:
        if action == "join":
            writing.join(argument)
        elif action == "leave" and writing.running:
            before = {index for index, each in writing.by_index.items() if not each.is_done}
            writing.leave(argument)
            left |= before - {index for index, each in writing.by_index.items() if not each.is_done}
        elif action == "step":
            for _ in range(argument):
                writing.step()
    for index, answer in writing.finish().items():
        expected = subject.generate(index, force_format=force_format)
        written = tuple(answer.token_ids) if index in left else _with_eos(answer)
        assert written == (expected[: len(written)] if index in left else expected)


def test_with_the_format_forced_no_object_is_malformed(subject: Subject) -> None:
    writing = Writing(subject, force_format=True)
    writing.join(list(range(_SLOTS)))
    names = {token: location_token(index) for index, token in enumerate(subject.ids.location_ids)}
    names |= {token: mask_token(index) for index, token in enumerate(subject.ids.mask_ids)}
    for answer in writing.finish().values():
        text = "".join(names.get(token, " x") for token in answer.token_ids)
        parsed = parse_answer(text, [0.0] * len(answer.token_ids), truncated=answer.truncated)
        assert {each.reason for each in parsed.skipped} <= {"stray_text", "cut_short"}


def test_probabilities_are_those_of_the_chosen_tokens(demo_subject: Subject) -> None:
    writing = Writing(demo_subject, force_format=False)
    writing.join(list(range(_SLOTS)))
    for index, answer in writing.finish().items():
        job = demo_subject.inputs[index]
        ids = torch.tensor([job.token_ids + answer.token_ids])
        kinds = torch.tensor([[0] * len(job.token_ids) + [1] * len(answer.token_ids)])
        with torch.inference_mode():
            output = demo_subject.model(
                input_ids=ids,
                token_type_ids=kinds,
                attention_mask=torch.ones_like(ids),
                pixel_values=to_pixel_values(torch.from_numpy(np.stack([job.pixels]))),
            )
        logprobs = output.logits[0, len(job.token_ids) - 1 : -1].log_softmax(-1)
        expected = [float(row[token]) for row, token in zip(logprobs, answer.token_ids, strict=True)]
        assert answer.logprobs == pytest.approx(expected, abs=1e-3)


def test_probabilities_do_not_depend_on_the_batch(demo_subject: Subject) -> None:
    together, alone = Writing(demo_subject, force_format=True), Writing(demo_subject, force_format=True)
    together.join(list(range(_SLOTS)))
    alone.join([0])
    assert together.finish()[0].logprobs == pytest.approx(alone.finish()[0].logprobs, abs=1e-4)


def test_the_vision_tower_runs_once_for_several_prompts_on_one_image(demo: Checkpoint, demo_subject: Subject) -> None:
    picture = Image.fromarray(draw_scene(HELD_OUT_SEEDS[0]).image)
    preprocessor = Preprocessor(demo.processor, max_prompt_tokens=512)
    inputs = [preprocessor.prepare(picture, prompt) for prompt in _PROMPTS]
    several = Subject(demo_subject.model, demo_subject.ids, inputs, {})
    writing = Writing(several, force_format=True, feature_bytes=1_000_000)
    with _counting_calls(demo.model.model.vision_tower) as batch_sizes:
        writing.join([0, 1])
        writing.join([2, 3, 4, 5])
        answers = writing.finish()
    assert sum(batch_sizes) == 1
    expected = [several.generate(index, force_format=True) for index in range(len(_PROMPTS))]
    assert [_with_eos(answers[index]) for index in range(len(_PROMPTS))] == expected


def test_weights_are_in_memory_once(demo_subject: Subject) -> None:
    Writing(demo_subject, force_format=True)
    attention = demo_subject.model.model.language_model.layers[0].self_attn
    assert attention.q_proj.weight.untyped_storage().data_ptr() == attention.v_proj.weight.untyped_storage().data_ptr()
