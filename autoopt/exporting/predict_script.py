"""`predict.py`: the ten lines that run an export with numpy and its runtime alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from autoopt.devices import CPU
from autoopt.interfaces import Parallel
from autoopt.runtimes import package_of
from autoopt.runtimes.artifact import Manifest
from autoopt.runtimes.manifest_rules import PACKED, plain_name
from autoopt.runtimes.onnx_files import graph_input
from autoopt.runtimes.openvino_request import serving_config

SAFE_LOADER = "safe_pt2.py"

HEAD = '''"""Answers with {library} and numpy alone: python predict.py {files} [outputs.npy]"""

import sys
from pathlib import Path

import numpy as np
'''

# Zeros are stored compressed; runtimes open plain files.
UNPACKING = """import gzip
import tempfile

scratch = tempfile.TemporaryDirectory()
for name in {files!r}:
    content = gzip.decompress(Path(__file__).with_name(name).read_bytes())
    Path(scratch.name, name.removesuffix({packed!r})).write_bytes(content)

"""

ONNXRUNTIME = """import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = {threads}
{inter_op}{unpack}session = onnxruntime.InferenceSession({model}, options)
"""
# Operators of several branches at the same time.
INTER_OP = """options.inter_op_num_threads = {count}
options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
"""
# Lets the session unpack stored weights once, when it starts.
UNPACK = 'options.add_session_config_entry("session.disable_quant_qdq", "1")\n'

OPENVINO = """
sys.modules["openvino_telemetry"] = None  # OpenVINO then sends none
import openvino

config = {config}
model = openvino.Core().compile_model({model}, "CPU", config)
"""

TORCH = """import torch
from safe_pt2 import load_program

torch.set_num_threads({threads})
program = load_program({model})
module = torch.inference_mode()({program})
"""

ON_DEVICE = """import torch
from safe_pt2 import load_program

program = load_program({model}, device="cuda")
program = {program}


@torch.inference_mode()
def module(*tensors):
    return program(*(tensor.to("cuda") for tensor in tensors)).cpu()


"""

# Native code: running it is what this script is for.
NATIVE = """import torch
from torch._inductor.package import load_package

torch.set_num_threads({threads})
package = load_package(str({model}), num_runners={replicas})
module = torch.inference_mode()(package)
"""

# Chunks of one size; the last is filled up by repeating its last sample.
SPLIT = """
inputs = [{inputs}]
count = len(inputs[0])
size = {size}
full = [np.concatenate([a, a[-1:].repeat(-count % size, 0)]) for a in inputs]
chunks = [[a[i : i + size] for a in full] for i in range(0, count, size)]
"""

THREADS = """

def run(arrays):
    return {call}


with ThreadPoolExecutor({replicas}) as pool:
    outputs = np.concatenate(list(pool.map(run, chunks)))[:count]
"""

# One thread starts all requests: OpenVINO's bindings do not like to be entered by several.
ASYNC = """
requests = [model.create_infer_request() for _ in range({replicas})]
answers = []
for start in range(0, len(chunks), len(requests)):
    running = list(zip(requests, chunks[start:]))
    for request, chunk in running:
        request.start_async(chunk, share_inputs=False)
    for request, _ in running:
        request.wait()
        answers.append(request.get_output_tensor(0).data.copy())
outputs = np.concatenate(answers)[:count]
"""

SAVE = "np.save(sys.argv[{last}], outputs) if len(sys.argv) > {last} else print(outputs)\n"

PARTS = {
    "onnxruntime": ONNXRUNTIME,
    "openvino": OPENVINO,
    "eager": TORCH,
    "compiled": TORCH,
    "cudagraphs": TORCH,
    "aotinductor": NATIVE,
}


def predict_script(manifest: Manifest, parallel: Parallel) -> str:
    """Return the text of `predict.py` for an artefact and a way to spread its requests.

    It answers one request and ends, so replica processes become threads, nothing is gathered and
    the network is not divided.
    A whole request in one replica takes ten lines; splitting it takes a few more.
    """
    parallel = replace(parallel, stages=1, shards=1, pinned=False)
    runtime, count = manifest.runtime, len(manifest.inputs)
    fixed = manifest.options["batch"]
    # Names of inputs come from a person's network and stay out of the script's prose.
    files = ["inputs.npy"] if count == 1 else [f"input_{i + 1}.npy" for i in range(count)]
    # NumPy makes float64 unless told otherwise.
    given = [
        f"np.load(sys.argv[{i + 1}]).astype({port.dtype!r})"
        for i, port in enumerate(manifest.inputs)
    ]
    head = HEAD.format(library=package_of(runtime), files=" ".join(files))
    body = _unpacking(manifest) + _setup(manifest, parallel)
    last = SAVE.format(last=count + 1)
    if fixed is None and parallel.replicas == 1 and not parallel.batch:
        return f"{head}{body}outputs = {_call(manifest, given)}\n{last}"
    size = fixed or parallel.batch or f"-(-count // {parallel.replicas})"
    split = SPLIT.format(inputs=", ".join(given), size=size)
    if runtime == "openvino":
        return head + body + split + ASYNC.format(replicas=parallel.replicas) + last
    head = head.replace(
        "import sys\n", "import sys\nfrom concurrent.futures import ThreadPoolExecutor\n"
    )
    call = _call(manifest, [f"arrays[{i}]" for i in range(count)])
    return head + body + split + THREADS.format(call=call, replicas=parallel.replicas) + last


def _setup(manifest: Manifest, parallel: Parallel) -> str:
    """Return the lines that import the runtime and open the model."""
    placed = manifest.options.get("device", CPU) != CPU
    return (ON_DEVICE if placed else PARTS[manifest.runtime]).format(
        model=_model(manifest),
        threads=parallel.share,
        replicas=parallel.replicas,
        inter_op=INTER_OP.format(count=parallel.inter_op) if parallel.inter_op > 1 else "",
        unpack=UNPACK if manifest.realised.get("storage_only") else "",
        config=_config(manifest, parallel) if manifest.runtime == "openvino" else "",
        program="torch.compile(program)" if manifest.runtime == "compiled" else "program",
    )


def _config(manifest: Manifest, parallel: Parallel) -> str:
    """Return OpenVINO's properties as a dict that is broken where its line would be too long."""
    config = serving_config(manifest, parallel)
    first = {name: config.pop(name) for name in list(config)[:3]}
    return repr(first) if not config else f"{repr(first)[:-1]},\n    {repr(config)[1:]}"


def _unpacking(manifest: Manifest) -> str:
    """Return the lines that unpack compressed files, none where there are none."""
    if not manifest.model.endswith(PACKED):
        return ""
    return UNPACKING.format(files=sorted(manifest.files), packed=PACKED)


def _model(manifest: Manifest) -> str:
    """Return the expression that names the file which the runtime opens."""
    if manifest.model.endswith(PACKED):
        return f"Path(scratch.name, {plain_name(manifest.model)!r})"
    return f"Path(__file__).with_name({manifest.model!r})"


def _call(manifest: Manifest, arrays: Iterable[str]) -> str:
    """Return the expression that answers with one replica."""
    if manifest.runtime == "onnxruntime":
        feed = ", ".join(f"{graph_input(i)!r}: {array}" for i, array in enumerate(arrays))
        return f"session.run(None, {{{feed}}})[0]"
    if manifest.runtime == "openvino":
        return f"model([{', '.join(arrays)}])[0]"
    tensors = ", ".join(f"torch.from_numpy({array})" for array in arrays)
    return f"module({tensors}).numpy()"
