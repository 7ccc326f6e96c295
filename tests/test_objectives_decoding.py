"""Language models token after token: the same scores, the same weights, honest rates."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import autoopt
from autoopt.build.decoding import decoding, refuse_decoder
from autoopt.errors import ArtifactError, RefusedError
from autoopt.handle.request import search_axes
from autoopt.interfaces import Parallel, Probe, Quantization
from autoopt.measurement import Stat
from autoopt.objectives import load_objective
from autoopt.objectives.timing import Paired
from autoopt.runtimes import load_runtime
from autoopt.runtimes.artifact import read_manifest
from autoopt.runtimes.decoding import FILE, open_decoder
from autoopt.runtimes.opening import open_artifact
from autoopt.task import Task, make_task
from autoopt.task.loss import CrossEntropy
from tests.hf_models import LENGTH, WORDS, hf_task, hits
from tests.runtime_builds import distance, tiny_task

REQUESTS = {
    "float32": Quantization(),
    "bfloat16": Quantization("bfloat16", 16),
    "weights8": Quantization("weight_only", 8),
}
CLOSE = {"float32": 1e-5, "bfloat16": 0.05, "weights8": 1e-5}


@cache
def artifact(kind: str, precision: str, runtime: str = "eager") -> Path:
    """An artefact of a small transformer with its graphs for one token after the other."""
    task, folder = hf_task(kind), Path(mkdtemp(prefix="autoopt-test-"))
    request = REQUESTS[precision]
    load_runtime(runtime).build(task.model, request, task, folder)
    decoding(task.model, request, task, folder)
    return folder


def texts(kind: str) -> np.ndarray:
    return hf_task(kind).example[0].numpy()


CASES = [
    ("gpt2", "float32"),
    ("llama", "weights8"),
    pytest.param("gpt2", "bfloat16", marks=pytest.mark.slow),
    pytest.param("gpt2", "weights8", marks=pytest.mark.slow),
    pytest.param("llama", "float32", marks=pytest.mark.slow),
    pytest.param("llama", "bfloat16", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("kind", "precision"), CASES)
def test_scores_token_by_token_are_those_of_the_artefact_for_the_whole(kind: str, precision: str):
    folder, tokens = artifact(kind, precision), texts(kind)
    deployment = open_artifact(folder, Parallel(1))
    whole = np.asarray(deployment(tokens))
    deployment.close()
    decoder = open_decoder(folder, threads=1)
    # Another number of texts and of tokens than was traced with; one token is a text, too.
    for count, start in ((len(tokens), 5), (1, 1), (2, LENGTH - 1)):
        scores, past = decoder.prompt(tokens[:count, :start])
        found = [scores]
        for place in range(start, LENGTH):
            scores, past = decoder.step(tokens[:count, place : place + 1], past)
            found.append(scores)
        assert distance(np.concatenate(found, 1), whole[:count]) < CLOSE[precision]


def test_a_step_leaves_what_was_kept_as_it_was():
    decoder, tokens = open_decoder(artifact("gpt2", "float32"), threads=1), texts("gpt2")
    _, past = decoder.prompt(tokens[:, :4])
    kept = [tensor.clone() for tensor in past]
    first, _ = decoder.step(tokens[:, 4:5], past)
    again, _ = decoder.step(tokens[:, 4:5], past)
    np.testing.assert_array_equal(first, again)
    assert all(torch.equal(a, b) for a, b in zip(past, kept, strict=True))


@pytest.mark.parametrize(("kind", "precision"), CASES)
def test_weights_are_stored_once(kind: str, precision: str):
    folder = artifact(kind, precision)
    manifest = read_manifest(folder)
    assert FILE in manifest.files
    with zipfile.ZipFile(folder / FILE) as archive:
        held = [i.file_size for i in archive.infolist() if "/data/weights/weight_" in i.filename]
    weights = sum(p.numel() for p in hf_task(kind).model.parameters())
    assert sum(held) < weights / 4


def test_changed_weights_of_the_artefact_change_what_is_decoded(tmp_path: Path):
    """The graphs have no weights of their own: those of the artefact count."""
    task = hf_task("gpt2")
    load_runtime("eager").build(task.model, Quantization(), task, tmp_path)
    decoding(task.model, Quantization(), task, tmp_path)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-200])
    with pytest.raises(ArtifactError, match="damaged"):
        open_decoder(tmp_path, threads=1)


@pytest.mark.slow
def test_compiled_serves_the_cache_too():
    decoder, tokens = (
        open_decoder(artifact("gpt2", "float32", "compiled"), threads=1),
        texts("gpt2"),
    )
    plain = open_decoder(artifact("gpt2", "float32"), threads=1)
    found, past = decoder.prompt(tokens[:, :5])
    wanted, other = plain.prompt(tokens[:, :5])
    assert distance(found, wanted) < 1e-4
    found, _ = decoder.step(tokens[:, 5:6], past)
    wanted, _ = plain.step(tokens[:, 5:6], other)
    assert distance(found, wanted) < 1e-4


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_other_runtimes_serve_no_cache_and_name_another_way(runtime: str):
    assert f"{runtime} serves no cache" in str(refuse_decoder(runtime))
    assert "use eager or compiled" in str(refuse_decoder(runtime))
    assert refuse_decoder("eager") is None


def test_an_artefact_without_the_graphs_says_how_to_get_them(tmp_path: Path):
    task = hf_task("gpt2")
    load_runtime("eager").build(task.model, Quantization(), task, tmp_path)
    with pytest.raises(RefusedError, match="search for `decode_tokens`"):
        open_decoder(tmp_path, threads=1)


class Louder(nn.Module):
    """Does something with the scores that the language model inside knows nothing of."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> Any:
        return 2 * self.inner(x)


