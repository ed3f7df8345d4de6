"""Shapes read from a `config.json` have the parameters that the model's weights have, to the last one."""

import json
import math

import pytest
from foretrain.core.errors import ConfigError
from foretrain.core.model.huggingface import MODEL_TYPES, read_huggingface
from foretrain.core.reading.yaml_reader import loads_yaml
from foretrain.datasets.facts.models import models
from hypothesis import given
from hypothesis import strategies as st


def usual(model_type, layers, width, heads, ffn_width, vocab, length, kv_heads=None, **more):
    """The keys of most families; `null` for what a file leaves out."""
    return {
        "architectures": ["SomethingForCausalLM"],
        "model_type": model_type,
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads,
        "intermediate_size": ffn_width,
        "vocab_size": vocab,
        "max_position_embeddings": length,
        "num_key_value_heads": kv_heads,
        **more,
    }


_EXPERTS = {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768, "decoder_sparse_step": 1}
_LLAMA_3 = {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}
_DEEPSEEK = {
    "n_routed_experts": 256,
    "num_experts_per_tok": 8,
    "n_shared_experts": 1,
    "moe_intermediate_size": 2048,
    "first_k_dense_replace": 3,
    "moe_layer_freq": 1,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128,
    "v_head_dim": 128,
    "num_nextn_predict_layers": 1,
    "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096},
}
_DEEPSEEK_MOE = {
    "n_routed_experts": 64,
    "num_experts_per_tok": 6,
    "n_shared_experts": 2,
    "moe_intermediate_size": 1408,
    "first_k_dense_replace": 1,
    "moe_layer_freq": 1,
}
_GPT_2 = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024, "vocab_size": 50257}

# What the hub's config.json states of a model, and the parameters that the metadata of its safetensors count.
HUB = {
    "gpt-2": (_GPT_2, 124_439_808),
    "pythia-1.4b": (usual("gpt_neox", 24, 2048, 16, 8192, 50304, 2048, tie_word_embeddings=False), 1_414_647_808),
    "llama-2-7b": (usual("llama", 32, 4096, 32, 11008, 32000, 4096, 32, tie_word_embeddings=False), 6_738_415_616),
    "llama-2-70b": (usual("llama", 80, 8192, 64, 28672, 32000, 4096, 8), 68_976_648_192),
    "llama-3-8b": (usual("llama", 32, 4096, 32, 14336, 128256, 131072, 8, rope_scaling=_LLAMA_3), 8_030_261_248),
    "llama-3.2-1b": (
        usual(
            "llama", 16, 2048, 32, 8192, 128256, 131072, 8, head_dim=64, tie_word_embeddings=True, rope_scaling=_LLAMA_3
        ),
        1_235_814_400,
    ),
    "mistral-7b": (usual("mistral", 32, 4096, 32, 14336, 32000, 32768, 8, sliding_window=4096), 7_241_732_096),
    "mixtral-8x7b": (
        usual("mixtral", 32, 4096, 32, 14336, 32000, 32768, 8, num_local_experts=8, num_experts_per_tok=2),
        46_702_792_704,
    ),
    "qwen2.5-7b": (usual("qwen2", 28, 3584, 28, 18944, 152064, 131072, 4), 7_615_616_512),
    "qwen2.5-0.5b": (usual("qwen2", 24, 896, 14, 4864, 151936, 32768, 2, tie_word_embeddings=True), 494_032_768),
    "qwen3-8b": (usual("qwen3", 36, 4096, 32, 12288, 151936, 40960, 8, head_dim=128), 8_190_735_360),
    "qwen3-30b-a3b": (
        usual("qwen3_moe", 48, 2048, 32, 6144, 151936, 40960, 4, head_dim=128, mlp_only_layers=[], **_EXPERTS),
        30_532_122_624,
    ),
    "gemma-2b": (usual("gemma", 18, 2048, 8, 16384, 256000, 8192, 1, head_dim=256), 2_506_172_416),
    "gemma-2-9b": (usual("gemma2", 42, 3584, 16, 14336, 256000, 8192, 8, head_dim=256), 9_241_705_984),
    "olmo-7b": (usual("olmo", 32, 4096, 32, 11008, 50304, 2048, 32), 6_888_095_744),
    "olmo-2-7b": (usual("olmo2", 32, 4096, 32, 11008, 100352, 4096, 32), 7_298_617_344),
    "olmoe-1b-7b": (
        usual("olmoe", 16, 2048, 16, 1024, 50304, 4096, 16, num_experts=64, num_experts_per_tok=8),
        6_919_161_856,
    ),
    "deepseek-moe-16b": (usual("deepseek", 28, 2048, 16, 10944, 102400, 4096, 16, **_DEEPSEEK_MOE), 16_375_728_128),
    "deepseek-v3": (usual("deepseek_v3", 61, 7168, 128, 18432, 129280, 163840, 128, **_DEEPSEEK), 671_026_419_200),
    "phi-3-mini": (usual("phi3", 32, 3072, 32, 8192, 32064, 4096, 32), 3_821_079_552),
    "tinyllama-1.1b": (usual("llama", 22, 2048, 32, 5632, 32000, 2048, 4), 1_100_048_384),
}


