import csv
import os
from pathlib import Path

import numpy as np
import pytest
from foretrain.core.errors import ConfigError, InfeasibleError
from foretrain.core.model.architecture import Architecture
from foretrain.simulator.cluster.layouts.candidates import LayoutSpace, candidate_layouts, layout_at
from foretrain.simulator.cluster.layouts.layout import ParallelLayout, batch_sequences, layout_warnings
from foretrain.simulator.cluster.layouts.layout_problems import complete_layout, problems
from foretrain.simulator.cluster.step_time.steps import layouts
from foretrain.simulator.config.run_config import LayoutConfig
from hypothesis import assume, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[4]
RUNS = Path(os.environ.get("FORETRAIN_SHARED", ROOT.parent / "shared")) / "data/measured_runs/runs.csv"

LLAMA = Architecture(
    layers=80, width=8192, heads=64, kv_heads=8, ffn_width=28672, vocab_size=32000, context_length=4096
)
MIXTRAL = Architecture(
    layers=32, width=4096, heads=32, kv_heads=8, ffn_width=14336, vocab_size=32000, context_length=4096,
    num_experts=8, experts_per_token=2,
)  # fmt: skip
DEEPSEEK = Architecture(
    layers=61, width=7168, heads=128, ffn_width=18432, vocab_size=129280, context_length=4096,
    num_experts=256, experts_per_token=8, shared_experts=1, expert_ffn_width=2048, dense_layers=3,
    q_lora_rank=1536, kv_lora_rank=512, qk_rope_width=64, qk_nope_width=128, v_head_width=128,
)  # fmt: skip


def complete(architecture=LLAMA, count=512, batch=1024, **stated) -> ParallelLayout:
    return complete_layout(architecture, count, batch, LayoutConfig.model_validate(stated))


# sequences per batch


@pytest.mark.parametrize(
    ("tokens", "context", "sequences"),
    [
        (4e6, 4096, 1024),  # Llama 2: 4M
        (5e5, 2048, 256),  # GPT-3 small: 0.5M
        (3.2e6, 2048, 1536),  # GPT-3: 3.2M
        (16e6, 8192, 2048),  # Llama 3: 16M
        (262_144, 4096, 64),
        (250 * 2048, 2048, 250),  # whole, hence as it is
        (977 * 4096, 4096, 977),
        (2300, 4096, 1),
        (1.4 * 4096, 4096, 1),
    ],
)
def test_sequences_of_a_batch(tokens, context, sequences):
    assert batch_sequences(tokens, context) == sequences


@pytest.mark.parametrize(("tokens", "fragment"), [(1000, "at least one sequence"), (1e18, "at most 10\\^8 sequences")])
def test_absurd_batches_are_refused(tokens, fragment):
    with pytest.raises(ConfigError, match=f"optim.batch_tokens: got .*{fragment}"):
        batch_sequences(tokens, 4096)


@given(st.integers(1, 10**6), st.sampled_from([1, 7, 2048, 4096]), st.floats(0.98, 1.02))
def test_sequences_are_those_stated_or_within_five_percent(sequences, context, slip):
    assert batch_sequences(sequences * context, context) == sequences
    found = batch_sequences(sequences * context * slip, context)
    assert abs(found - sequences * slip) <= max(0.05 * sequences * slip, 0.5)


# one layout


def test_what_is_left_out_is_the_plainest():
    assert complete(tp=8, pp=4) == ParallelLayout(tp=8, pp=4, dp=16, sequence_parallel=True, accumulation=64)
    assert complete(count=8, batch=8) == ParallelLayout(dp=8)
    assert complete(tp=8, sequence_parallel=False).sequence_parallel is False
    assert complete(tp=1, sequence_parallel=True).sequence_parallel is False
    assert complete(offload=["weights"], zero_stage=3).offload_weights


