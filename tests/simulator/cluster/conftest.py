"""What tests of step times share: machines and efficiencies without any loss, and steps made from keywords."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from foretrain.core.model.architecture import Architecture
from foretrain.datasets.facts.accelerators import accelerator
from foretrain.simulator.cluster.step_time.efficiency import PARAMETERS, Efficiencies
from foretrain.simulator.cluster.step_time.step_model import StepTimeModel
from foretrain.simulator.cluster.step_time.steps import FRAMEWORKS, Steps, layouts, machine, model

# what costs time rather than being a share of a rate
_COSTS = ("launch_s", "launch_experts_s", "latency_s", "accumulate_bytes", "optimizer_bytes", "step_s", "straggling")


@pytest.fixture(scope="session")
def shipped() -> Efficiencies:
    """The fitted efficiencies."""
    return StepTimeModel.shipped().efficiencies


@pytest.fixture(scope="session")
def lossless() -> Efficiencies:
    """Every rate is reached in full, nothing is hidden, and nothing else takes time."""
    return Efficiencies({name: 0.0 if name in _COSTS else 1.0 for name in PARAMETERS})


@pytest.fixture(scope="session")
def make_steps() -> Callable[..., Steps]:
    """`make_steps(shape, gpu="H100-SXM-80", precision="bf16", framework="megatron", machine={…}, tp=…, …)`: steps."""

    def make(shape: Architecture, gpu="H100-SXM-80", precision="bf16", framework="megatron", links=None, **columns):
        chosen = layouts(**columns, framework=FRAMEWORKS.index(framework))
        part = machine(accelerator(gpu), precision, devices=int(np.max(chosen.devices)), offload=True)
        part = replace(part, **{name: np.array(float(value)) for name, value in (links or {}).items()})
        return Steps(model(shape), part, chosen)

    return make
