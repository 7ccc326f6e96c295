"""The contract of runtimes, run over their table: a new runtime is tested by its line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoopt.errors import DivergedError, RefusedError, UnknownNameError
from autoopt.interfaces import Parallel, Quantization
from autoopt.runtimes import RUNTIMES, load_runtime
from autoopt.runtimes.agreement import compare
from autoopt.runtimes.artifact import artifact_size, read_manifest
from autoopt.targets import load_target
from tests.runtime_builds import (
    ON_CPU,
    REQUESTS,
    TOLERANCE,
    assert_same,
    built,
    distance,
    expected,
    refusal,
    samples,
    tiny_task,
)

# What only the weights or only the ranges tell apart is tried on one network; see
# test_runtimes_stored.py for what is in the files.
EVERYWHERE = ("float32", "bfloat16", "static", "static_kept", "weights8", "weights4")
# Compiling takes long, so what only needs a running artefact leaves it to the slow tests.
QUICK = [name for name in ON_CPU if name not in ("compiled", "aotinductor")]
CASES = [
    (network, runtime, precision)
    for network in ("cnn", "mlp")
    for runtime in QUICK
    for precision in REQUESTS
    if network == "cnn" or precision in EVERYWHERE
]

LOAD = """
import json, sys
import numpy as np
from pathlib import Path
from autoopt.interfaces import Parallel
from autoopt.runtimes import load_runtime
runtime, folder, inputs, outputs = sys.argv[1:]
deployment = load_runtime(runtime).load(Path(folder), Parallel(2))
np.save(outputs, deployment(np.load(inputs)))
deployment.close()
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize(("network", "runtime", "precision"), CASES)
def test_what_is_not_refused_is_built_and_agrees_with_the_network(network, runtime, precision):
    reason = refusal(network, runtime, precision)
    if reason is not None:
        assert reason.endswith(".")
        assert len(reason.split()) > 5
        return
    folder = built(network, runtime, precision)
    deployment = load_runtime(runtime).load(folder, Parallel(2))
    found = deployment(samples(network))
    deployment.close()
    assert found.dtype == np.float32
    assert distance(found, expected(network)) < TOLERANCE[precision]


@pytest.mark.parametrize("precision", EVERYWHERE)
def test_compiled_writes_the_same_program_as_eager(precision):
    if (reason := refusal("mlp", "compiled", precision)) is not None:
        assert reason == refusal("mlp", "eager", precision)
        return
    compiled, eager = (built("mlp", name, precision) for name in ("compiled", "eager"))
    assert artifact_size(compiled) == artifact_size(eager)
    assert read_manifest(compiled).runtime == "compiled"


@pytest.mark.slow
def test_compiled_answers_like_the_network_in_one_and_in_two_replicas():
    folder = built("cnn", "compiled")
    for parallel in (Parallel(2), Parallel(2, replicas=2, batch=3)):
        deployment = load_runtime("compiled").load(folder, parallel)
        assert_same(deployment(samples("cnn")), expected("cnn"))
        # Another size than what was compiled for runs too.
        assert_same(deployment(samples("cnn", 5)), expected("cnn", 5))
        deployment.close()


@pytest.mark.parametrize("runtime", QUICK)
def test_a_new_process_gives_the_same_outputs(runtime, tmp_path):
    modules = _load_elsewhere(runtime, tmp_path)
    found = np.load(tmp_path / "outputs.npy")
    assert_same(found, expected("cnn"))
    assert "autoopt.runtimes" in modules


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_loading_needs_neither_torch_nor_what_built_the_artefact(runtime, tmp_path):
    modules = _load_elsewhere(runtime, tmp_path)
    assert not modules & {"torch", "onnx", "nncf", "optuna", "pandas", "yaml"}


