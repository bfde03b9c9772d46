"""Token sequences as tensors: prompts and answers, with weights and the attended object of each answer token."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scenes.layout import LATTICE_STEP, lattice_location
from scenes.phrases import SceneNames, choose_phrases
from shared.domain.paligemma import LOCATION_SCALE, SEPARATOR, write_prompt
from training.model import IMAGE_TOKENS
from training.pool import Ints, Pool
from training.token_ids import TokenIds, token_ids
from training.tokenizer import CODE_TOKENS

IGNORED = -100
"""Target of a position without a loss."""
NO_PATCH = -2
"""An object index that no patch has; background patches have -1."""
TWO_PHRASES_SHARE = 0.35
LONG_SHARE = 0.25
"""Share of the sequences, those with the longest answers, that form a batch of their own."""
FIRST_WEIGHT, LOCATION_WEIGHT, CODE_WEIGHT, TEXT_WEIGHT, DECISION_WEIGHT = 8.0, 2.5, 1.0, 1.0, 3.0
"""Loss weights. A decision is whether the answer continues: ` ;` or the end."""


@dataclass
class TokenSequence:
    """A prompt and its answer as token ids. The lists from ``weights`` to ``edges`` have one entry per answer token."""

    ids: TokenIds
    prompt: list[int]
    answer: list[int]
    weights: list[float]
    attended: list[int]
    """Index of the object that a token describes, to which attention should go; NO_PATCH for none."""
    edges: list[float]
    """Exact edge of a location token, in 0..1; -1 for other tokens."""
    matches: list[int]
    """Indices of all objects that the prompt names."""


def write_sequence(names: SceneNames, codes: Ints, asked: list[str]) -> TokenSequence:
    """The prompt for the phrases ``asked`` and its answer, in the format of the official checkpoints.

    ``codes`` is int64[5, 16].
    """
    ids = token_ids(names.vocabulary)
    prompt = [*ids.of("<bos>"), *ids.of(write_prompt(asked)), *ids.of("\n")]
    found = [(phrase, index) for phrase in asked for index in names.matching(phrase)]
    sequence = TokenSequence(ids, prompt, [], [], [], [], [index for _, index in found])
    for position, (phrase, index) in enumerate(found):
        _write_object(sequence, names, codes, phrase, index, position)
    _write(sequence, [ids.end], FIRST_WEIGHT if not found else DECISION_WEIGHT)
    return sequence


def _write(sequence: TokenSequence, tokens: list[int], weight: float, attended: int = NO_PATCH) -> None:
    sequence.answer += tokens
    sequence.weights += [weight] * len(tokens)
    sequence.attended += [attended] * len(tokens)
    sequence.edges += [-1.0] * len(tokens)


def _write_object(
    sequence: TokenSequence, names: SceneNames, codes: Ints, phrase: str, index: int, position: int
) -> None:
    """Append object ``index`` of the scene, as number ``position`` of the answer."""
    ids = sequence.ids
    if position:
        decision, space = ids.of(SEPARATOR)
        _write(sequence, [decision], DECISION_WEIGHT)
        _write(sequence, [space], TEXT_WEIGHT)
    for edge in names.boxes[index].tolist():
        _write(sequence, [ids.first_location + lattice_location(edge)], LOCATION_WEIGHT, index)
        sequence.edges[-1] = edge
    sequence.weights[-4] = FIRST_WEIGHT if position == 0 else FIRST_WEIGHT / 2
    _write(sequence, [ids.first_code + code for code in codes[index].tolist()], CODE_WEIGHT, index)
    _write(sequence, list(ids.of(" " + phrase)), TEXT_WEIGHT)


@dataclass(frozen=True)
class Batch:
    """B sequences padded to T tokens: 64 image tokens, prompt, answer. The target at t is the token at t + 1."""

    scenes: Ints
    views: Ints
    tokens: Tensor
    """int64[B, T]; 0 under image tokens and padding."""
    visible: Tensor
    """bool[B, T, T], the attention mask: all of image and prompt, and the earlier tokens of the answer."""
    targets: Tensor
    """int64[B, T], -100 where there is no loss."""
    weights: Tensor
    """float32[B, T]."""
    edges: Tensor
    """float32[B, T]: exact edge of a location target in 0..1, -1 elsewhere."""
    attended: Tensor
    """bool[B, T, 64]: patches of the object that the target describes."""
    matches: Tensor
    """bool[B, 64]: patches of all objects that the prompt names."""
    first_object: Tensor
    """bool[B, 64]: patches of the first object of the answer."""
    lattice: Tensor
    """int64[129]: token ids of the locations 0, 8, ... 1016, 1023."""


def make_batches(pool: Pool, scenes: Ints, views: Ints, random: np.random.Generator) -> list[Batch]:
    """Make a prompt for each scene. The quarter with the longest answers is a batch of its own, to save padding."""
    sequences = []
    for scene, view in zip(scenes, views, strict=True):
        names = SceneNames(pool.kinds[scene], pool.colors[scene], pool.boxes[scene, view], pool.vocabulary)
        asked = choose_phrases(names, random, TWO_PHRASES_SHARE)
        sequences.append(write_sequence(names, pool.codes[scene, view].astype(np.int64), asked))
    by_length = np.argsort([len(sequence.answer) for sequence in sequences], kind="stable")
    cut = round(len(scenes) * (1 - LONG_SHARE))
    return [
        _padded(
            [sequences[index] for index in part],
            scenes[part],
            views[part],
            torch.from_numpy(pool.owners[scenes[part], views[part]]).long(),
            random,
        )
        for part in (by_length[:cut], by_length[cut:])
    ]


def _padded(
    sequences: list[TokenSequence], scenes: Ints, views: Ints, owners: Tensor, random: np.random.Generator
) -> Batch:
    """Pad sequences to one batch. ``owners`` is int64[B, 64]: the object of every patch."""
    starts = torch.tensor([IMAGE_TOKENS + len(sequence.prompt) for sequence in sequences])
    longest = int(max(start + len(sequence.answer) for start, sequence in zip(starts, sequences, strict=True)))

    def rows(values: Iterable[Sequence[float]], shift: int, empty: float) -> Tensor:
        """[B, T]: ``values``, starting ``shift`` positions after the prompt."""
        table = torch.full((len(sequences), longest), empty)
        for row, start, line in zip(table, starts + shift, values, strict=True):
            row[start : start + len(line)] = torch.tensor(line)
        return table

    tokens = rows((_with_errors(sequence, random) for sequence in sequences), 0, 0)
    for row, start, sequence in zip(tokens, starts, sequences, strict=True):
        row[IMAGE_TOKENS:start] = torch.tensor(sequence.prompt)
    attended = rows((sequence.attended for sequence in sequences), -1, NO_PATCH)
    steps = torch.arange(longest)
    matched = [
        torch.isin(owner, torch.tensor(sequence.matches)) for owner, sequence in zip(owners, sequences, strict=True)
    ]
    first = torch.tensor([sequence.matches[0] if sequence.matches else NO_PATCH for sequence in sequences])
    return Batch(
        scenes=scenes,
        views=views,
        tokens=tokens,
        visible=(steps < starts[:, None, None]) | (steps <= steps[:, None]),
        targets=rows((sequence.answer for sequence in sequences), -1, IGNORED),
        weights=rows((sequence.weights for sequence in sequences), -1, 0.0),
        edges=rows((sequence.edges for sequence in sequences), -1, -1.0),
        attended=owners[:, None, :] == attended[..., None],
        matches=torch.stack(matched),
        first_object=owners == first[:, None],
        lattice=sequences[0].ids.lattice,
    )


def _with_errors(sequence: TokenSequence, random: np.random.Generator) -> list[int]:
    """The answer as model input in training: some locations and codes are wrong, as in the model's own answers."""
    tokens, ids = list(sequence.answer), sequence.ids
    for position, (token, edge) in enumerate(zip(sequence.answer, sequence.edges, strict=True)):
        if edge >= 0 and random.random() < 0.3:
            shifted = edge + random.choice((-1, 1)) * LATTICE_STEP / LOCATION_SCALE
            tokens[position] = ids.first_location + lattice_location(min(max(shifted, 0.0), 1.0))
        elif ids.first_code <= token < ids.first_code + len(CODE_TOKENS) and random.random() < 0.06:
            tokens[position] = ids.first_code + int(random.integers(len(CODE_TOKENS)))
    return tokens
