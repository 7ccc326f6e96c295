"""A language model token after token: two graphs beside the artefact's, with the same weights.

``prompt`` takes tokens and gives scores, keys and values of every layer; ``step`` takes one more
token with these and gives the next scores and the longer keys and values. Both are traced from the
network in the artefact's precision; their file holds graphs alone and takes the weights from the
artefact's own, so that what is measured is what is served and nothing is stored twice.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from autoopt.errors import ArtifactError, RefusedError
from autoopt.runtimes.artifact import Manifest, needs_model, read_manifest, write_manifest
from autoopt.runtimes.compressed import model_file
from autoopt.runtimes.manifest_rules import PACKED
from autoopt.runtimes.program import TRACING_FAILS, save_program
from autoopt.runtimes.pt2 import WEIGHTS, load_program
from autoopt.task.causal import language_model, refuse_decoding, token_input

if TYPE_CHECKING:
    from autoopt.interfaces import Array
    from autoopt.task import Task

FILE = "decoder.zip"
SHARED = "shared.json"
PARTS = ("prompt", "step")
RUNTIMES = ("eager", "compiled")
"""Runtimes that serve a cache: those that run programs of torch."""

ELSEWHERE = (
    "{} serves no cache of keys and values here, so every token would read the whole text again; "
    "for tokens per second use eager or compiled, or ask for latency and throughput."
)
ROUNDING: Mapping[str, float] = {"bfloat16": 0.1, "float16": 0.02}
"""How far answers token by token may be from those in one go, where not by a thousandth."""

_AUTO = torch.export.Dim.AUTO


class _Prompt(nn.Module):
    """Reads texts; gives scores, then keys and values of each layer in turn."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return float32 scores for every token, and the cache."""
        found = self.model(input_ids=tokens, use_cache=True)
        return (found.logits.float(), *_flat(found.past_key_values))


class _Step(nn.Module):
    """Reads one more token of each text."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor, *past: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return float32 scores for the token, and the longer cache."""
        from transformers import DynamicCache

        cache = DynamicCache()
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        found = self.model(input_ids=tokens, past_key_values=cache, use_cache=True)
        return (found.logits.float(), *_flat(found.past_key_values))


def _flat(cache: Any) -> Iterator[torch.Tensor]:
    for layer in cache.layers:
        yield layer.keys
        yield layer.values


def add_decoder(module: nn.Module, task: Task, folder: Path) -> None:
    """Trace a language model with its cache and put the graphs beside an artefact's.

    Parameters
    ----------
    module
        What the artefact was traced from, in its precision.
    task
        Gives texts to trace with and to compare on.
    folder
        An artefact of eager or compiled; its manifest is written anew.

    Raises
    ------
    RefusedError
        If there is no such model in it, its cache cannot be traced, or answers token by token are
        not those of the whole text.
    """
    manifest = read_manifest(folder)
    if manifest.runtime not in RUNTIMES:
        raise RefusedError(ELSEWHERE.format(manifest.runtime))
    reason = refuse_decoding(task)
    if reason or needs_model(manifest):
        raise RefusedError(reason or str(manifest.realised["needs_model"]))
    place = token_input(task)
    model = language_model(module)
    assert place is not None, "refused above"
    assert model is not None, "refused above: no technique replaces the model as a whole"
    tokens = task.example[place]
    try:
        programs = _traced(model.eval(), tokens)
    except TRACING_FAILS as error:
        said = " ".join(str(error).split())[:300]
        raise RefusedError(
            f"the cache of {type(model).__name__} cannot be traced ({type(error).__name__}: {said})"
        ) from error
    _write(programs, folder, manifest, place)
    with torch.no_grad():
        whole = module(*task.example)
    precision = str(manifest.realised["precision"])
    _check(open_decoder(folder, threads=task.threads), tokens.numpy(), whole.numpy(), precision)


def _traced(model: nn.Module, tokens: torch.Tensor) -> dict[str, Any]:
    """Return the two programs, for any number of texts and tokens."""
    # Neither 1 nor two sizes that are the same: a tracer would take them for constants.
    texts = torch.cat([tokens, tokens])[:2] if len(tokens) < 2 else tokens
    first = max(2, min(texts.shape[1] - 1, len(texts) + 3))
    with torch.no_grad():
        start = _Prompt(model)
        _, *past = start(texts[:, :first])
        axes = {0: _AUTO, 2: _AUTO}
        # Copies: an exported program shares memory with what it is given.
        past = [tensor.clone() for tensor in past]
        return {
            "prompt": torch.export.export(
                start, (texts[:, :first].clone(),), dynamic_shapes=({0: _AUTO, 1: _AUTO},)
            ),
            "step": torch.export.export(
                _Step(model),
                (texts[:, :1].clone(), *past),
                dynamic_shapes=({0: _AUTO}, tuple(axes for _ in past)),
            ),
        }


def _write(programs: Mapping[str, Any], folder: Path, manifest: Manifest, place: int) -> None:
    """Write the graphs without the weights that the artefact holds already."""
    packed = manifest.model.endswith(PACKED)
    name = f"{FILE}{PACKED}" if packed else FILE
    options = dict(manifest.options)
    with TemporaryDirectory(prefix="autoopt-") as scratch, model_file(folder, manifest) as model:
        with zipfile.ZipFile(model) as archive:
            held = {_digest(archive.read(item)): item for item in _weights(archive)}
        path = Path(scratch) / FILE
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as together:
            for part, program in programs.items():
                alone = Path(scratch) / f"{part}.pt2"
                save_program(program, alone)
                _copy_graph(alone, together, part, held)
        content = path.read_bytes()
    if packed:
        options["unpacked"] = {**options["unpacked"], FILE: len(content)}
        content = gzip.compress(content, mtime=0)
    (folder / name).write_bytes(content)
    realised = {**manifest.realised, "decoder": {"input": place}}
    manifest = replace(manifest, options=options, realised=realised)
    write_manifest(folder, manifest, [*manifest.files, name])


