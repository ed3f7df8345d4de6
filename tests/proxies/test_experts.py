"""Mixtures of experts as proxies: against each token by itself, the balance of their load, and in training."""

import json

import pytest
import torch
from foretrain.core.model.architecture import Architecture
from foretrain.proxies.campaign.campaign_files import StoreFacts
from foretrain.proxies.campaign.run_rows import rows
from foretrain.proxies.engine import train_group
from foretrain.proxies.engine._buffers import WeightLayout
from foretrain.proxies.models import build_model
from foretrain.proxies.models._experts import Routing, diagnostics, load_balance, mixture
from torch.nn import functional
from torch.testing import assert_close

pytestmark = pytest.mark.usefixtures("one_thread")

COPIES, BATCH, LENGTH, WIDTH, INNER = 2, 3, 5, 8, 16
ROUTED = {"num_experts": 4, "experts_per_token": 2, "expert_ffn_width": 16}


def gelu(inner, width):
    return functional.gelu(inner)


def layer(experts, dtype=torch.float32):
    """Weights and inputs of a layer, drawn with a fixed seed."""
    draw = torch.Generator().manual_seed(experts)
    sizes = {"router": (WIDTH, experts), "experts_up": (experts, WIDTH, INNER), "experts_down": (experts, INNER, WIDTH)}
    weights = {name: torch.randn(COPIES, *size, generator=draw).to(dtype) for name, size in sizes.items()}
    return weights, torch.randn(COPIES, BATCH, LENGTH, WIDTH, generator=draw).to(dtype)


def token_by_token(weights, inputs, chosen):
    """The formula for one token after the other."""
    found = torch.zeros_like(inputs)
    for copy, row, at in torch.cartesian_prod(*(torch.arange(n) for n in (COPIES, BATCH, LENGTH))).tolist():
        token = inputs[copy, row, at]
        probability = (token @ weights["router"][copy]).softmax(0)
        best = sorted(range(len(probability)), key=lambda e: -probability[e].item())[:chosen]
        total = sum(probability[e] for e in best) if chosen > 1 else 1.0
        for e in best:
            inner = gelu(token @ weights["experts_up"][copy, e], INNER)
            found[copy, row, at] += probability[e] / total * (inner @ weights["experts_down"][copy, e])
    return found


@pytest.mark.parametrize(("experts", "chosen"), [(2, 1), (4, 2), (5, 3), (16, 2), (3, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_token_gets_what_its_own_experts_give(experts, chosen, dtype):
    weights, inputs = layer(experts, dtype)
    found, routing = mixture(weights, inputs, chosen, gelu)
    assert_close(found, token_by_token(weights, inputs, chosen))
    assert_close(routing.load.sum(1), torch.ones(COPIES, dtype=dtype))
    assert_close(routing.probability.sum(1), torch.ones(COPIES, dtype=dtype))


def test_gradients_are_those_of_token_by_token():
    weights, inputs = layer(4)
    leaves = [inputs.requires_grad_(), *(weight.requires_grad_() for weight in weights.values())]
    ours = torch.autograd.grad(mixture(weights, inputs, 2, gelu)[0].square().sum(), leaves)
    expected = torch.autograd.grad(token_by_token(weights, inputs, 2).square().sum(), leaves)
    for one, other in zip(ours, expected, strict=True):
        assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_in_bf16_the_router_chooses_as_in_fp32():
    weights, inputs = layer(8, torch.bfloat16)
    found, routing = mixture(weights, inputs, 2, gelu)
    wide = {name: weight.float() for name, weight in weights.items()}
    exact, wide_routing = mixture(wide, inputs.float(), 2, gelu)
    assert torch.equal(routing.load, wide_routing.load)
    assert_close(found.float(), exact, rtol=0.05, atol=0.05 * exact.std().item())


def test_even_load_adds_least_and_is_diagnosed_as_even():
    even = torch.full((1, 4), 0.25)
    one = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    assert load_balance([Routing(even, even)]).item() == pytest.approx(0.01)  # α at its least (Switch, section 2.2)
    assert load_balance([Routing(one, one)] * 2).item() == pytest.approx(0.08)
    assert diagnostics([Routing(even, even)])["router_load"].item() == 1
    noted = diagnostics([Routing(even, even), Routing(one, one)])
    assert (noted["router_load"].item(), noted["router_idle"].item()) == (4, 3 / 8)


def trained(runs, store, settings, folder):
    path = folder / "group.safetensors"
    path.unlink(missing_ok=True)
    return train_group(runs, store, settings, path)


def test_load_is_in_the_results_and_balance_in_no_loss(tiny_store, tiny_run, plain, tmp_path):
    runs = [tiny_run(shape=ROUTED, run_id=f"r{seed}", seed=seed) for seed in (1, 2)]
    both = trained(runs, tiny_store, plain, tmp_path)
    alone = trained(runs[1:], tiny_store, plain, tmp_path)
    noted = both[1].evaluations[-1].diagnostics
    assert set(noted) == {"router_load", "router_idle"}
    assert 1 <= noted["router_load"] <= 2  # of 4 experts the busiest gets at most every token, half of the choices
    assert noted["router_idle"] in (0, 0.25, 0.5)
    written = json.loads(json.dumps(both[1].to_dict()))
    assert written["evaluations"][-1]["diagnostics"] == noted
    ours = [loss.mean_nats for loss in both[1].evaluations[-1].losses.values()]
    assert ours == pytest.approx([loss.mean_nats for loss in alone[0].evaluations[-1].losses.values()], abs=1e-4)


def test_balance_pulls_the_router_and_nothing_else():
    shape = Architecture(layers=2, width=16, heads=2, ffn_width=32, vocab_size=31, context_length=16, **ROUTED)
    model = build_model("transformer", shape)
    layout = WeightLayout(model)
    flat = layout.initial([1]).requires_grad_()
    tokens = torch.randint(31, (1, 4, 17), generator=torch.Generator().manual_seed(0))
    _, added = model.training_losses(layout.split(flat), tokens)
    assert added is not None
    pulled = layout.split(torch.autograd.grad(added.sum(), flat)[0])
    assert all(pulled[f"{number}.router"].abs().max() > 0 for number in range(2))
    assert pulled["1.experts_up"].abs().max() == 0  # of the last layer: nothing behind it is routed


def test_rows_count_what_a_token_meets_and_all_experts(tiny_store, tiny_run, plain, tmp_path):
    run = tiny_run(shape=ROUTED)
    (result,) = trained([run], tiny_store, plain, tmp_path)
    facts = StoreFacts(folder="t", digest="0" * 64, name="t", tokenizer=None, bytes_per_token=dict.fromkeys("abc"))
    (row,) = rows([(run, result)], facts, ["a", "b"])
    assert row["params"] == row["params_active"] == run.shape.params_active
    assert row["params_total"] == run.shape.params_total > row["params"]
    assert (row["num_experts"], row["experts_per_token"]) == (4, 2)
