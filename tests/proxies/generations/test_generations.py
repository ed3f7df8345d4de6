"""Chains trained with the real engine, tiny: what interrupts them costs no bit, and what is lost is named."""

import json
import warnings

import pytest
from foretrain.core.errors import CampaignError, ConfigError, DataWarning
from foretrain.datasets.provenance.provenance import Provenance
from foretrain.datasets.runs.run_table import RunTable
from foretrain.proxies.campaign.group import train_one_group
from foretrain.proxies.executors import Executor, GroupOutcome
from foretrain.proxies.generations.comparison import differences
from foretrain.proxies.generations.generations import Generations

pytestmark = pytest.mark.usefixtures("one_thread")
SOURCE = "{kind: zipf_markov, vocab_size: 32, branching: 4, tokens: 6k}"
SPACE = """
corpora: corpora.yaml
widths: [8]
depth: 1
head_width: 8
context_length: 16
tokens: [1k]
seeds: 2
engine: {compile: never, precision: fp32, device: cpu, eval_tokens: 512}
generations: {count: 2, regimes: [replace, subsample, fresh], real_shares: [0, 0.5], unique_tokens: 1k}
"""


class Here(Executor):
    """Trains in this process; with `groups`, only so many groups until it is interrupted."""

    name = "here"

    def __init__(self, groups=1_000):
        super().__init__()
        self.left = groups

    def run(self, jobs, device):
        for job in jobs:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            yield GroupOutcome(job.group, train_one_group(job.folder, job.group))


def make(folder, space=SPACE, corpora=f"domains: {{toy: {{synthetic: {SOURCE}}}}}"):
    folder.mkdir(exist_ok=True)
    (folder / "corpora.yaml").write_text(corpora)
    (folder / "space.yaml").write_text(space)
    return Generations.create(folder / "chains", folder / "space.yaml")


def losses(chains):
    return {(row.chain, row.generation, row.seed): row.loss_nats for row in chains.losses()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, one_thread):
    """Chains that nothing interrupted."""
    chains = make(tmp_path_factory.mktemp("whole"))
    chains.train(Here())
    return chains


