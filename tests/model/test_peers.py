"""The peers of a benchmark do the same work as a worker."""

from __future__ import annotations

import json

import pytest

from benchmarks.peers.plain_model import PlainModel
from evaluation.datasets.scenes import scene_examples
from shared.domain.prompt import normalize_prompt
from shared.settings import Settings
from testing.factories import job_request
from worker.build import start_pipeline
from worker.loading.checkpoint import Checkpoint


@pytest.mark.slow
def test_a_batch_of_generate_has_the_masks_of_a_worker(demo: Checkpoint, demo_settings: Settings) -> None:
    examples = [(each.prompt, each.read_image()) for each in scene_examples(4, 7_000)]
    pipeline = start_pipeline(demo, demo_settings.engine, demo_settings.images)
    try:
        results = [
            pipeline.run(job_request(prompt=normalize_prompt(prompt)), image, lambda: False).result
            for prompt, image in examples
        ]
    finally:
        pipeline.close()
    wanted = [[(each.label, each.mask) for each in result.objects] for result in results]
    answers = [json.loads(each) for each in PlainModel().answer(examples)]
    assert [[(each["label"], each["mask"]) for each in answer] for answer in answers] == [
        [(label, mask.model_dump(mode="json") if mask else None) for label, mask in objects] for objects in wanted
    ]
    assert any(wanted)