# What is wrong, and what the message must name: the key, the value, and what would do.
IMPOSSIBLE = [
    ({"tp": 8, "dp": 8}, "layout.dp: got 8; tp 8 · pp 1 · cp 1 · dp 8 is 64, not 512; expected layout.dp 64"),
    ({"count": 500, "tp": 8, "pp": 4}, "hardware.count: got 500, which isn't a multiple of tp 8 · pp 4 · cp 1 = 32; "
     "expected hardware.count 480 or 512; or layout.tp 1"),
    ({"count": 24, "batch": 24, "tp": 8, "pp": 2}, "expected hardware.count 16 or 32; or layout.tp 4, layout.pp 1 or "
     "layout.pp 3"),
    ({"count": 4, "tp": 8}, "hardware.count: got 4, which isn't a multiple of tp 8 · pp 1 · cp 1 = 8; expected "
     "hardware.count 8; or layout.tp 4"),
    ({"count": 480, "batch": 960, "tp": 3}, "layout.tp: got 3, which doesn't divide heads 64, kv_heads 8 (nor is it a "
     "multiple), ffn_width 28672, context_length / cp 4096/1 (sequence parallel); expected 2 or 4"),
    ({"tp": 128}, "layout.tp: got 128, which doesn't divide heads 64; expected 64"),
    ({"pp": 128}, "layout.pp: got 128, more stages than the 80 layers; expected at most 80"),
    ({"pp": 8, "vpp": 16}, "layout.vpp: got 16; pp 8 · vpp 16 is more stages than the 80 layers; expected at most 10"),
    ({"vpp": 2}, "layout.vpp: got 2 with pp 1; expected vpp 1, or pp of at least 2"),
    ({"tp": 8, "pp": 16, "vpp": 5, "micro_batch": 32}, "layout.vpp: got 5, which needs a multiple of pp 16 "
     "micro-batches per step, not 8; expected vpp 1 or micro_batch 16"),
    ({"count": 6, "batch": 6, "cp": 3}, "layout.cp: got 3; context_length 4096 can't be cut into 2 · cp = 6 equal "
     "parts; expected 2 or 4"),
    ({"ep": 8}, "layout.ep: got 8 for a model without experts; expected 1"),
    ({"architecture": MIXTRAL, "ep": 16}, "layout.ep: got 16, which doesn't divide num_experts 8; expected 8"),
    ({"architecture": MIXTRAL, "ep": 8, "count": 4}, "layout.ep: got 8, which doesn't divide tp · cp · dp = 4; "
     "expected 4"),
    ({"batch": 1000, "tp": 8, "pp": 4}, "optim.batch_tokens: 1000 sequences can't be split evenly over dp 16 · "
     "micro_batch 1; expected 4063232 (992 sequences) or 4128768 (1008 sequences)"),
    ({"tp": 8, "pp": 4, "micro_batch": 5}, "layout.micro_batch: got 5, which doesn't divide the 64 sequences of each "
     "of dp 16 replicas; expected 4 or 8"),
    ({"batch": 8}, "optim.batch_tokens: 8 sequences can't be split evenly over dp 512 · micro_batch 1; expected "
     "2097152 (512 sequences)"),
]  # fmt: skip


@pytest.mark.parametrize(("stated", "message"), IMPOSSIBLE, ids=[message.split(";")[0] for _, message in IMPOSSIBLE])
def test_impossible_layouts_are_refused_with_the_smallest_change(stated, message):
    with pytest.raises(InfeasibleError) as caught:
        complete(**stated)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_every_problem_is_listed():
    with pytest.raises(InfeasibleError) as caught:
        complete(tp=12, pp=5, cp=3, ep=8, vpp=20)
    keys = [line.split(":")[0] for line in str(caught.value).splitlines()]
    assert keys == ["hardware.count", "layout.tp", "layout.vpp", "layout.cp", "layout.ep"]


def test_absurd_degrees_are_refused():
    with pytest.raises(InfeasibleError):
        complete(count=10**7, batch=99_999_989, **dict.fromkeys(("tp", "pp", "cp", "ep", "vpp", "micro_batch"), 10**6))


def test_what_frameworks_can_do_is_possible():
    assert complete(count=16, tp=16).tp == 16, "key-value heads are copied"
    assert complete(DEEPSEEK, count=64, pp=16).pp == 16, "stages may be uneven"
    assert complete(LLAMA.model_copy(update={"vocab_size": 32001}), tp=8).tp == 8, "vocabularies are padded"
    llama3 = Architecture(
        layers=126, width=16384, heads=128, kv_heads=8, ffn_width=53248, vocab_size=128256, context_length=8192
    )
    # embedding and output head are stages of their own: NVIDIA-NeMo/Megatron-Bridge docs/performance-summary.md
    assert complete(llama3, count=256, batch=1536, tp=4, pp=16, vpp=8, cp=1).vpp == 8


