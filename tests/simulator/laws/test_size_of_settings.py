"""Learning rate and batch of routed models go by all their parameters, the rest of the law by those of one token."""

import numpy as np
import pytest
from foretrain.simulator.forecast.law_inputs import run_columns
from foretrain.simulator.laws import get_law
from foretrain.simulator.predictor.storage.folder import load

LAWS = ("general+lr", "general+lr_batch", "general+lr_batch_posynomial")


@pytest.mark.parametrize("name", LAWS)
def test_only_the_optimum_moves_with_all_parameters(name):
    law = get_law(name)
    theta = np.array([[p.mean for p in law.parameters]])
    dense = {"params": np.full(3, 3e8), "tokens": np.full(3, 1e10)}
    dense |= {"lr": np.geomspace(3e-4, 3e-2, 3), "batch_tokens": np.full(3, 5e5)}
    reference = law.reference(dense)

    def offsets(columns):
        term, features = law.terms[0], law.prepare(columns, reference)[1]
        return term.offsets(theta[0, 6:], features)["log_lr_offset"]

    def loss(columns):
        return law.loss(theta, law.prepare(columns, reference))[0]

    same = dense | {"params_total": dense["params"]}
    routed, larger = dense | {"params_total": np.full(3, 3e9)}, dense | {"params": np.full(3, 3e9)}
    np.testing.assert_array_equal(loss(same), loss(dense))
    np.testing.assert_allclose(offsets(routed), offsets(larger))
    assert np.all(loss(routed) != loss(larger))


def test_a_plan_of_a_routed_model_states_all_its_parameters_to_a_law_of_settings(plan):
    steplaw = load("steplaw")
    size = {"params": "2B", "params_active": "300M", "num_experts": 16, "experts_per_token": 2}
    warnings: list[str] = []
    routed = run_columns(plan(model=size, tokens="20B"), steplaw, warnings)
    assert routed["params"][0] == 3e8
    assert routed["params_total"][0] == 2e9
    assert "params_total" not in run_columns(plan("2B", "20B"), steplaw, warnings)
    assert "params_total" not in run_columns(plan(model=size, tokens="20B"), load("routing-moe"), warnings)
