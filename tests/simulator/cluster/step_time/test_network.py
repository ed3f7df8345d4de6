import itertools
from dataclasses import replace

import numpy as np
import pytest
from foretrain.core.model.architecture import Architecture
from foretrain.simulator.cluster.step_time.efficiency import Efficiencies
from foretrain.simulator.cluster.step_time.network import Network
from hypothesis import given, settings
from hypothesis import strategies as st

# GPT-3 175B: b·s·h of a micro-batch of one sequence is 2048 · 12288
GPT3 = Architecture(
    family="gpt", layers=96, width=12288, heads=96, ffn_width=49152, vocab_size=51200, context_length=2048,
    learned_positions=False,
)  # fmt: skip
LLAMA = Architecture(
    layers=32, width=4096, heads=32, kv_heads=8, ffn_width=14336, vocab_size=128256, context_length=8192
)
MIXTRAL = Architecture(
    layers=32, width=4096, heads=32, kv_heads=8, ffn_width=14336, vocab_size=32000, context_length=4096,
    num_experts=8, experts_per_token=2,
)  # fmt: skip
BYTES = 2  # of a bf16 value
SLOW, FAST = 1e9, 1e10
ODD_LINKS = {"intra_bytes_per_s": FAST, "inter_bytes_per_s": SLOW}
"""Bandwidths that make seconds easy to read as bytes."""


@pytest.fixture
def network(make_steps, lossless):
    """`network(shape, **layout)`: its links at 1e10 bytes/s inside a node of 8 and 1e9 between nodes."""
    return lambda shape, **columns: Network(make_steps(shape, links=ODD_LINKS, **columns), lossless)


@pytest.mark.parametrize("tp", [2, 4, 8])
@pytest.mark.parametrize("micro_batch", [1, 4])
def test_tensor_parallel_volume(tp, micro_batch, network):
    """Narayanan et al. 2021 (arXiv:2104.04473), section 3.2: 8·b·s·h·(t−1)/t values per layer and micro-batch.

    Half of them in the forward pass, half in the backward one.
    """
    volume = 8 * micro_batch * 2048 * 12288 * (tp - 1) / tp * BYTES
    found = network(GPT3, tp=tp, micro_batch=micro_batch, dp=1).tensor_parallel_s()
    assert 2 * found * FAST == pytest.approx(volume)


def test_sequence_parallelism_moves_as_much(network):
    """Korthikanti et al. 2022 (arXiv:2205.05198), section 4.2.2: gathers and scatters instead of all-reduces."""
    plain, sequence = (network(GPT3, tp=8, sequence_parallel=s).tensor_parallel_s() for s in (0, 1))
    assert plain == sequence


@pytest.mark.parametrize("pp", [2, 8])
@pytest.mark.parametrize("vpp", [1, 3])
def test_pipeline_volume(pp, vpp, network):
    """Section 3.2 of the same: b·s·h values between two stages each way, once for every chunk (section 2.2)."""
    volume = 2 * vpp * 2048 * 12288 * BYTES
    assert network(GPT3, pp=pp, vpp=vpp).pipeline_s() * FAST == pytest.approx(volume)
    assert network(GPT3, pp=pp, vpp=vpp, dp=8).pipeline_s() * SLOW == pytest.approx(volume)
    # scattered over tensor-parallel ranks with sequence parallelism (section 4.1 of it)
    split = network(GPT3, pp=pp, vpp=vpp, tp=8, dp=1, sequence_parallel=1).pipeline_s()
    assert split * SLOW == pytest.approx(volume / 8)


@pytest.mark.parametrize("ranks", [2, 8])
def test_gathering_weights(ranks, network):
    """Rajbhandari et al. 2020 (arXiv:1910.02054), section 7: a gather moves the weights once, less the own share."""
    found = network(LLAMA, dp=ranks).gather_s(np.array([1e9]), np.array([0.0]))
    assert found * FAST == pytest.approx(1e9 * BYTES * (ranks - 1) / ranks)


