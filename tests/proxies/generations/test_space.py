"""The space of chains: what it reads, and what it refuses with file and line."""

import pytest
from foretrain.core.errors import ConfigError
from foretrain.proxies.design.space import ProxySpace
from foretrain.proxies.generations.space import GenerationsSpace

GOOD = "corpora: corpora.yaml\nwidths: [8]\ntokens: [8k]\n"


def read(tmp_path, text):
    (tmp_path / "space.yaml").write_text(text, encoding="utf-8")
    return GenerationsSpace.load(tmp_path / "space.yaml")


def test_a_space_comes_back_as_it_was(tmp_path):
    section = "{count: 5, regimes: [replace, subsample], real_shares: [0, 0.1], generator: {ngram: {order: 4}}}"
    space = read(tmp_path, f"{GOOD}generations: {section}\n")
    mapping = space.to_mapping()
    assert GenerationsSpace.from_mapping(mapping).to_mapping() == mapping
    assert space.generations.chains() == [("replace", 0.0), ("replace", 0.1), ("subsample", 0.0)]
    assert (space.generations.writer, space.generations.generator.order) == ("ngram", 4)
    plain = read(tmp_path, f"{GOOD}generations: {{temperature: 0.9}}\n")
    assert GenerationsSpace.from_mapping(plain.to_mapping()).generations == plain.generations
    assert (plain.generations.writer, plain.generations.sampling().temperature) == ("self", 0.9)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("{count: 0}", "space.yaml:4: generations.count: got 0; expected a number of at least 1"),
        ("{real_shares: [-0.1]}", "space.yaml:4: generations.real_shares.0: got -0.1"),
        ("{real_shares: [0, 1]}", "generations.real_shares.1: got 1, which leaves nothing to write"),
        ("{real_shares: [0.1, 0.1]}", "generations.real_shares.0: got 0.1 twice"),
        ("{real_shares: [0.12345678, 0.1234567]}", "generations.real_shares: got two shares that both read 0.123457"),
        ("{regimes: [fresh], real_shares: [0.5]}", "generations.real_shares: got 0.5 without the regime replace"),
        ("{regimes: [fresh, fresh]}", "got 'fresh' twice"),
        ("{regimes: [forget]}", "generations.regimes.0: got 'forget'; expected one of"),
        ("{temperature: 0, top_p: 0}", "generations.top_p: got 0; expected a number above 0"),
        ("{temperature: 0.0001}", "temperature: got 0.0001"),
        ("{generator: ngram, temperature: 1}", "generations.temperature: goes with the generator self"),
        ("{generator: oracle}", "generations.generator: got 'oracle'; no such generator is installed"),
    ],
)
def test_bad_sections_are_named_with_their_line(tmp_path, section, words):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"{GOOD}generations: {section}\n")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"widths: [8]": "widths: [8, 16]"}, "space.yaml:2: widths: got 2 values; expected one"),
        ({"tokens: [8k]": "tokens: [8k, 9k]"}, "tokens: got 2 values"),
        ({"tokens: [8k]": "tokens: [8k]\nmixes: {sample: 2}"}, "mixes: doesn't go with generations"),
        ({"tokens: [8k]": "tokens: [8k]\nlr: {low: 0.001, high: 0.1}"}, "lr: got a range"),
        ({"generations: {count: 1}": ""}, "generations"),
    ],
)
def test_what_designs_ladders_is_refused(tmp_path, change, words):
    text = f"{GOOD}generations: {{count: 1}}\n"
    for old, new in change.items():
        text = text.replace(old, new)
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert words in str(caught.value)


def test_a_ladder_is_told_which_command_a_section_of_generations_goes_with(tmp_path):
    (tmp_path / "space.yaml").write_text(f"{GOOD}generations: {{count: 1}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"space.yaml:4: generations: goes with `simulate proxies generations`"):
        ProxySpace.load(tmp_path / "space.yaml")
