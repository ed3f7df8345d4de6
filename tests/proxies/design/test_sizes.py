import pytest
from foretrain.core.errors import ConfigError
from foretrain.proxies.design.family import ModelFamily
from foretrain.proxies.design.sizes import shapes
from foretrain.proxies.design.space import ProxySpace
from hypothesis import given, settings
from hypothesis import strategies as st

BYTES = ModelFamily(256, 128, 4, 32, 2.5, 4, False)
families = st.builds(
    ModelFamily,
    vocab_size=st.sampled_from([16, 256, 2048]),
    context_length=st.just(128),
    depth=st.integers(1, 8),
    head_width=st.sampled_from([8, 32, 64]),
    ffn_ratio=st.sampled_from([0.1, 2.5, 4.0]),
    short_conv=st.sampled_from([0, 4]),
    tied_embeddings=st.booleans(),
)


def space(**settings):
    return ProxySpace.from_mapping({"corpora": "c.yaml", "tokens": ["1M"], **settings})


@pytest.mark.parametrize(
    ("width", "heads", "inner"), [(8, 1, 24), (32, 1, 80), (48, 2, 120), (64, 2, 160), (160, 5, 400)]
)
def test_heads_come_near_the_wanted_width(width, heads, inner):
    shape = BYTES.of_width(width)
    assert (shape.heads, shape.ffn_width, shape.layers, shape.short_conv) == (heads, inner, 4, 4)


def test_the_convolution_is_counted():
    without = ModelFamily(256, 128, 4, 32, 2.5, 0, False).of_width(64)
    assert BYTES.of_width(64).params_total - without.params_total == 4 * 64 * 4


@settings(deadline=None, max_examples=40)
@given(families, st.integers(1, 60))
def test_width_grows_with_size_and_no_neighbour_is_nearer(family, step):
    shape = family.of_width(8 * step)
    assert shape.width % shape.heads == 0
    assert (shape.width // shape.heads) % 2 == 0
    assert family.of_size(shape.params_total) == shape
    above = family.of_width(8 * step + 8).params_total
    assert above > shape.params_total
    middle = (shape.params_total + above) / 2
    assert family.of_size(middle - 1).width == shape.width
    assert family.of_size(middle + 1).width == shape.width + 8


def test_sizes_that_cannot_be():
    with pytest.raises(
        ConfigError, match=r"space: sizes: got 5\.00k; the smallest model of depth 4 over 256 tokens has 7\.\d\dk"
    ):
        shapes(space(sizes=["5k"]), 256)
    assert space(sizes=["6.2k"]).family(256).of_size(6200).width == 8
    with pytest.raises(ConfigError, match="expected what a model of width 65536 has, at most"):
        shapes(space(sizes=["900T"]), 256)
    with pytest.raises(ConfigError, match=r"20\.0k and 21\.0k both give width 16, 20\.4k parameters; drop one"):
        shapes(space(sizes=["20k", "21k"]), 256)


def test_a_problem_has_its_line(tmp_path):
    (tmp_path / "s.yaml").write_text("corpora: c\ntokens: [1M]\nsizes: [1k]\n")
    with pytest.raises(ConfigError, match=r"s\.yaml:3: sizes: got 1\.00k"):
        shapes(ProxySpace.load(tmp_path / "s.yaml"), 256)


def test_widths_are_taken_as_they_are():
    found = shapes(space(widths=[64, 16]), 256)
    assert [(key, shape.width) for key, shape in found.items()] == [(16, 16), (64, 64)]
