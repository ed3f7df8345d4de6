"""Spaces with another token mixer, experts or positions: refused at the wrong key and line, or made as asked."""

import pytest
from foretrain.core.errors import ConfigError
from foretrain.proxies.design.sizes import shapes
from foretrain.proxies.design.space import ProxySpace

pytestmark = pytest.mark.usefixtures("toy_mixers")

LADDERS = ("sizes: [20k, 60k]", "widths: [16, 32]")


def read(tmp_path, ladder, stated):
    (tmp_path / "space.yaml").write_text(f"corpora: corpora.yaml\n{ladder}\ntokens: [1M]\n{stated}\n")
    return ProxySpace.load(tmp_path / "space.yaml")


@pytest.mark.parametrize("ladder", LADDERS)
@pytest.mark.parametrize(
    ("stated", "line", "problem"),
    [
        ("mixer: box", 4, "mixer: got 'box'; no such mixer is installed; did you mean boxes?"),
        ("mixer: {boxes: {heads: 3}}", 4, "mixer.boxes.heads: no setting of the mixer"),
        ("mixer: {boxes: {taps: 200}}", 4, "mixer.boxes.taps: got 200; expected at most context_length 128"),
        ("mixer: boxes\ntaps: 3", 5, "taps: unknown key; a setting of a mixer stands with it"),
        ("mixer: boxes\nhead_width: 16", 5, "head_width: got 16; mixer boxes has no heads: expected it left out"),
        ("mixer: boxes\npositions: rotary", 5, "positions: got rotary; mixer boxes rotates nothing: expected lear"),
        ("mixer: boxes\nmodel: transformer", 5, "model: got transformer, whose mixer is attention, with mixer boxes; "),
        ("model: boxes", 4, "model: got boxes, whose mixer is boxes, with mixer attention; expected mixer: boxes, or "),
        ("context_length: 8\nshort_conv: 9", 5, "short_conv: got 9; expected at most context_length 8"),
        ("num_experts: 4", 4, "num_experts: got 4 without experts_per_token; expected both or neither"),
        ("experts_per_token: 4", 4, "experts_per_token: got 4 without num_experts; expected both or neither"),
        ("expert_ffn_ratio: 1.5", 4, "expert_ffn_ratio: got 1.5 without num_experts; expected both or neither"),
        ("num_experts: 4\nexperts_per_token: 5", 5, "experts_per_token: got 5; expected at most num_experts 4"),
    ],
)
def test_what_no_ladder_can_have_is_refused_when_read(tmp_path, ladder, stated, line, problem):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, ladder, stated)
    assert str(caught.value).startswith(f"{tmp_path / 'space.yaml'}:{line}: {problem}")


def test_a_width_that_groups_do_not_divide_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r":4: mixer\.boxes\.groups: got 3; expected a divisor of width 16$"):
        read(tmp_path, "widths: [16, 24]", "mixer: {boxes: {groups: 3}}")
    space = read(tmp_path, "widths: [24, 48]", "mixer: {boxes: {groups: 3}}")
    assert [shape.width for shape in shapes(space, 256).values()] == [24, 48]


def test_sizes_get_widths_that_groups_divide(tmp_path):
    space = read(tmp_path, "sizes: [40k, 100k, 300k]", "mixer: {boxes: {groups: 3}}")
    found = shapes(space, 256)
    assert all(shape.width % 24 == 0 for shape in found.values())
    for size, shape in found.items():
        widths = [width for width in (shape.width - 24, shape.width + 24) if width]
        others = [space.family(256).of_width(width).params_active for width in widths]
        assert all(abs(shape.params_active - size) <= abs(other - size) for other in others)


@pytest.mark.parametrize("stated", ["[boxes]", "0", "''", "box", "{boxes: {}, bars: {}}"])
def test_of_a_wrong_mixer_nothing_else_is_said(tmp_path, stated):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, LADDERS[0], f"mixer: {stated}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("stated", "learned", "rotates"),
    [
        ("mixer: boxes", False, False),
        ("mixer: boxes\npositions: none", False, False),
        ("mixer: boxes\npositions: learned", True, False),
        ("positions: none", False, False),
        ("positions: learned", True, False),
        ("positions: rotary", False, True),
        ("depth: 3", False, True),
    ],
)
def test_positions_are_what_the_space_says(tmp_path, stated, learned, rotates):
    space = read(tmp_path, "widths: [16]", stated)
    (shape,) = shapes(space, 256).values()
    assert (shape.learned_positions, shape.rotates) == (learned, rotates)
    assert space.model == shape.kind


def test_heads_follow_the_width_where_the_mixer_has_some(tmp_path):
    space = read(tmp_path, "widths: [16, 64]", "mixer: places\nhead_width: 16")
    assert [shape.heads for shape in shapes(space, 256).values()] == [1, 4]
    space = read(tmp_path, "widths: [16, 64]", "mixer: boxes")
    assert [(shape.heads, shape.short_conv) for shape in shapes(space, 256).values()] == [(1, 0), (1, 0)]


def test_sizes_of_experts_count_what_a_token_meets(tmp_path):
    routed = shapes(read(tmp_path, "sizes: [60k, 200k]", "num_experts: 8\nexperts_per_token: 2"), 256)
    for wanted, shape in routed.items():
        assert shape.params_active == pytest.approx(wanted, rel=0.2)
        assert shape.params_total > 2 * wanted
