"""Plans with another token mixer than attention: what is read, and what is refused with place and remedy."""

import jsonschema
import pytest
from foretrain import RunConfig
from foretrain.core.errors import ConfigError
from foretrain.core.reading.yaml_reader import loads_yaml

SHAPE = "model:\n  architecture:\n    {layers: 2, width: 96, ffn_width: 128, vocab_size: 500, context_length: 64, "
DATA = "}\ndata: {tokens: 1M}\n"

pytestmark = pytest.mark.usefixtures("toy_mixers")


def plan(stated, data=DATA):
    return RunConfig.from_mapping(loads_yaml(SHAPE + stated + data))


@pytest.mark.parametrize("stated", ["mixer: boxes", "mixer: {boxes: {taps: 8}}", "heads: 3, mixer: places"])
def test_a_plan_states_a_mixer_by_name_or_with_its_settings(stated):
    config = plan(stated)
    architecture = config.model.architecture
    assert architecture.kind == architecture.mixer.name == ("places" if "places" in stated else "boxes")
    assert RunConfig.from_mapping(config.to_mapping()) == config
    jsonschema.validate(loads_yaml(SHAPE + stated + DATA), RunConfig.json_schema())


def test_heads_are_required_with_attention_alone():
    schema = RunConfig.json_schema()
    for stated in ("mixer: attention", "mixer: {attention: }", "tied_embeddings: true"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(loads_yaml(SHAPE + stated + DATA), schema)
        with pytest.raises(ConfigError, match=r"model\.architecture\.heads: is missing"):
            plan(stated)


@pytest.mark.parametrize(
    ("stated", "problem"),
    [
        ("mixer: boxes, kv_heads: 2", "kv_heads: got 2 with mixer boxes; attention alone has it: expected it left out"),
        ("mixer: boxes, heads: 2", "heads: got 2; mixer boxes has none: expected it left out"),
        ("mixer: boxes, rotary_positions: true", "rotary_positions: got True with mixer boxes; attention alone has it"),
        ("mixer: box", "mixer: got 'box'; no such mixer is installed; did you mean boxes? expected one of attention,"),
        ("mixer: BOXES", "mixer: got 'BOXES'; no such mixer is installed; did you mean boxes?"),
        ("mixer: transformer", "mixer: got transformer, which is a kind of model; expected its mixer, attention"),
        ("mixer: [boxes]", "mixer: got ['boxes']; expected the name of one mixer, or one name and its settings; known"),
        ("mixer: {boxes: 3}", "mixer.boxes: got 3; expected a section"),
        ("mixer: {boxes: {tap: 3}}", "mixer.boxes.tap: unknown key; did you mean taps?"),
        (
            "mixer: {attention: {groups: 3}}, heads: 3",
            "mixer.attention.groups: unknown key; expected none here (mixer ",
        ),
        ("mixer: {places: {heads: 3}}", "mixer.places.heads: no setting of the mixer; expected it beside mixer"),
        ("mixer: boxes, taps: 3", "taps: unknown key; a setting of a mixer stands with it; expected mixer: {boxes: {t"),
        ("mixer: {boxes: {taps: 65}}", "mixer.boxes.taps: got 65; expected at most context_length 64"),
        ("mixer: {boxes: {groups: 7}}", "mixer.boxes.groups: got 7; expected a divisor of width 96"),
        ("heads: 3, short_conv: 65", "short_conv: got 65; expected at most context_length 64"),
        ("heads: 3, num_experts: 4", "num_experts: got 4 without experts_per_token; expected both or neither"),
    ],
)
def test_what_no_mixer_takes_is_refused_where_it_stands(stated, problem):
    with pytest.raises(ConfigError) as caught:
        plan(stated)
    assert str(caught.value).removeprefix("config: ").startswith(f"model.architecture.{problem}")


@pytest.mark.parametrize(
    ("stated", "problem"),
    [
        ("mixer: places", "got 32; mixer places has weights for 64 places and takes no other context: expected 64"),
        (
            "mixer: {boxes: {taps: 48}}",
            "got 32; model.architecture.mixer.boxes.taps: got 48; expected at most context_length 32",
        ),
    ],
)
def test_a_stage_is_as_long_as_the_mixer_takes(stated, problem):
    stages = "}\ndata: {tokens: 1M, stages: [{}, {tokens: 0.2M, context_length: CONTEXT}]}\n"
    assert len(plan(stated, stages.replace("CONTEXT", "64")).data.stages) == 2
    with pytest.raises(ConfigError) as caught:
        plan(stated, stages.replace("CONTEXT", "32"))
    assert str(caught.value) == f"config: data.stages.1.context_length: {problem}"


@pytest.mark.parametrize(
    ("stated", "columns", "problem"),
    [
        (
            "mixer: boxes",
            "{architecture: hyena}",
            "got 'hyena', but model.architecture.mixer is boxes; expected",
        ),
        ("mixer: boxes", "{architecture: [boxes]}", "got ['boxes']; expected a number or text"),
        ("mixer: boxes", "{architecture: }", "got None; expected a number or text"),
    ],
)
def test_a_column_does_not_gainsay_the_shape(stated, columns, problem):
    with pytest.raises(ConfigError, match=r"columns\.architecture: ") as caught:
        plan(stated, f"{DATA}columns: {columns}\n")
    assert f"columns.architecture: {problem}" in str(caught.value)
    assert plan("heads: 3", f"{DATA}columns: {{architecture: ssm}}\n").columns == {"architecture": "ssm"}
    assert plan(stated, f"{DATA}columns: {{architecture: boxes}}\n").columns == {"architecture": "boxes"}