@pytest.mark.parametrize(("tp", "cards"), [(1, 8), (2, 4), (8, 1)])
def test_ranks_in_a_node_share_its_network_cards(tp, cards, network):
    found = network(LLAMA, tp=tp, dp=64 // tp).gather_s(np.array([1e9]), np.array([0.0]))
    ranks = 64 // tp
    assert found * min(FAST, cards * SLOW) == pytest.approx(1e9 * BYTES * (ranks - 1) / ranks)


def test_gathering_experts_among_their_own_ranks(network):
    """8 experts over 8 of 64 devices are kept by 8 ranks each, one in every node; over 2, by four in every node."""
    found = network(MIXTRAL, dp=64, ep=8).gather_s(np.array([0.0]), np.array([1e9]))
    assert found * SLOW == pytest.approx(1e9 * BYTES * 7 / 8)
    four = network(MIXTRAL, dp=64, ep=2).gather_s(np.array([0.0]), np.array([1e9]))
    assert four * 4 * SLOW == pytest.approx(1e9 * BYTES * 31 / 32)
    alone = network(MIXTRAL, dp=8, ep=8).gather_s(np.array([0.0]), np.array([1e9]))
    assert alone == 0


def test_a_gather_hops_to_every_rank(make_steps):
    """NCCL's ring: 255 hops of 14 microseconds between 256 nodes, 3.4 inside them; a TPU's torus is shorter."""
    many, few, tpus = (
        Network(make_steps(LLAMA, gpu=gpu, dp=ranks), Efficiencies.prior()).gather_latency_s()
        for gpu, ranks in (("H100", 2048), ("H100", 8), ("TPUv5p", 2048))
    )
    assert many == pytest.approx(20e-6 + 255 * 14e-6 + 1792 * 3.4e-6)
    assert few == pytest.approx(20e-6 + 7 * 3.4e-6)
    assert tpus == pytest.approx(11 * 20e-6)


@pytest.mark.parametrize("cp", [2, 4, 8])
def test_context_parallel_volume(cp, network):
    """Keys and values of everybody else pass by: 8 heads of 128, of each kind, for the tokens of other devices."""
    volume = (cp - 1) * 8192 / cp * 8 * (128 + 128) * BYTES
    assert network(LLAMA, cp=cp).context_parallel_s() * FAST == pytest.approx(volume)
    halved = network(LLAMA, cp=cp, tp=8 // cp).context_parallel_s()
    assert halved * FAST == pytest.approx(volume / (8 // cp))


def test_key_value_heads_are_copied_rather_than_split(network):
    """8 heads over 16 devices: each sends a whole one."""
    eight, sixteen = (network(LLAMA, cp=2, tp=tp) for tp in (8, 16))
    assert sixteen.context_parallel_s() == eight.context_parallel_s()


@pytest.mark.parametrize("ep", [2, 4, 8])
@pytest.mark.parametrize(("precision", "size"), [("bf16", 2), ("fp8", 1)])
def test_expert_parallel_volume(ep, precision, size, network):
    """A token goes to two experts and comes back; of those, (ep − 1) / ep are elsewhere."""
    volume = 2 * 4096 * 2 * 4096 * (ep - 1) / ep * size
    assert network(MIXTRAL, dp=8, ep=ep, precision=precision).expert_parallel_s() * FAST == pytest.approx(volume)


def test_nobody_to_talk_to(network, make_steps, shipped):
    for found in (network(MIXTRAL), Network(make_steps(MIXTRAL), shipped)):
        assert found.tensor_parallel_s() == found.context_parallel_s() == found.expert_parallel_s() == 0
        assert found.pipeline_s() == found.gather_latency_s() == 0
        assert found.gather_s(np.array([1e9]), np.array([1e9])) == 0


def test_a_ring_over_whole_nodes_uses_all_their_cards(network):
    inside, outside = network(GPT3, tp=8), network(GPT3, tp=16)
    ratio = outside.tensor_parallel_s() / inside.tensor_parallel_s()
    assert ratio == pytest.approx(FAST / (8 * SLOW) * (15 / 16) / (7 / 8))


@pytest.mark.parametrize(("tp", "cards"), [(1, 8), (4, 2), (8, 1)])
def test_context_parallel_devices_in_a_node_share_its_network_cards(tp, cards, network):
    volume = 15 * 8192 / 16 * (8 / tp) * (128 + 128) * BYTES
    assert network(LLAMA, tp=tp, cp=16).context_parallel_s() * min(FAST, cards * SLOW) == pytest.approx(volume)


def test_a_group_within_a_node_needs_no_network_whatever_else_does(network):
    """Replicas are next to each other, pipeline stages apart."""
    one, two = (network(LLAMA, tp=2, dp=4, pp=pp).gather_s(np.array([1e9]), np.array([0.0])) for pp in (1, 8))
    assert one == two


@pytest.mark.parametrize("ep", [16, 64])
def test_experts_send_over_the_network_only_what_leaves_the_node(ep, network):
    """Of 16 devices' tokens 8 of 16 shares leave, of 64's 56 of 64; what stays goes over fast links meanwhile."""
    many = MIXTRAL.model_copy(update={"num_experts": 64})
    each = 2 * 4096 * 2 * 4096 / ep * BYTES
    found = network(many, dp=64, ep=ep).expert_parallel_s()
    assert found == pytest.approx(max(7 * each / FAST, (ep - 8) * each / SLOW))


LAYOUTS = st.fixed_dictionaries(
    {
        "tp": st.sampled_from([1, 2, 4, 8, 16]), "pp": st.sampled_from([1, 2, 4]), "cp": st.sampled_from([1, 2, 4]),
        "dp": st.sampled_from([1, 2, 8, 32]), "ep": st.sampled_from([1, 2, 8]), "vpp": st.sampled_from([1, 2]),
        "sequence_parallel": st.sampled_from([0, 1]),
    }
)  # fmt: skip


def seconds(network: Network) -> dict[str, float]:
    """Every collective of a network."""
    names = ("tensor_parallel_s", "context_parallel_s", "expert_parallel_s", "pipeline_s", "gather_latency_s")
    found = {name: float(np.ravel(getattr(network, name)())[0]) for name in names}
    return {**found, "gather_s": float(network.gather_s(np.array([1e9]), np.array([1e9]))[0])}


@given(LAYOUTS, st.sampled_from(["intra_bytes_per_s", "inter_bytes_per_s"]), st.floats(1.0, 100.0))
@settings(max_examples=60, deadline=None)
def test_faster_links_are_never_slower(make_steps, shipped, layout, link, factor):
    steps = make_steps(MIXTRAL, **layout)
    faster = replace(steps, machines=replace(steps.machines, **{link: factor * getattr(steps.machines, link)}))
    before, after = (seconds(Network(one, shipped)) for one in (steps, faster))
    assert all(after[name] <= before[name] * (1 + 1e-12) for name in before)
    assert all(value >= 0 and np.isfinite(value) for value in before.values())


@given(LAYOUTS)
@settings(max_examples=60, deadline=None)
def test_longer_micro_batches_move_more(make_steps, shipped, layout):
    one, two = (seconds(Network(make_steps(MIXTRAL, micro_batch=size, **layout), shipped)) for size in (1, 2))
    assert all(one[name] <= two[name] <= 2 * one[name] * (1 + 1e-12) for name in one)


@given(LAYOUTS, st.sampled_from(["bf16", "fp8"]))
@settings(max_examples=60, deadline=None)
def test_a_wider_node_is_never_slower(make_steps, shipped, layout, precision):
    """And never faster than one that holds all devices: what leaves a node is never faster than what stays in it."""
    steps = make_steps(MIXTRAL, precision=precision, links=ODD_LINKS, **layout)
    found = [seconds(Network(replace(steps, machines=replace(steps.machines, per_node=np.array(float(size)))), shipped))
             for size in (4, 8, 16, 72, 1e6)]  # fmt: skip
    for one, wider in itertools.pairwise(found):
        assert all(wider[name] <= one[name] * (1 + 1e-12) for name in one)
