"""Published models: a shape that doesn't give the published count would be another model's."""

import pytest
from foretrain.core.errors import ConfigError
from foretrain.datasets.facts.models import model, models, sources
from foretrain.datasets.facts.tokenizers import find_tokenizer


@pytest.mark.parametrize("one", models().values(), ids=list(models()))
def test_every_shape_gives_the_published_count(one):
    if one.name == "gpt-3":
        assert one.shape.params_total == pytest.approx(one.params, rel=1e-3)  # published with four digits
    elif one.notes is None:
        assert one.shape.params_total == one.params
    else:  # norms that a shape has no place for, said in its notes
        assert 0 < one.params - one.shape.params_total < 1e-3 * one.params
    assert set(one.sources) <= sources().keys()
    tokenizer = find_tokenizer(one.tokenizer)
    assert tokenizer is not None
    assert one.shape.vocab_size <= 1.03 * tokenizer.vocab_size  # padding
    assert one.tokens is None or 1 < one.tokens / one.params < 100_000


@pytest.mark.parametrize(
    ("name", "meant"),
    [("Llama 3 8B", "llama-3-8b"), ("llama_3.1_70b", "llama-3-70b"), ("GPT3", "gpt-3"), ("gpt2", "gpt-2")],
)
def test_names_are_found_however_they_are_written(name, meant):
    assert model(name).name == meant


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ConfigError, match="did you mean llama-3-70b"):
        model("llama-3-71b")
    with pytest.raises(ConfigError, match="such as llama-3-8b"):
        model("\x00" * 300)
