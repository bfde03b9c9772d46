from typing import Any

import pytest
import torch
from PIL import Image

from training.scenes import HELD_OUT_SEEDS, draw_scene
from worker.checkpoint import Checkpoint
from worker.engine.runner import Answer, Runner
from worker.preprocess import ModelInput, Preprocessor

_LONGEST = 60
_PROMPTS = [
    "segment red circle",
    "segment square",
    "segment blue star ; heart ; white ring",
    "segment zebra",
    "segment a thing that nobody ever trained this model to find",
    "segment black",
]


@pytest.fixture(scope="module")
def runner(demo: Checkpoint) -> Runner:
    tokenizer = demo.processor.tokenizer
    ids = {"pad_id": tokenizer.pad_token_id, "eos_id": tokenizer.eos_token_id}
    return Runner(demo.model, **ids, max_answer_tokens=_LONGEST)


def _nobody_leaves() -> list[int]:
    return []


def _inputs(demo: Checkpoint, count: int) -> list[ModelInput]:
    preprocessor = Preprocessor(demo.processor)
    scenes = [draw_scene(seed) for seed in HELD_OUT_SEEDS[:count]]
    prompts = [_PROMPTS[index % len(_PROMPTS)] for index in range(count)]
    return [
        preprocessor.prepare(Image.fromarray(scene.image), prompt)
        for scene, prompt in zip(scenes, prompts, strict=True)
    ]


def _generate(demo: Checkpoint, job: ModelInput) -> list[int]:
    """What transformers itself answers, `<eos>` included."""
    ids = torch.tensor([job.token_ids])
    inputs: dict[str, Any] = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": torch.zeros_like(ids),
        "pixel_values": torch.from_numpy(job.pixel_values)[None],
    }
    written = demo.model.generate(**inputs, do_sample=False, max_new_tokens=_LONGEST)
    tokens: list[int] = written[0, ids.shape[1] :].tolist()
    return tokens


def _with_eos(answer: Answer, eos_id: int) -> list[int]:
    return answer.token_ids if answer.truncated else [*answer.token_ids, eos_id]


@pytest.mark.parametrize("batch_size", [1, 6, 24])
def test_a_batch_of_mixed_prompts_gets_the_tokens_of_generate_one_by_one(
    demo: Checkpoint, runner: Runner, batch_size: int
) -> None:
    inputs = _inputs(demo, batch_size)
    assert batch_size == 1 or len({len(each.token_ids) for each in inputs}) > 3
    answers = runner.run(inputs, _nobody_leaves)
    eos_id = demo.processor.tokenizer.eos_token_id
    assert [_with_eos(answer, eos_id) for answer in answers] == [_generate(demo, each) for each in inputs]
    assert {answer.batch_size for answer in answers} == {batch_size}


def test_probabilities_are_those_of_the_chosen_tokens(demo: Checkpoint, runner: Runner) -> None:
    inputs = _inputs(demo, 12)
    answers = [runner.run([each], _nobody_leaves)[0] for each in inputs]
    job, answer = max(zip(inputs, answers, strict=True), key=lambda pair: len(pair[1].token_ids))
    ids = torch.tensor([job.token_ids + answer.token_ids])
    kinds = torch.tensor([[0] * len(job.token_ids) + [1] * len(answer.token_ids)])
    with torch.inference_mode():
        output = demo.model(
            input_ids=ids,
            token_type_ids=kinds,
            attention_mask=torch.ones_like(ids),
            pixel_values=torch.from_numpy(job.pixel_values)[None],
        )
    logprobs = output.logits[0, len(job.token_ids) - 1 : -1].log_softmax(-1)
    expected = [float(row[token]) for row, token in zip(logprobs, answer.token_ids, strict=True)]
    assert answer.logprobs == pytest.approx(expected, abs=1e-3)
    assert len(answer.token_ids) == len(answer.logprobs) > 0


def test_an_answer_that_reaches_its_longest_length_says_so(demo: Checkpoint) -> None:
    runner = Runner(demo.model, pad_id=0, eos_id=-1, max_answer_tokens=5)
    (answer,) = runner.run(_inputs(demo, 1), _nobody_leaves)
    assert (len(answer.token_ids), answer.truncated) == (5, True)


def test_a_job_that_leaves_stops_writing_and_changes_nothing_for_the_others(demo: Checkpoint, runner: Runner) -> None:
    inputs = _inputs(demo, 3)
    whole = runner.run(inputs, _nobody_leaves)
    steps = iter(range(1000))
    parted = runner.run(inputs, lambda: [0] if next(steps) >= 3 else [])
    assert parted[0].token_ids == whole[0].token_ids[:3]
    assert [each.token_ids for each in parted[1:]] == [each.token_ids for each in whole[1:]]
