"""Text of Python's standard library, as tokens."""

from __future__ import annotations

import re
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import torch
from torch import Tensor

MODULES = ("argparse", "decimal", "email/message", "tarfile")
"""Which of these a line of code is from is what the encoder learns; `_pydecimal` for decimal."""

WORDS = 512
"""Words are numbered by a hash; 0 is padding."""
LENGTH = 24
LINES = 400

CHARACTERS = 96
"""Printable ASCII; the last one stands for all others, line breaks among them."""
WINDOW = 32
WINDOWS = 900
MANY_WINDOWS = 500

_FILES = {"decimal": "_pydecimal"}


def _source(module: str) -> str:
    path = Path(sysconfig.get_paths()["stdlib"]) / f"{_FILES.get(module, module)}.py"
    return path.read_text(encoding="utf-8")


@cache
def sentences() -> torch.utils.data.Dataset[Any]:
    """Batches of token numbers with a padding mask, and the module that each line is from."""
    tokens, masks, labels = [], [], []
    for label, module in enumerate(MODULES):
        lines = [re.findall(r"\w+", line) for line in _source(module).splitlines()]
        long = [words for words in lines if len(words) >= 3][:LINES]
        for words in long:
            numbers = [1 + crc32(word.encode()) % (WORDS - 1) for word in words[:LENGTH]]
            padding = [0] * (LENGTH - len(numbers))
            tokens.append(numbers + padding)
            masks.append([1] * len(numbers) + padding)
            labels.append(label)
    return Sentences(torch.tensor(tokens), torch.tensor(masks), torch.tensor(labels))


class Sentences(torch.utils.data.Dataset[Any]):
    """Lines as transformers take them: a dict of token numbers, mask and label."""

    def __init__(self, tokens: Tensor, masks: Tensor, labels: Tensor) -> None:
        self.tokens, self.masks, self.labels = tokens, masks, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return {
            "input_ids": self.tokens[row],
            "attention_mask": self.masks[row],
            "labels": self.labels[row],
        }


@cache
def text() -> tuple[Tensor, Tensor]:
    """Windows of characters, and the same again: what follows is what is to be foretold."""
    return _windows("argparse", WINDOWS)


@cache
def much_text() -> tuple[Tensor, Tensor]:
    """Windows of several modules, as many of each."""
    found = [_windows(module, MANY_WINDOWS)[0] for module in MODULES]
    tokens = torch.cat(found)
    return tokens, tokens.clone()


def _windows(module: str, count: int) -> tuple[Tensor, Tensor]:
    content = _source(module)[: WINDOW * count]
    numbers = [ord(c) - 32 if 32 <= ord(c) < 127 else CHARACTERS - 1 for c in content]
    tokens = torch.tensor(numbers[: len(numbers) // WINDOW * WINDOW]).view(-1, WINDOW)
    return tokens, tokens.clone()