@pytest.mark.parametrize(
    ("stated", "fragment"),
    [
        ({"tp": 16}, "tp 16 goes beyond the 8 devices"),
        ({"tp": 16}, "copies each of the 8 key-value heads"),
        ({"architecture": DEEPSEEK, "pp": 16}, "61 layers over 16 stages are uneven: the largest has 4"),
        ({"pp": 16, "tp": 8, "micro_batch": 32}, "8 micro-batches can't fill 16 pipeline stages"),
        ({"pp": 4, "zero_stage": 2}, "ZeRO stage 2 with a pipeline is no faster than stage 1"),
        ({"pp": 4, "zero_stage": 3}, "ZeRO stage 3 with a pipeline"),
        ({"tp": 8, "pp": 64}, "ZeRO stage 1 shards nothing"),
    ],
)
def test_doubts(stated, fragment):
    architecture = stated.get("architecture", LLAMA)
    assert fragment in " | ".join(layout_warnings(architecture, complete(**stated), per_node=8))


def test_a_plain_layout_has_no_doubts():
    assert layout_warnings(LLAMA, complete(tp=8, pp=4), per_node=8) == []


DEGREES = st.none() | st.integers(1, 24)
SHAPES = st.sampled_from([LLAMA, MIXTRAL, DEEPSEEK])


STATED = st.fixed_dictionaries(dict.fromkeys(("tp", "pp", "vpp", "cp", "ep", "dp", "micro_batch"), DEGREES))


@given(SHAPES, st.integers(1, 600), st.integers(1, 2048), STATED)
def test_a_layout_that_passes_adds_up(architecture, count, batch, stated):
    assume(not (stated["pp"] == 1 and (stated["vpp"] or 1) > 1))
    try:
        layout = complete(architecture, count, batch, **stated)
    except InfeasibleError as error:
        lines = str(error).splitlines()
    else:
        lines = []
        adds_up(architecture, layout, count, batch, stated)
    assert all("; expected" in line for line in lines)


def adds_up(architecture, layout, count, batch, stated):
    assert layout.devices == count
    assert layout.global_batch == batch
    assert architecture.heads % layout.tp == 0
    assert (architecture.num_experts or 1) % layout.ep == 0
    assert layout.tp * layout.cp * layout.dp % layout.ep == 0
    assert layout.pp <= architecture.layers
    for key, value in stated.items():
        assert value is None or getattr(layout, key) == value


@given(SHAPES, st.integers(0, 6), st.integers(0, 3), st.sampled_from([1, 3, 5]))
def test_powers_of_two_on_round_shapes_always_pass(architecture, nodes, tp, odd):
    count = 2**nodes * 8
    assert complete(architecture, count, count * odd, tp=2**tp).accumulation == odd * 2**tp


# all layouts


def space(architecture=LLAMA, count=512, batch=1024, per_node=8, **stated) -> LayoutSpace:
    return LayoutSpace(architecture, count, per_node, batch, LayoutConfig.model_validate(stated))


@pytest.mark.parametrize("architecture", [LLAMA, MIXTRAL, DEEPSEEK], ids=["llama", "mixtral", "deepseek"])
@pytest.mark.parametrize("count", [1, 2, 8, 48, 512])
def test_every_candidate_is_possible_and_there_once(architecture, count):
    batch = 1536
    found = candidate_layouts(space(architecture, count, batch))
    rows = np.stack([np.asarray(column, float) for column in found.values()], axis=1)
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert (found["tp"] <= 8).all()
    for row in np.random.default_rng(count).integers(0, len(rows), 300):
        assert problems(architecture, layout_at(found, row), count, batch) == []


def test_candidates_are_columns_of_steps():
    found = layouts(**candidate_layouts(space(count=64)))
    assert (found.devices == 64).all()
    assert (found.dp * found.micro_batch * found.accumulation == 1024).all()


def test_candidates_hold_what_large_runs_used():
    """Llama 3 405B on 16,384 devices: tp 8, pp 16, cp 1, dp 128 (arXiv:2407.21783, table 4)."""
    llama3 = Architecture(
        layers=126, width=16384, heads=128, kv_heads=8, ffn_width=53248, vocab_size=128256, context_length=8192
    )
    found = candidate_layouts(space(llama3, 16384, 2048))
    chosen = (found["tp"] == 8) & (found["pp"] == 16) & (found["cp"] == 1) & (found["vpp"] == 8)
    assert chosen.any()