def _copy_graph(
    source: Path, together: zipfile.ZipFile, part: str, held: Mapping[str, str]
) -> None:
    """Copy a program's members under its name; of weights that are held elsewhere their place."""
    shared: dict[str, str] = {}
    with zipfile.ZipFile(source) as archive:
        weights = set(_weights(archive))
        for item in archive.namelist():
            content, name = archive.read(item), item.partition("/")[2]
            if item in weights and (found := held.get(_digest(content))) is not None:
                shared[name] = found
            else:
                together.writestr(f"{part}/{name}", content)
    together.writestr(f"{part}/{SHARED}", json.dumps(shared))


def _weights(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if f"{WEIGHTS}weight_" in name]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Decoder:
    """A language model that runs token after token.

    Attributes
    ----------
    parts
        Callables of tensors by their names in `PARTS`.
    place
        Of the tokens among the inputs of a request.
    threads
        That it computes with.
    """

    parts: Mapping[str, Any]
    place: int
    threads: int

    def tokens(self, request: Sequence[Array]) -> Array:
        """Return the tokens of a request, of shape (texts, tokens)."""
        return request[self.place]

    def prompt(self, tokens: Array) -> tuple[Array, tuple[torch.Tensor, ...]]:
        """Read texts; return the scores for every token, and the keys and values."""
        return self._call("prompt", torch.from_numpy(tokens))

    def step(
        self, tokens: Array, past: tuple[torch.Tensor, ...]
    ) -> tuple[Array, tuple[torch.Tensor, ...]]:
        """Read one more token of each text, of shape (texts, 1); `past` stays as it was."""
        return self._call("step", torch.from_numpy(tokens), *past)

    def _call(self, part: str, *inputs: torch.Tensor) -> tuple[Array, tuple[torch.Tensor, ...]]:
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        with torch.inference_mode():
            scores, *past = self.parts[part](*inputs)
        found: Array = scores.numpy()
        return found, tuple(past)


def open_decoder(folder: Path, *, threads: int) -> Decoder:
    """Start the graphs that `add_decoder` has put beside an artefact.

    Raises
    ------
    RefusedError
        If there are none.
    ArtifactError
        If they are damaged.
    """
    manifest = read_manifest(folder)
    found = manifest.realised.get("decoder")
    if manifest.runtime not in RUNTIMES:
        raise RefusedError(ELSEWHERE.format(manifest.runtime))
    if not isinstance(found, dict):
        raise RefusedError(
            "this artefact was built without a graph for one token after the other; search for "
            "`decode_tokens`, `prompt_tokens` or `first_token` to have it."
        )
    with TemporaryDirectory(prefix="autoopt-") as scratch, model_file(folder, manifest) as model:
        parts: dict[str, Any] = {}
        for part in PARTS:
            path = Path(scratch) / f"{part}.pt2"
            _put_together(model.with_name(FILE), model, part, path)
            program = load_program(path)
            compiled = manifest.runtime == "compiled"
            parts[part] = torch.compile(program, dynamic=True) if compiled else program
    return Decoder(parts, int(found["input"]), threads)


def _put_together(graphs: Path, model: Path, part: str, path: Path) -> None:
    """Write a whole archive of a graph and the weights it shares; loading it is what checks it."""
    try:
        with zipfile.ZipFile(graphs) as source, zipfile.ZipFile(model) as held:
            shared = json.loads(source.read(f"{part}/{SHARED}"))
            with zipfile.ZipFile(path, "w") as target:
                for item in source.namelist():
                    if item.startswith(f"{part}/") and not item.endswith(f"/{SHARED}"):
                        target.writestr(f"model/{item.removeprefix(f'{part}/')}", source.read(item))
                for name, place in shared.items():
                    target.writestr(f"model/{name}", held.read(place))
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, AttributeError) as error:
        raise ArtifactError(f"{graphs.name!r} is damaged ({error}); build it again.") from error


def _check(decoder: Decoder, tokens: Array, whole: Any, precision: str) -> None:
    """Raise unless scores token by token are those of the whole text."""
    half = max(1, tokens.shape[1] // 2)
    scores, past = decoder.prompt(tokens[:, :half])
    found = [scores]
    for place in range(half, tokens.shape[1]):
        scores, past = decoder.step(tokens[:, place : place + 1], past)
        found.append(scores)
    answers: Any = np.concatenate(found, axis=1)
    if answers.shape != whole.shape:
        raise RefusedError(
            f"the language model gives scores of shape {answers.shape}, but the model around it "
            f"{whole.shape}: what is around it is unknown to the cache; ask for latency instead."
        )
    error = float(np.linalg.norm(answers - whole)) / (float(np.linalg.norm(whole)) or 1.0)
    bound = ROUNDING.get(precision, 1e-3)
    if not error <= bound:
        raise RefusedError(
            f"scores token by token differ from those of the whole text by {error:.2g}, more than "
            f"{bound:g}: the model does more than its cache tells; ask for latency instead."
        )
