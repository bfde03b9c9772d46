"""Sentences as tensors: prompts, answers, what each answer token is worth, and where it should look."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from scenes.layout import LATTICE_STEP, lattice_location
from scenes.phrases import SceneNames, choose_phrases
from shared.domain.paligemma import LOCATION_SCALE, SEPARATOR, write_prompt
from training.model import IMAGE_TOKENS
from training.pool import Ints, Pool
from training.tokenizer import CODE_TOKENS, LOCATION_TOKENS, build_tokenizer

IGNORED = -100
NOWHERE = -2
"""An object number that no patch has; background patches have -1."""
TWO_PHRASES_SHARE = 0.35
LONG_SHARE = 0.25
"""Share of the questions, those with the longest answers, that are padded apart from the rest."""
FIRST_WEIGHT, LOCATION_WEIGHT, CODE_WEIGHT, TEXT_WEIGHT, DECISION_WEIGHT = 8.0, 2.5, 1.0, 1.0, 3.0


@cache
def token_ids(text: str) -> tuple[int, ...]:
    """Ids of ``text`` without anything added."""
    return tuple(build_tokenizer()(text, add_special_tokens=False).input_ids)


FIRST_LOCATION = token_ids(LOCATION_TOKENS[0])[0]
FIRST_CODE = token_ids(CODE_TOKENS[0])[0]
END = token_ids("<eos>")[0]


@dataclass
class Sentence:
    """One question and its answer, token by token. Lists run over the answer's tokens."""

    prompt: list[int]
    answer: list[int]
    weights: list[float]
    looks: list[int]
    """Which object a token is read from; NOWHERE for none."""
    edges: list[float]
    """Exact edge, 0..1, behind a location token; -1 for other tokens."""
    matches: list[int]
    """Every object that was asked for."""


def write_sentence(names: SceneNames, codes: Ints, asked: list[str]) -> Sentence:
    """The answer that the official grammar gives to ``asked``."""
    prompt = [*token_ids("<bos>"), *token_ids(write_prompt(asked)), *token_ids("\n")]
    found = [(phrase, index) for phrase in asked for index in names.matching(phrase)]
    sentence = Sentence(prompt, [], [], [], [], [index for _, index in found])
    for number, (phrase, index) in enumerate(found):
        _write_object(sentence, names, codes, phrase, index, number)
    _write(sentence, [END], FIRST_WEIGHT if not found else DECISION_WEIGHT)
    return sentence


def _write(sentence: Sentence, tokens: list[int], weight: float, look: int = NOWHERE) -> None:
    sentence.answer += tokens
    sentence.weights += [weight] * len(tokens)
    sentence.looks += [look] * len(tokens)
    sentence.edges += [-1.0] * len(tokens)


def _write_object(sentence: Sentence, names: SceneNames, codes: Ints, phrase: str, index: int, number: int) -> None:
    if number:
        decision, space = token_ids(SEPARATOR)
        _write(sentence, [decision], DECISION_WEIGHT)
        _write(sentence, [space], TEXT_WEIGHT)
    for edge in names.boxes[index].tolist():
        _write(sentence, [FIRST_LOCATION + lattice_location(edge)], LOCATION_WEIGHT, index)
        sentence.edges[-1] = edge
    sentence.weights[-4] = FIRST_WEIGHT if number == 0 else FIRST_WEIGHT / 2
    _write(sentence, [FIRST_CODE + code for code in codes[index].tolist()], CODE_WEIGHT, index)
    _write(sentence, list(token_ids(" " + phrase)), TEXT_WEIGHT)


@dataclass(frozen=True)
class Batch:
    """B sentences padded to T tokens: 64 image tokens, prompt, answer. Position t teaches the token at t + 1."""

    scenes: Ints
    views: Ints
    tokens: Tensor
    """int64[B, T]; 0 under image tokens and padding."""
    visible: Tensor
    """bool[B, T, T]: everything of the prompt, and of the answer what came before."""
    targets: Tensor
    """int64[B, T], -100 where nothing is taught."""
    weights: Tensor
    """float32[B, T]."""
    edges: Tensor
    """float32[B, T]: exact edge in 0..1 behind a location target, -1 elsewhere."""
    looks: Tensor
    """bool[B, T, 64]: patches of the object that the target is read from."""
    matches: Tensor
    """bool[B, 64]: patches of everything that was asked for."""
    next_object: Tensor
    """bool[B, 64]: patches of the object that the answer begins with."""