def test_what_is_stated_stays():
    stated = {"tp": 16, "pp": 2, "zero_stage": 1, "recompute": "full", "offload": ["optimizer"], "micro_batch": 2,
              "flash_attention": False, "sequence_parallel": False}  # fmt: skip
    found = candidate_layouts(space(**stated))
    for key in ("tp", "pp", "zero_stage", "micro_batch"):
        assert set(found[key].tolist()) == {stated[key]}
    assert found["recompute_full"].all()
    assert found["offload_optimizer"].all()
    assert not (found["recompute_selective"] | found["flash_attention"] | found["sequence_parallel"]).any()


@given(SHAPES, st.integers(1, 128), st.integers(1, 256))
@settings(max_examples=40)
def test_a_possible_layout_of_the_usual_kind_is_a_candidate(architecture, count, batch):
    """The search sees at least the plainest layout wherever that is possible."""
    try:
        plain = complete(architecture, count, batch, zero_stage=0)
    except InfeasibleError:
        return
    found = candidate_layouts(space(architecture, count, batch))
    alike = [found[key] == getattr(plain, key) for key in ("tp", "pp", "vpp", "cp", "ep", "dp", "zero_stage")]
    assert np.logical_and.reduce([*alike, found["micro_batch"] == 1]).any()


@pytest.mark.parametrize(
    ("asked", "fragments"),
    [
        (space(count=509), ("no layout is possible for 509 devices", "expected hardware.count 512")),
        (space(tp=3), ("layout: no layout is possible", "layout.tp: got 3, which doesn't divide heads 64")),
        (space(count=500, tp=8, pp=4), ("expected hardware.count 512", "isn't a multiple of tp 8 · pp 4")),
    ],
)
def test_where_no_layout_is_possible_the_nearest_count_is_named(asked, fragments):
    with pytest.raises(InfeasibleError) as caught:
        candidate_layouts(asked)
    assert all(fragment in str(caught.value) for fragment in fragments)


def test_all_layouts_of_512_devices_are_listed():
    found = candidate_layouts(space(DEEPSEEK, 512, 4096))
    assert 50_000 < len(found["tp"]) < 500_000


@pytest.mark.skipif(not RUNS.exists(), reason="the shared table of measured runs is not beside this checkout")
def test_every_measured_layout_is_possible():
    """What somebody ran can be run."""
    columns = ("n_layers", "d_model", "n_heads", "d_ff", "seq_len", "tp", "pp", "dp", "micro_batch", "global_batch")
    checked = 0
    with RUNS.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if all(row[key] for key in columns):
                layout = measured_layout(row)
                shape = measured_shape(row)
                assert problems(shape, layout, int(float(row["n_gpus"])), int(float(row["global_batch"]))) == []
                checked += 1
    assert checked > 1900


def number(row: dict[str, str], key: str, default: int) -> int:
    return int(float(row[key])) if row[key] else default


def measured_layout(row: dict[str, str]) -> ParallelLayout:
    degrees = {key: number(row, key, 1) for key in ("tp", "pp", "vpp", "cp", "ep", "dp", "micro_batch")}
    accumulation = number(row, "global_batch", 1) // (degrees["dp"] * degrees["micro_batch"])
    parallel = bool(number(row, "seq_parallel", 0))
    return ParallelLayout(**degrees, accumulation=accumulation, sequence_parallel=parallel)


def measured_shape(row: dict[str, str]) -> Architecture:
    names = {"n_layers": "layers", "d_model": "width", "n_heads": "heads", "d_ff": "ffn_width",
             "seq_len": "context_length"}  # fmt: skip
    shape = {own: number(row, key, 0) for key, own in names.items()} | {"vocab_size": number(row, "vocab", 50_000)}
    if row["attention"] != "mla":
        shape["head_width"] = number(row, "head_dim", shape["width"] // shape["heads"])
        shape["kv_heads"] = number(row, "n_kv_heads", shape["heads"])
    if number(row, "n_experts", 0):
        experts = {"n_experts": "num_experts", "topk": "experts_per_token", "moe_d_ff": "expert_ffn_width",
                   "n_shared_experts": "shared_experts", "n_dense_layers": "dense_layers"}  # fmt: skip
        shape |= {own: number(row, key, 0) for key, own in experts.items()}
    return Architecture.model_validate(shape)