def test_every_chain_has_every_generation_and_its_columns(whole, tmp_path):
    assert whole.status().complete
    assert whole.status().next_step == "all 2 generations are done"
    table = whole.write_table(tmp_path / "runs.csv").frame
    assert len(table) == 2 + 2 * 2 * 4
    later = table[table["generation"] > 0].set_index("run_id")
    assert later.loc["g2-subsample-s1", ["generator", "regime", "synthetic_share"]].tolist() == [
        "self", "subsample", pytest.approx(2 / 3),
    ]  # fmt: skip
    assert later.loc["g1-replace-0.5-s0", ["real_share", "synthetic_share", "unique_tokens"]].tolist() == [
        0.5, 0.5, 992.0,
    ]  # fmt: skip
    assert later.loc["g2-fresh-s0", ["generator", "synthetic_share"]].tolist() == ["none", 0.0]
    first = table[table["generation"] == 0]
    assert set(first["regime"]) == {"real"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # models as tiny as these look like slips
        assert RunTable.read(tmp_path / "runs.csv").digest() == whole.table().digest()
    pairs = differences(whole.losses())
    assert [(pair.first.name, pair.second.name, pair.generation) for pair in pairs][:2] == [
        ("replace 0", "replace 0.5", 1),
        ("replace 0", "replace 0.5", 2),
    ]
    assert all(len(pair.by_seed) == 2 for pair in pairs)


def test_texts_say_who_wrote_them_from_what(whole):
    store = whole.store()
    assert store.domains == ("toy",)
    one, two = (store.text(key).provenance.generator for key in ("g0-s0", "g1-replace-0-s0"))
    assert (one.kind, one.generation, two.generation) == ("self", 1, 2)
    assert one.parent != two.parent
    assert one.digest != two.digest
    real = Provenance(source=store.index.name)  # nothing else is said of the corpus
    assert store.text("fresh-1").provenance == real
    assert store.text("g0-s0").provenance.source == store.index.name
    assert store.text("g1-subsample-s0").documents == 1_000 // 3 // 16


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_an_interruption_anywhere_costs_no_bit(whole, tmp_path, groups):
    chains = make(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        chains.train(Here(groups))
    assert f"`simulate proxies generations {chains.folder}` goes on from there" in chains.status().next_step
    again = Generations.create(chains.folder, tmp_path / "space.yaml")
    again.train(Here())
    assert losses(again) == losses(whole)
    assert again.store().index.texts == whole.store().index.texts


def test_an_interruption_while_text_is_written_costs_no_bit(whole, tmp_path, monkeypatch):
    from foretrain.proxies.generations import writing

    def interrupted(*arguments):
        raise KeyboardInterrupt

    chains = make(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(writing, "sample", interrupted)
        with pytest.raises(KeyboardInterrupt):
            chains.train(Here())
    assert chains.store().texts == ()
    chains.train(Here())
    assert losses(chains) == losses(whole)


def test_a_text_lost_between_generations_is_named_and_written_again_only_if_asked(whole, tmp_path):
    chains = make(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        chains.train(Here(3))
    shard = chains.folder / "tokens" / chains.store().text("g0-s1").shards[0].file
    shard.unlink()
    with pytest.raises(CampaignError) as caught:
        Generations.open(chains.folder).train(Here())
    for words in (
        "1 of the texts that chains are trained on",
        f"g0-s1, text 1 of its chains, written from {chains.folder / 'generation-0' / 'runs' / 'g0-s1'} by seed",
        str(shard),
        f"simulate proxies generations {chains.folder} --write-lost-again",
    ):
        assert words in str(caught.value)
    assert not shard.exists()
    weights = chains.folder / "generation-0/runs/g0-s1/weights.safetensors"
    kept = weights.read_bytes()
    weights.unlink()
    with pytest.raises(CampaignError, match=r"can't write the text of generation 1: .*weights.safetensors"):
        chains.train(Here(), write_lost_again=True)
    weights.write_bytes(kept)
    Generations.open(chains.folder).train(Here(), write_lost_again=True)
    assert losses(chains) == losses(whole)
    shard.unlink()  # all generations are done: it is named nonetheless, and more of them can be asked for
    longer = make(tmp_path, SPACE.replace("count: 2", "count: 3"))
    with pytest.raises(CampaignError, match="1 of the texts that chains are trained on"):
        longer.train(Here(0))
    with pytest.raises(KeyboardInterrupt):
        longer.train(Here(0), write_lost_again=True)
    assert shard.exists()


def test_more_generations_go_on_and_other_chains_are_refused(whole, tmp_path):
    chains = make(tmp_path, SPACE.replace("count: 2", "count: 1"))
    chains.train(Here())
    longer = make(tmp_path)
    assert not longer.status().complete
    longer.train(Here())
    assert losses(longer) == losses(whole)
    with pytest.raises(CampaignError, match="holds chains of another space"):
        make(tmp_path, SPACE.replace("1k}", "2k}"))


def test_more_real_text_than_there_is_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(
        ConfigError, match=r"space\.yaml:10: generations\.unique_tokens: got 3\.00k, which takes 8\.98k"
    ):
        make(tmp_path, SPACE.replace("unique_tokens: 1k", "unique_tokens: 3k"))
    assert not (tmp_path / "chains").exists()


def test_a_generator_of_bytes_needs_bytes(tmp_path):
    chains = make(tmp_path, SPACE.replace("count: 2", "count: 1, generator: ngram"))
    with pytest.raises(ConfigError, match="generator ngram: writes bytes; expected a corpus with the tokenizer bytes"):
        chains.train(Here())


def test_a_run_that_diverged_writes_nothing(tmp_path):
    chains = make(tmp_path, SPACE.replace("seeds: 2", "seeds: 1\nlr: 100"))
    with pytest.raises(CampaignError, match=r"g0-s0: the run diverged at step \d+, so it can't write"):
        chains.train(Here())
    assert "fresh-1" not in chains.store().texts


def test_a_filter_puts_real_text_in_the_place_of_what_is_marked(tmp_path):
    (tmp_path / "mark.yaml").write_text("{key: 9f86d081884c7d659a2feaa0c55ad015, delta: 50, vocab_size: 32}")
    marked = (
        "real_shares: [0], unique_tokens: 1k, watermark: mark.yaml, filter: {watermark: {keys: mark.yaml, alpha: 0.01}}"
    )
    section = f"generations: {{count: 1, regimes: [replace], {marked}}}"
    space = SPACE.replace(SPACE.splitlines()[-1], section).replace("context_length: 16", "context_length: 32")
    chains = make(tmp_path, space)
    chains.train(Here())
    text = chains.store().text("g0-s0")
    assert 0.9 < text.replaced / text.documents <= 1
    row = chains.table().frame.set_index("run_id").loc["g1-replace-0-s0"]
    assert row["synthetic_share"] == pytest.approx(1 - text.replaced / text.documents)
    assert "9f86d081" not in (chains.folder / "generations.json").read_text()
    (tmp_path / "mark.yaml").write_text("{key: 0000d081884c7d659a2feaa0c55ad015, vocab_size: 32}")
    longer = make(tmp_path, space.replace("count: 1", "count: 2"))
    with pytest.raises(CampaignError, match="the keys of its watermarks have changed"):
        longer.train(Here())


def test_the_command_tells_what_chains_came_to(whole, run):
    done = run("proxies", "generations", whole.folder, "--table", "runs.csv", "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["complete"]
    assert {row["regime"] for row in facts["losses"]} == {"real", "replace", "subsample", "fresh"}
    assert {(pair["first"], pair["second"]) for pair in facts["differences"]} == {
        ("replace 0", other) for other in ("replace 0.5", "subsample", "fresh")
    }
    assert facts["table"] == "runs.csv"
    assert facts["texts"]["g0-s0"]["provenance"]["generator"]["kind"] == "self"


def test_the_command_writes_a_report(whole, call_in, tmp_path):
    done = call_in(tmp_path, "proxies", "generations", whole.folder, "--table", "runs.csv", "--report", "told.md")
    assert done.returncode == 0, done.stderr
    told = (tmp_path / "told.md").read_text()
    rise = sum(row.rise_nats for row in whole.losses() if row.generation == 2 and row.chain == ("replace", 0.0)) / 2
    assert f"{rise:+.3f}".replace("-", "−") in told
    assert f"{rise:+.3f}".replace("-", "−") in done.stdout
    assert "for generation 2" in told
    refused = call_in(tmp_path, "proxies", "generations", whole.folder, "--report", "told.txt")
    assert refused.returncode == 2
    assert ".html, .md, .pdf" in refused.stderr