def make_batches(pool: Pool, scenes: Ints, views: Ints, random: np.random.Generator) -> list[Batch]:
    """A question about each of these scenes; the quarter with the longest answers apart, to spare the rest padding."""
    sentences = []
    for scene, view in zip(scenes, views, strict=True):
        names = SceneNames(pool.kinds[scene], pool.colors[scene], pool.boxes[scene, view])
        asked = choose_phrases(names, random, TWO_PHRASES_SHARE)
        sentences.append(write_sentence(names, pool.codes[scene, view].astype(np.int64), asked))
    by_length = np.argsort([len(sentence.answer) for sentence in sentences], kind="stable")
    cut = round(len(scenes) * (1 - LONG_SHARE))
    return [
        _padded(
            [sentences[index] for index in part],
            scenes[part],
            views[part],
            torch.from_numpy(pool.owners[scenes[part], views[part]]).long(),
            random,
        )
        for part in (by_length[:cut], by_length[cut:])
    ]


def _padded(sentences: list[Sentence], scenes: Ints, views: Ints, owners: Tensor, random: np.random.Generator) -> Batch:
    """Lay sentences side by side; ``owners``: int64[B, 64], the object of every patch."""
    starts = torch.tensor([IMAGE_TOKENS + len(sentence.prompt) for sentence in sentences])
    longest = int(max(start + len(sentence.answer) for start, sentence in zip(starts, sentences, strict=True)))

    def rows(values: Iterable[Sequence[float]], shift: int, empty: float) -> Tensor:
        """[B, T]: ``values`` from ``shift`` positions after the prompt on."""
        table = torch.full((len(sentences), longest), empty)
        for row, start, line in zip(table, starts + shift, values, strict=True):
            row[start : start + len(line)] = torch.tensor(line)
        return table

    tokens = rows((_misheard(sentence, random) for sentence in sentences), 0, 0)
    for row, start, sentence in zip(tokens, starts, sentences, strict=True):
        row[IMAGE_TOKENS:start] = torch.tensor(sentence.prompt)
    looks = rows((sentence.looks for sentence in sentences), -1, NOWHERE)
    steps = torch.arange(longest)
    matched = [
        torch.isin(owner, torch.tensor(sentence.matches)) for owner, sentence in zip(owners, sentences, strict=True)
    ]
    first = torch.tensor([sentence.matches[0] if sentence.matches else NOWHERE for sentence in sentences])
    return Batch(
        scenes=scenes,
        views=views,
        tokens=tokens,
        visible=(steps < starts[:, None, None]) | (steps <= steps[:, None]),
        targets=rows((sentence.answer for sentence in sentences), -1, IGNORED),
        weights=rows((sentence.weights for sentence in sentences), -1, 0.0),
        edges=rows((sentence.edges for sentence in sentences), -1, -1.0),
        looks=owners[:, None, :] == looks[..., None],
        matches=torch.stack(matched),
        next_object=owners == first[:, None],
    )


def _misheard(sentence: Sentence, random: np.random.Generator) -> list[int]:
    """The answer as the model reads it back while it learns: now and then a step off, as its own answers will be."""
    heard = list(sentence.answer)
    for place, (token, edge) in enumerate(zip(sentence.answer, sentence.edges, strict=True)):
        if edge >= 0 and random.random() < 0.3:
            shifted = edge + random.choice((-1, 1)) * LATTICE_STEP / LOCATION_SCALE
            heard[place] = FIRST_LOCATION + lattice_location(min(max(shifted, 0.0), 1.0))
        elif FIRST_CODE <= token < FIRST_CODE + len(CODE_TOKENS) and random.random() < 0.06:
            heard[place] = FIRST_CODE + int(random.integers(len(CODE_TOKENS)))
    return heard