@pytest.mark.parametrize("name", HUB)
def test_a_config_of_the_hub_has_the_published_parameters(name):
    config, published = HUB[name]
    found = read_huggingface(config)
    assert found.architecture.params_total + found.left_out == published
    known = models()[name]
    assert known.params == published
    assert known.shape.parameter_counts == found.architecture.parameter_counts


def test_positions_that_were_stretched_are_counted_as_they_were_trained():
    found = read_huggingface(HUB["llama-3-8b"][0])
    assert (found.architecture.context_length, found.notes) == (8192, ())
    longest = read_huggingface(HUB["qwen2.5-7b"][0])
    assert longest.architecture.context_length == 131072
    assert "most are trained on shorter sequences" in longest.notes[0]


def test_what_a_shape_has_no_place_for_is_said():
    (note,) = (note for note in read_huggingface(HUB["qwen3-8b"][0]).notes if "counted" in note)
    assert note == "9,216 parameters aren't counted (norms of queries and keys): 1e-06 of all"
    notes = read_huggingface(HUB["deepseek-v3"][0]).notes
    assert any("1 layer that predict" in note for note in notes)


def test_of_a_model_that_sees_only_the_text_part_counts():
    text = {key: value for key, value in HUB["gemma-2b"][0].items() if key != "model_type"}
    found = read_huggingface({"model_type": "gemma3", "vision_config": {}, "text_config": text})
    assert found.model_type == "gemma3"
    assert "only the text part" in found.notes[0]


def test_a_file_reads_as_its_mapping_does():
    config = HUB["llama-2-7b"][0]
    assert read_huggingface(loads_yaml(json.dumps(config))) == read_huggingface(config)


LLAMA = HUB["llama-2-7b"][0]


def nested(depth):
    value = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "lama"}, "model_type: got 'lama'; did you mean llama? expected one of"),
        ({"model_type": None}, "model_type: is missing; expected one of deepseek, "),
        ({"model_type": ["llama"]}, "model_type: got ['llama']; expected one of"),
        ({"model_type": "mamba2"}, "model_type: got 'mamba2'"),
        ({"hidden_size": math.nan}, "hidden_size: got nan; expected a whole number"),
        ({"hidden_size": 1e300}, "hidden_size: got 1e+300; expected a whole number"),
        ({"hidden_size": math.inf}, "hidden_size: got inf"),
        ({"hidden_size": -4096}, "hidden_size: got -4096; expected a whole number from 1"),
        ({"hidden_size": 4096.5}, "hidden_size: got 4096.5"),
        ({"hidden_size": "4096"}, "hidden_size: got '4096'"),
        ({"hidden_size": True}, "hidden_size: got True"),
        ({"hidden_size": None}, "hidden_size: is missing"),
        ({"hidden_size": nested(500)}, "hidden_size: got {"),
        ({"num_hidden_layers": 10**9}, "layers: "),
        ({"num_key_value_heads": 5}, "kv_heads: got 5; expected a divisor of heads 32"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings: got 'no'; expected true or false"),
        ({"attention_bias": 1}, "attention_bias: got 1; expected true or false"),
        ({"rope_scaling": {"original_max_position_embeddings": -1}}, "original_max_position_embeddings: got -1"),
        ({"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 5}, "experts_per_token: got 5"),
        (
            {"model_type": "qwen3_moe", "mlp_only_layers": [0]},
            "mlp_only_layers: got [0], by which some layers are dense",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_no_model_has_is_refused(change, message):
    with pytest.raises(ConfigError) as refused:
        read_huggingface({**LLAMA, **change}, "my.json")
    assert str(refused.value).startswith("my.json: ")
    assert message in str(refused.value)
    assert len(str(refused.value)) < 500


@given(
    model_type=st.sampled_from(sorted(MODEL_TYPES)),
    key=st.sampled_from(sorted({key for config, _ in HUB.values() for key in config})),
    value=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()) | st.just({}),
)
def test_whatever_it_holds_is_read_or_refused(model_type, key, value):
    every = {key: value for config, _ in HUB.values() for key, value in config.items()}
    try:
        found = read_huggingface({**every, "model_type": model_type, key: value})
    except ConfigError:
        return
    assert found.architecture.params_total > 0