def test_what_stands_around_the_language_model_is_noticed(tmp_path: Path):
    words = np.random.default_rng(0).integers(0, WORDS, (60, LENGTH))
    model = Louder(hf_task("gpt2").model)
    options: dict[str, Any] = {"loss": CrossEntropy(-1), "metric": hits, "threads": 1}
    task = make_task(model, (words, words), request_size=4, **options)
    load_runtime("eager").build(task.model, Quantization(), task, tmp_path)
    with pytest.raises(RefusedError, match="does more than its cache tells"):
        decoding(task.model, Quantization(), task, tmp_path)


@pytest.mark.parametrize("name", ["prompt_tokens", "decode_tokens", "first_token"])
def test_a_model_that_is_no_language_model_is_refused_before_anything_is_begun(name: str):
    with pytest.raises(RefusedError, match=r"keeps keys and values.*but this model holds none"):
        search_axes(tiny_task("mlp"), [name])
    axes, _ = search_axes(hf_task("gpt2"), [name])
    assert axes[1].name == name


# ------------------------------------------------------------------ figures


class Counting:
    """A decoder whose calls take fixed times, on a clock of its own."""

    def __init__(self) -> None:
        self.spent = 0.0
        self.read: list[tuple[int, ...]] = []

    def tokens(self, request: Sequence[Any]) -> Any:
        return request[0]

    def prompt(self, tokens: Any) -> tuple[Any, Any]:
        self.spent += 4.0
        return np.eye(9)[tokens], 0

    def step(self, tokens: Any, past: int) -> tuple[Any, Any]:
        self.spent += 2.0
        self.read.append((past, *tokens[:, 0].tolist()))
        return np.eye(9)[(tokens + 1) % 9], past + 1


class Answering:
    """A deployment that does nothing."""

    def __call__(self, *inputs: Any) -> Any:
        return inputs[0]

    def close(self) -> None: ...


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """A decoder, by whose clock calls are timed; the original takes 3 ms."""
    decoder = Counting()

    def pairs(candidate: Any, reference: Any, *, seconds: float) -> Paired:
        before = decoder.spent
        candidate()
        return Paired([[decoder.spent - before]] * 4, [[3.0]] * 5)

    monkeypatch.setattr("autoopt.objectives.decoding.time_pairs", pairs)
    return decoder


def measured(name: str, decoder: Counting | None) -> Any:
    probe = Probe(
        deployment=Answering(),
        reference=Answering(),
        request=(np.tile(np.arange(6), (2, 1)),),
        parallel=Parallel(1),
        size_bytes=1,
        open=lambda other: Answering(),
        memory=lambda: Stat.exact(1.0, "MB"),
        score=lambda part: Stat.exact(0.9),
        decoder=None if decoder is None else lambda: decoder,
    )
    return load_objective(name).measure(probe)


def test_rates_are_tokens_over_seconds(counting: Counting):
    prompt, decode = measured("prompt_tokens", counting), measured("decode_tokens", counting)
    first = measured("first_token", counting)
    # Two texts of six tokens in 4 ms; two tokens in each of three steps of 2 ms.
    assert prompt.stat.value == pytest.approx(12 / 4e-3)
    assert decode.stat.value == pytest.approx(6 / 6e-3)
    assert first.stat.value == pytest.approx(4.0)
    assert (prompt.stat.unit, decode.stat.unit, first.stat.unit) == ("1/s", "1/s", "ms")
    assert (decode.protocol["prompt"], decode.protocol["steps"]) == (3, 3)


def test_what_was_written_is_read_next_with_all_that_was_kept(counting: Counting):
    measured("decode_tokens", counting)
    # The text so far ends in 2, which the fake finds likeliest; each next token is one more.
    assert counting.read == [(0, 2, 2), (1, 3, 3), (2, 4, 4)]


@pytest.mark.parametrize("name", ["prompt_tokens", "decode_tokens", "first_token"])
def test_without_a_decoder_it_is_refused(name: str):
    with pytest.raises(RefusedError, match="one token after the other"):
        measured(name, None)


@pytest.mark.slow
def test_a_search_measures_tokens_per_second_and_refuses_the_other_runtimes(tmp_path: Path):
    from tests.architectures import untrained_task

    task: Task = untrained_task("gpt2")
    data = tuple(getattr(task, part).inputs()[0].numpy()[:200] for part in ("train",))
    from tests.small_searches import narrow

    search = autoopt.search(
        task.model,
        (data[0], data[0]),
        space=narrow(),
        budget="4 trials",
        objectives=["decode_tokens", "prompt_tokens", "first_token"],
        threads=1,
        folder=tmp_path / "search",
        cache=tmp_path / "cache",
        block=True,
    )
    assert search.trials["runtime"].iloc[0] == "eager"
    ok = search.trials[search.trials["failure"].isna()]
    assert set(ok["runtime"]) == {"eager"}
    assert len(ok) >= 2
    assert (ok["decode_tokens_per_s"] > 0).all()
    assert (ok["prompt_tokens_per_s"] > ok["decode_tokens_per_s"]).all()
    assert (ok["first_token_ms"] > 0).all()
    assert any("serves no cache of keys and values" in note for note in search.notes)
