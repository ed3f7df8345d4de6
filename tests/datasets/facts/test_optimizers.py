"""Optimizers by name: what each keeps, and which slips are refused."""

import pytest
from foretrain.core.errors import ConfigError
from foretrain.datasets.facts.optimizers import OPTIMIZERS, meant_optimizer, optimizer_states
from foretrain.simulator.config.run_config import RunConfig


@pytest.mark.parametrize(
    ("name", "matrices", "others", "eight_bit"),
    [
        ("AdamW", 2, 2, False),
        ("adamw_torch_fused", 2, 2, False),
        ("paged_adamw_8bit", 2, 2, True),
        ("adamw-8bit", 2, 2, True),
        ("adafactor", 0, 0, False),
        ("lion", 1, 1, False),
        ("sgd", 0, 0, False),
        ("SGD momentum", 1, 1, False),
        ("Muon", 1, 2, False),
        ("SOAP", 6, 2, False),
    ],
)
def test_states_by_name(name, matrices, others, eight_bit):
    found = optimizer_states(name)
    assert found is not None
    assert (found.matrix_values, found.other_values, found.eight_bit) == (matrices, others, eight_bit)


def test_every_optimizer_has_a_source_and_no_alias_is_of_two():
    assert all(one.source for one in OPTIMIZERS.values())
    assert all(optimizer_states(name) is one for one in OPTIMIZERS.values() for name in (one.name, *one.aliases))


@pytest.mark.parametrize(
    ("slip", "meant"), [("adamww", "adamw"), ("muno", "muon"), ("adafacter", "adafactor"), ("lino", "lion")]
)
def test_a_slip_is_refused_with_what_was_meant(slip, meant):
    plan = {"model": {"params": "1B"}, "data": {"tokens": "20B"}, "optim": {"optimizer": slip}}
    with pytest.raises(ConfigError, match=rf"optim\.optimizer: got '{slip}'; did you mean {meant}\?"):
        RunConfig.from_mapping(plan)


@pytest.mark.parametrize("name", ["muon_mine", "my adamw", "frobnicate", "scion", "dion"])
def test_a_name_of_its_own_is_taken(name):
    assert meant_optimizer(name) is None
