import jsonschema
import pytest
from foretrain.core.errors import ConfigError
from foretrain.core.reading.yaml_reader import loads_yaml
from foretrain.proxies.design.space import ProxySpace
from foretrain.proxies.settings import EngineSettings

GOOD = "corpora: corpora.yaml\nsizes: [20k, 60k]\ntokens: [1M, 2M]\n"
FULL = """
corpora: texts/corpora.yaml
time_budget: 8min
seed: 7
model: transformer
context_length: 64
depth: 2
head_width: 16
ffn_ratio: 3
short_conv: 0
tied_embeddings: true
widths: [16, 32, 64]
tokens: [4M, 0.5M]
seeds: 2
batch_sequences: 16
recipe: {schedule: linear, lr_final: 0, weight_decay: 0.05}
lr: {low: 0.002, high: 0.05, points: 5, sizes: [16, 32], tokens: 1M}
mix: {books: 0.5, web: 0.5}
mixes:
  sample: 48
  concentration: [0.1, 1]
  bounds: {books: {low: 0.05, high: 0.6}}
  include: [natural, uniform, single, {books: 1, web: 0}]
  sizes: [16]
  tokens: 1M
  seeds: 3
sobol:
  points: 32
  vary:
    weight_decay: {low: 0.01, high: 0.3, log: true}
    batch_sequences: {low: 4, high: 32, log: true}
  sizes: [32]
engine: {group_size: 8, eval_tokens: 32k}
"""


def read(tmp_path, text):
    (tmp_path / "space.yaml").write_text(text, encoding="utf-8")
    return ProxySpace.load(tmp_path / "space.yaml")


def test_the_smallest_space_is_complete(tmp_path):
    space = read(tmp_path, GOOD)
    assert space.corpora_path == tmp_path / "corpora.yaml"
    assert (space.rungs, space.tokens, space.seeds, space.mix) == ((20_000, 60_000), (1e6, 2e6), 1, "natural")
    assert (space.lr.fixed, space.mixes, space.sobol, space.time_budget) == (0.005, None, None, None)
    assert space.one_run_gives_every_token_count


def test_everything_can_be_stated(tmp_path):
    space = read(tmp_path, FULL)
    assert space.corpora_path == tmp_path / "texts/corpora.yaml"
    assert (space.time_budget, space.rungs, space.tokens) == (480, (16, 32, 64), (500_000, 4_000_000))
    assert space.lr.fixed is None
    assert not space.one_run_gives_every_token_count
    assert space.mixes is not None
    assert space.mixes.include[-2:] == ("single", {"books": 1, "web": 0})
    assert space.engine == EngineSettings(group_size=8, eval_tokens=32_000)


def test_refreshes_of_a_subset_follow_from_the_length_so_each_count_takes_a_run(tmp_path):
    space = read(tmp_path, GOOD + "recipe: {subset: {keep: 30%, measure: loss}}\n")
    assert not space.one_run_gives_every_token_count
    assert ProxySpace.from_mapping(space.to_mapping(), "space.yaml", tmp_path).recipe == space.recipe
    one_step = "corpora: c.yaml\nwidths: [8]\ntokens: [1k]\nrecipe: {subset: {}}\n"
    with pytest.raises(ConfigError, match=r"recipe\.subset: got it for runs of 1000 tokens.*more than 1024 tokens"):
        read(tmp_path, one_step)


@pytest.mark.parametrize("text", [GOOD, FULL, GOOD + "lr: 0.004\nmix: uniform\n"])
def test_written_out_and_read_back_it_is_the_same_space(text):
    raw = loads_yaml(text)
    space = ProxySpace.from_mapping(raw)
    assert ProxySpace.from_mapping(space.to_mapping()) == space
    schema = ProxySpace.json_schema()
    jsonschema.validate(raw, schema)
    assert "lr" not in schema["$defs"]["Recipe"]["properties"]


def test_every_key_is_described():
    schema = ProxySpace.json_schema()
    for name, part in [("space", schema), *schema["$defs"].items()]:
        bare = [key for key, value in part["properties"].items() if not value.get("description")]
        assert not bare, name


def test_spaces_from_before_a_key_are_written_out_as_they_were(tmp_path):
    space = read(tmp_path, GOOD)
    assert {"continue_from", "shares"}.isdisjoint(space.to_mapping())
    assert space.continue_from_path is None
    more = read(tmp_path, GOOD + "continue_from: ../base\nshares: {domain: web, of: [0.5, 0]}\n")
    assert more.continue_from_path == tmp_path / "../base"
    assert more.to_mapping()["shares"] == {"domain": "web", "of": [0.0, 0.5]}