def _load_elsewhere(runtime: str, folder: Path) -> set[str]:
    np.save(folder / "inputs.npy", samples("cnn"))
    arguments = [runtime, built("cnn", runtime), folder / "inputs.npy", folder / "outputs.npy"]
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_openvino_and_nncf_find_no_telemetry_to_send_with():
    code = (
        "import sys; from autoopt.runtimes.quiet import decline_telemetry; decline_telemetry()\n"
        "import openvino, nncf\n"
        "from openvino.tools.ovc import telemetry_utils\n"
        "assert telemetry_utils.tm.__name__.endswith('telemetry_stub')\n"
        "assert sys.modules['openvino_telemetry'] is None"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_replicas_of_openvino_do_not_wait_for_each_other():
    deployment = load_runtime("openvino").load(built("cnn", "openvino"), Parallel(2, 2, 1))
    for count in range(2, 60):
        assert len(deployment(samples("cnn", 2 + count % 7))) == min(2 + count % 7, 16)
    deployment.close()


def test_importing_a_runtime_imports_no_library():
    names = ", ".join(f"autoopt.runtimes.{entry.partition(':')[0]}" for entry in RUNTIMES.values())
    code = f"import sys, {names}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"torch", "onnx", "onnxruntime", "openvino", "nncf"}


@pytest.mark.parametrize("runtime", QUICK)
@pytest.mark.parametrize(("replicas", "batch"), [(1, 3), (2, 0), (2, 3), (3, 1), (2, 100)])
def test_splitting_and_spreading_changes_no_output(runtime, replicas, batch):
    deployment = load_runtime(runtime).load(built("cnn", runtime), Parallel(2, replicas, batch))
    for count in (1, 7, 8, 13):
        assert_same(deployment(samples("cnn", count)), expected("cnn", count))
    deployment.close()


@pytest.mark.parametrize("runtime", QUICK)
def test_a_network_of_one_fixed_size_answers_any_number_of_samples(runtime):
    folder = built("fixed", runtime)
    assert read_manifest(folder).options["batch"] == 8
    deployment = load_runtime(runtime).load(folder, Parallel(2, replicas=2))
    found = deployment(samples("fixed", 11))
    assert_same(found, expected("fixed", 11))
    deployment.close()


def test_a_replica_of_onnxruntime_has_its_share_of_the_threads():
    deployment: Any = load_runtime("onnxruntime").load(built("mlp", "onnxruntime"), Parallel(4, 2))
    sessions = [replica.args[0] for replica in deployment._replicas]
    assert [s.get_session_options().intra_op_num_threads for s in sessions] == [2, 2]
    deployment.close()


def test_openvino_gets_threads_streams_and_the_precision_asked_for():
    deployment: Any = load_runtime("openvino").load(built("mlp", "openvino"), Parallel(2, 2))
    model = deployment._replicas[0].args[-1].get_compiled_model()
    assert model.get_property("INFERENCE_NUM_THREADS") == 2
    assert model.get_property("NUM_STREAMS") == 2
    assert model.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
    deployment.close()


def test_eager_computes_with_its_share_of_the_threads_whatever_the_process_had():
    deployment = load_runtime("eager").load(built("mlp", "eager"), Parallel(2))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    deployment(samples("mlp"))
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    deployment.close()


@pytest.mark.parametrize("runtime", QUICK)
@pytest.mark.parametrize("network", ["cnn", "mlp"])
def test_stored_weights_make_the_files_smaller(network, runtime):
    sizes = {
        precision: artifact_size(built(network, runtime, precision))
        for precision in ("float32", "weights8", "weights4")
        if refusal(network, runtime, precision) is None
    }
    model = read_manifest(built(network, runtime)).files
    found = sum((built(network, runtime) / name).stat().st_size for name in model)
    assert sizes["float32"] == found
    if network == "mlp" and runtime != "openvino":
        weights = 64 * 32 + 32 * 4
        assert sizes["float32"] - sizes["weights8"] > 2 * weights
        assert sizes["weights4"] < sizes["weights8"]


@pytest.mark.parametrize("runtime", QUICK)
def test_realised_tells_of_layers_storage_and_agreement(runtime):
    realised = read_manifest(built("cnn", runtime, "weights8")).realised
    assert realised["storage_only"] is True
    assert realised["layers_quantized"] == 3
    assert 0 < realised["agreement"]["relative_error"] < 0.03
    plain = read_manifest(built("cnn", runtime)).realised
    assert plain["storage_only"] is False
    assert plain["precision"] == "float32"


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_first_and_last_layers_stay_in_float_when_asked(runtime):
    realised = read_manifest(built("cnn", runtime, "static_kept")).realised
    assert realised["layers_quantized"] == 1
    assert read_manifest(built("cnn", runtime, "static")).realised["layers_quantized"] == 3


def test_building_leaves_the_network_as_it_was():
    task = tiny_task("cnn")
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    for runtime in QUICK:
        built("cnn", runtime, "weights8")
    after = task.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("request_", [Quantization("nonsense", 8), Quantization("weight_only", 3)])
def test_an_unknown_precision_is_refused_with_what_was_asked(runtime, request_):
    reason = load_runtime(runtime).refuse(request_, tiny_task("mlp"), load_target("cpu"))
    assert reason is not None
    assert "'nonsense'" in reason or "bits=3" in reason


def test_an_unknown_runtime_lists_the_known_ones():
    with pytest.raises(
        UnknownNameError, match="unknown runtime 'tpu'; known: aotinductor, compiled, cudagraphs"
    ):
        load_runtime("tpu")


def test_outputs_that_are_not_finite_have_diverged():
    good = np.ones((4, 2), np.float32)
    with pytest.raises(DivergedError, match="not finite"):
        compare(good, good * np.nan, bound=None, axis=1)


def test_gross_disagreement_is_refused_with_the_figures():
    wanted = np.eye(4, dtype=np.float32)
    with pytest.raises(RefusedError, match=r"relative_error=.*same_class=0"):
        compare(wanted, np.roll(wanted, 1, axis=1), bound=None, axis=1)
    with pytest.raises(RefusedError, match=r"relative_error=0\.05"):
        compare(wanted, wanted * np.float32(1.05), bound=1e-2, axis=1)


def test_rounding_within_reason_agrees():
    wanted = np.eye(4, dtype=np.float32)
    found = compare(wanted, wanted * np.float32(1.05), bound=None, axis=1)
    assert found["same_class"] == 1
    assert found["relative_error"] == pytest.approx(0.05, rel=1e-3)