def test_empty_sections_say_nothing(tmp_path):
    text = GOOD + "recipe:\nengine:\nlr:\nmixes:\nsobol:\ntime_budget:\n"
    assert read(tmp_path, text).to_mapping() == read(tmp_path, GOOD).to_mapping()


MIXES = "mixes:\n  sample: 4\n"
SOBOL = "sobol:\n  vary:\n"
BAD = [
    ("", "is empty"),
    ("a: 1\n", ":1: a: unknown key; expected one of corpora, time_budget"),
    ("corpora: c\nsizes: [1k]\n", "tokens: is missing (Training tokens"),
    ("corpora: c\ntokens: [1M]\n", "sizes: is missing; expected parameter counts such as [20k, 60k, 200k], or widths"),
    (GOOD + "widths: [16]\n", ":4: widths: comes beside sizes"),
    (GOOD.replace("[20k, 60k]", "20k"), ":2: sizes: got '20k'; expected a list of 1 to 64 values"),
    (GOOD.replace("[20k, 60k]", "[]"), ":2: sizes: got []; expected a list"),
    (GOOD.replace("60k", "20000"), ":2: sizes: got 20000, 20000; expected each value once"),
    (GOOD.replace("60k", "-1"), ":2: sizes.1: got -1; expected a number that isn't negative"),
    (GOOD.replace("1M", "0"), ":3: tokens.0: got 0; expected a number above 0"),
    (GOOD.replace("sizes: [20k, 60k]", "widths: [12]"), ":2: widths.0: got 12; expected a multiple of 8"),
    (GOOD.replace("sizes: [20k, 60k]", "widths: [8, 0]"), ":2: widths.1: got 0; expected a number of at least 8"),
    (GOOD + "seeds: 0\n", ":4: seeds: got 0; expected a number of at least 1"),
    (GOOD + "seed: -1\n", ":4: seed: got -1; expected a number that isn't negative"),
    (GOOD + "time_budget: 8\n", ":4: time_budget: got 8; expected a duration with its unit"),
    (GOOD + "time_budget: 8m\n", "write min for minutes"),
    (GOOD + "context_length: 4\n", "context_length: got 4; expected a number of at least 8"),
    (GOOD + "depth: 1.5\n", "depth: got 1.5; expected a whole number"),
    (GOOD + "head_width: 1\n", "head_width: got 1; expected a number of at least 2"),
    (GOOD + "ffn_ratio: 0\n", "ffn_ratio: got 0; expected a number above 0"),
    (GOOD + "short_conv: 99\n", "short_conv: got 99; expected a number of at most 64"),
    (GOOD + "tied_embeddings: 1\n", "tied_embeddings: got 1; expected true or false"),
    (GOOD + "batch_sequences: 0\n", "batch_sequences: got 0; expected a number of at least 1"),
    (GOOD + "continue_from: ''\n", ":4: continue_from: got ''; expected text that isn't empty"),
    (GOOD + "shares: {domain: web}\n", ":4: shares.of: is missing (Its shares of the training tokens, from 0 to 1)"),
    (GOOD + "shares: {domain: web, of: [0, 2]}\n", ":4: shares.of.1: got 2; expected a number of at most 1"),
    (GOOD + "shares: {domain: web, of: [0.5, 0.5]}\n", ":4: shares.of: got 0.5, 0.5; expected each value once"),
    (
        GOOD + "selections: [none]\nshares: {domain: web, of: [0.5]}\n",
        ":5: shares: comes beside selections; expected one of the two",
    ),
    (GOOD + "model: ''\n", "model: got ''; expected text that isn't empty"),
    (GOOD + "recipe: {lr: 0.01}\n", ":4: recipe.lr: got 0.01; expected it as lr of the space itself"),
    (GOOD + "recipe: {weight_decy: 0.1}\n", "did you mean recipe.weight_decay?"),
    (GOOD + "recipe: {lr_final: 0.02}\n", ":4: recipe.lr_final: got 0.02; expected at most lr 0.005"),
    (GOOD + "recipe: 3\n", ":4: recipe: got 3; expected a section"),
    (
        GOOD + "lr: {low: 0.001, high: 0.1}\nrecipe: {lr_final: 0.005}\n",
        "lr_final: got 0.005; expected at most lr 0.001",
    ),
    (GOOD + "lr: 0\n", ":4: lr: got 0; expected a learning rate above 0"),
    (GOOD + "lr: fast\n", ":4: lr: got 'fast'; expected a learning rate, or a range {low: 0.003, high: 0.03}"),
    (GOOD + "lr: true\n", ":4: lr: got True; expected a learning rate, or a range"),
    (GOOD + "lr: {low: 0.1, high: 0.01}\n", ":4: lr.high: got 0.01; expected at least low 0.1"),
    (GOOD + "lr: {low: 0.1}\n", ":4: lr.high: is missing (Highest learning rate tried, at width 64)"),
    (GOOD + "lr: {low: -1, high: 1}\n", "lr.low: got -1; expected a number above 0"),
    (GOOD + "lr: {low: 0.1, high: 1, points: 2}\n", "lr.points: got 2; expected a number of at least 3"),
    (
        GOOD + "lr: {low: 0.1, high: 1, sizes: [9k]}\n",
        ":4: lr.sizes: got 9000; expected among the ladder's: 20000, 60000",
    ),
    (GOOD + "mix: naturel\n", ":4: mix: got 'naturel'; expected natural, uniform, or shares such as"),
    (GOOD + "mix: single\n", ":4: mix: got 'single'; expected natural, uniform, or shares"),
    (GOOD + "mix: {}\n", ":4: mix: got {}; expected natural"),
    (GOOD + "mix: {a: 0.5, b: 0.4}\n", ":4: mix: got shares that sum to 0.9; expected 1 within 0.01"),
    (GOOD + "mix: {a: 1.5, b: -0.5}\n", ":4: mix.a: got 1.5; expected a share from 0 to 1"),
    (GOOD + "mix: {a: true}\n", ":4: mix.a: got True; expected a share from 0 to 1"),
    (GOOD + "mixes: natural\n", ":4: mixes: got 'natural'; expected a section"),
    (GOOD + "mixes: {sample: 0}\n", ":4: mixes.sample: got 0 without include; expected some mixes"),
    (GOOD + "mixes: {include: [single, both]}\n", ":4: mixes.include.1: got 'both'; expected natural, uniform, single"),
    (GOOD + "mixes: {include: [{a: 2}]}\n", ":4: mixes.include.0.a: got 2; expected a share from 0 to 1"),
    (GOOD + MIXES + "  concentration: 1\n", ":6: mixes.concentration: got 1; expected a list"),
    (GOOD + MIXES + "  concentration: [0]\n", ":6: mixes.concentration.0: got 0; expected a number of at least 0.01"),
    (
        GOOD + MIXES + "  bounds: {a: {low: 0.5, high: 0.4}}\n",
        ":6: mixes.bounds.a.high: got 0.4; expected at least low 0.5",
    ),
    (GOOD + MIXES + "  bounds: {a: [0, 1]}\n", ":6: mixes.bounds.a: got [0, 1]; expected a section"),
    (GOOD + MIXES + "  sizes: [1]\n", ":6: mixes.sizes: got 1; expected among the ladder's"),
    (GOOD + "sobol: {points: 4}\n", ":4: sobol.vary: is missing"),
    (GOOD + "sobol: {vary: {}}\n", ":4: sobol.vary: got {}; "),
    (GOOD + SOBOL + "    width: {low: 1, high: 2}\n", ":6: sobol.vary.width: got 'width'; expected one of 'lr'"),
    (
        GOOD + SOBOL + "    beta1: {low: 0.5, high: 1}\n",
        ":6: sobol.vary.beta1.high: got 1.0; expected a number below 1",
    ),
    (GOOD + SOBOL + "    beta1: {low: 0.5, high: 0.4}\n", ":6: sobol.vary.beta1.high: got 0.4; expected above"),
    (
        GOOD + SOBOL + "    beta1: {low: 0, high: 0.4, log: true}\n",
        "beta1.low: got 0; expected above 0, as log is true",
    ),
    (
        GOOD + SOBOL + "    batch_sequences: {low: 0.5, high: 4}\n",
        "batch_sequences.low: got 0.5; expected a whole number",
    ),
    (GOOD + SOBOL + "    batch_sequences: {low: 1, high: 4}\n  sizes: [3]\n", ":7: sobol.sizes: got 3; expected among"),
    (GOOD + "engine: {group_size: 0}\n", ":4: engine.group_size: got 0; expected a number of at least 1"),
    (GOOD + "engine: {group_size: all}\n", ":4: engine.group_size: got 'all'; expected 'auto' or a whole number"),
    (GOOD + "engine: {device: tpu}\n", ":4: engine.device: got 'tpu'; expected one of 'auto', 'cpu' or 'cuda'"),
]


@pytest.mark.parametrize(("text", "fragment"), BAD, ids=[fragment for _, fragment in BAD])
def test_what_is_wrong_is_said_with_its_place_and_what_would_be_right(tmp_path, text, fragment):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert fragment in message
    assert str(tmp_path / "space.yaml") in message


def test_all_problems_come_at_once(tmp_path):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, GOOD + "depth: 0\nseeds: 0\nlr: 0\nmix: 3\n")
    assert len(str(caught.value).splitlines()) == 4


def test_a_mapping_is_wanted():
    with pytest.raises(ConfigError, match="expected a mapping with corpora, sizes and tokens"):
        ProxySpace.from_mapping([])  # type: ignore[arg-type]
