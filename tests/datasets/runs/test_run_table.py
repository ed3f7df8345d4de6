"""RunTable: what it reads, what it makes of it, what it refuses."""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from foretrain.core.errors import DataWarning, RunTableError, UsageError
from foretrain.datasets.runs.run_table import RunTable

BAD_TABLES = json.loads((Path(__file__).parents[2] / "data" / "bad_tables.json").read_text(encoding="utf-8"))
SHARED = Path(__file__).parents[3].parent / "shared" / "data"
HEADER = "run_id,params,tokens,loss"


def read(tmp_path: Path, text: str, columns: dict[str, str] | None = None) -> RunTable:
    path = tmp_path / "runs.csv"
    path.write_bytes(text.encode("utf-8"))
    return RunTable.read(path, columns)


def noted(table: RunTable, words: str) -> bool:
    return any(words in note for note in table.notes)


# what is refused


@pytest.mark.parametrize("case", BAD_TABLES, ids=[case["id"] for case in BAD_TABLES])
def test_bad_tables_are_refused_by_place_and_value(tmp_path, case):
    with pytest.raises(RunTableError) as error:
        read(tmp_path, case["text"], case.get("columns"))
    assert case["fragment"] in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "runs.csv"))


# what is understood


def test_one_row_and_everything_standard(tmp_path):
    table = read(tmp_path, f"{HEADER}\na,1000000000,20000000000,3.1\n")
    assert (len(table), table.loss_columns, table.domains) == (1, ["loss"], [])
    assert table.column("flops")[0] == 1.2e20
    assert list(table.frame["status"]) == ["ok"]
    assert table.notes == ("made flops from 6 · params · tokens in all rows",)


@pytest.mark.parametrize("cell", ["7B", "7b", "7e9", "7000000000", " 7.0B ", "7000M", "+7e9", "0.007T", "7 B", "7.e9"])
def test_counts_with_suffixes(tmp_path, cell):
    assert read(tmp_path, f"{HEADER}\na,{cell},1.4T,2\n").column("params")[0] == 7e9


def test_some_counts_may_be_zero_and_still_have_a_suffix(tmp_path):
    table = read(tmp_path, f"{HEADER},params_embedding,warmup_steps\na,7B,1T,2,0,2k\nb,7B,1T,2,50M,0\n")
    assert table.column("params_embedding").tolist() == [0, 5e7]
    assert table.column("warmup_steps").tolist() == [2000, 0]


def test_numbers_are_read_to_the_last_bit(tmp_path):
    losses = ["2.0000000000000004", "0.30000000000000004", "3.141592653589793", "1.7976931348623157"]
    table = read(
        tmp_path, HEADER + "\n" + "".join(f"{i},7000T,9456351902178213888,{x}\n" for i, x in enumerate(losses))
    )
    assert table.column("loss").tolist() == [float(x) for x in losses]
    assert table.column("tokens")[0] == 9456351902178213888


@pytest.mark.parametrize(
    ("name", "standard"),
    [
        *((n, "params") for n in ("N", "n", "Model_Size", "n_params", "num params", "Parameters", "size", "Params")),
        *((n, "tokens") for n in ("D", "num_tokens", "n_tokens", "training_tokens", "total-tokens", "TOKENS")),
        *((n, "flops") for n in ("C", "compute", "FLOPs", "train_flops")),
        *((n, "loss") for n in ("val_loss", "eval/loss", "validation_loss", "final_loss", "loss_final", "Test_Loss")),
        *((n, "lr") for n in ("learning_rate", "lr_peak", "peak_lr")),
        *((n, "batch_tokens") for n in ("bs_tokens", "batch_size_tokens")),
        *((n, "num_experts") for n in ("experts", "n_experts")),
    ],
)
def test_aliases_in_any_case(name, standard):
    row = {"params": 1e9, "tokens": 1e10, "flops": 6e19, "loss": 3.0, "lr": 1e-3, "batch_tokens": 1e6, "num_experts": 8}
    named = RunTable.from_frame(pd.DataFrame([row]))
    aliased = RunTable.from_frame(pd.DataFrame([{name if k == standard else k: v for k, v in row.items()}]))
    pd.testing.assert_frame_equal(aliased.frame, named.frame)
    assert noted(aliased, f"read column {name!r} as {standard}")


def test_the_standard_column_wins_over_its_alias(tmp_path):
    table = read(tmp_path, "run_id,params,size,tokens,loss,test_loss\na,190354176,190M,2e9,3.1,9.9\n")
    assert table.column("params")[0] == 190354176
    assert (table.frame["size"][0], table.frame["test_loss"][0]) == ("190M", 9.9)


def test_equal_aliases_do_not_compete(tmp_path):
    table = read(tmp_path, "N,model_size,D,val_loss\n1e9,1B,2e10,3.1\n", {"params": "model_size"})
    assert table.column("N")[0] == 1e9
    assert read(tmp_path, "N,model_size,D,val_loss\n1e9,1000000000,2e10,3.1\n").column("params")[0] == 1e9


def test_mapping_wins_and_keeps_the_column_it_displaces(tmp_path):
    text = "run_id,params,nonemb,tokens,loss,loss_wiki\na,1e9,8e8,2e10,3.1,3.4\n"
    table = read(tmp_path, text, {"params": "nonemb", "loss.wiki": "loss_wiki"})
    assert table.column("params")[0] == 8e8
    assert table.column("params_original")[0] == 1e9
    assert table.loss_columns == ["loss", "loss.wiki"]


def test_perplexity_becomes_nats(tmp_path):
    table = read(tmp_path, "N,D,perplexity\n1e9,2e10,20.085536923187668\n")
    assert table.column("loss")[0] == pytest.approx(3.0, abs=1e-12)
    assert noted(table, "loss is ln(perplexity)")
    mapped = read(tmp_path, "N,D,loss,wiki\n1e9,2e10,3.5,20.085536923187668\n", {"perplexity": "wiki"})
    assert mapped.column("loss")[0] == pytest.approx(3.0, abs=1e-12)
    assert read(tmp_path, "N,D,loss,ppl\n1e9,2e10,3.5,20\n").column("ppl")[0] == 20


def test_a_loss_of_some_domain_is_not_a_target_by_itself(tmp_path):
    table = read(tmp_path, f"{HEADER},loss_wiki\na,1e9,2e10,3.1,3.3\n")
    assert table.loss_columns == ["loss"]
    assert table.column("loss_wiki")[0] == 3.3


@pytest.mark.parametrize(("prefix", "sums"), [("w_", True), ("weight_", True), ("share_", True), ("w_", False)])
def test_weights_are_a_mix_only_if_they_sum_to_one(tmp_path, prefix, sums):
    code = "0.4" if sums else "0.9"
    text = f"{HEADER},weight_decay,{prefix}web,{prefix}code\na,1e9,2e10,3.1,0.1,0.6,{code}\n"
    table = read(tmp_path, text)
    assert table.domains == (["web", "code"] if sums else [])
    assert table.column("weight_decay")[0] == 0.1
    assert sums or noted(table, "don't sum to 1 (line 2)")


def test_mixes_are_renormalised_and_blank_shares_are_zero(tmp_path):
    table = read(tmp_path, f"{HEADER},mix.web,mix.code\na,1e9,2e10,3.1,0.6,0.396\nb,1e9,2e10,3.1,1,\n")
    assert table.column("mix.web").tolist() == [0.6 / 0.996, 1.0]
    assert table.column("mix.code")[1] == 0
    assert noted(table, "renormalised the mix in 1 rows")


def test_k_means_experts_per_token_only_beside_experts(tmp_path):
    assert read(tmp_path, f"{HEADER},k,experts\na,1e9,2e10,3.1,2,64\n").column("experts_per_token")[0] == 2
    alone = read(tmp_path, f"{HEADER},k\na,1e9,2e10,3.1,2\n")
    assert alone.has("k")
    assert not alone.has("experts_per_token")


def test_extra_columns_are_untouched(tmp_path):
    text = f"{HEADER},params_total,params_nonemb,num_experts,tag,zip\na,1e9,2e10,3.1,5e9,8e8,8, x y ,007\n"
    table = read(tmp_path, text)
    assert (table.frame["tag"][0], table.frame["zip"][0]) == (" x y ", "007")
    assert (table.column("params_total")[0], table.column("params_non_embedding")[0]) == (5e9, 8e8)


def test_run_ids_stay_text_and_are_made_where_absent(tmp_path):
    assert list(read(tmp_path, f"{HEADER}\n007,1e9,2e10,3.1\n").frame["run_id"]) == ["007"]
    assert list(read(tmp_path, "N,D,loss\n1e9,2e10,3\n1e9,2e10,3.1\n").frame["run_id"]) == ["row-000001", "row-000002"]
    assert list(read(tmp_path, f"{HEADER}\n,1e9,2e10,3\nb,1e9,2e10,3\n").frame["run_id"]) == ["row-000001", "b"]


# what is derived


def test_flops_are_filled_row_by_row_from_the_active_parameters(tmp_path):
    text = f"{HEADER},params_active,flops\na,8e9,1e10,3.1,2e9,\nb,8e9,1e10,3.1,,\nc,8e9,1e10,3.1,2e9,1.5e20\n"
    table = read(tmp_path, text)
    assert table.column("flops").tolist() == [1.2e20, 4.8e20, 1.5e20]
    assert noted(table, "made flops from 6 · params_active · tokens in 2 rows")


def test_tokens_and_params_follow_from_what_is_there(tmp_path):
    assert read(tmp_path, "N,steps,batch_tokens,loss\n1e9,1000,1M,3\n").column("tokens")[0] == 1e9
    assert read(tmp_path, "N,C,loss\n1e9,6e19,3\n").column("tokens")[0] == 1e10
    assert read(tmp_path, "D,C,loss\n1e10,6e19,3\n").column("params")[0] == 1e9
    assert read(tmp_path, "params_active,D,loss\n1e9,1e10,3\n").column("params")[0] == 1e9


def test_epochs_and_unique_tokens_complete_each_other(tmp_path):
    text = f"{HEADER},unique_tokens,epochs\na,1e9,4e9,3,1e9,\nb,1e9,4e9,3,,2\nc,1e9,4e9,3,,\nd,1e9,4e9,3,1e9,4.05\n"
    table = read(tmp_path, text)
    assert table.column("unique_tokens").tolist() == [1e9, 2e9, 4e9, 1e9]
    assert table.column("epochs").tolist() == [4, 2, 1, 4.05]
    assert not read(tmp_path, f"{HEADER}\na,1e9,4e9,3\n").has("epochs")


def test_stocks_of_domains_give_distinct_tokens_where_some_run_out(tmp_path):
    """A blank stock has no end; a run that uses none up has seen each token once."""
    header = f"{HEADER},mix.web,mix.code,unique_tokens.code"
    table = read(tmp_path, f"{header}\na,1e9,10B,3,0.5,0.5,1B\nb,1e9,10B,3,0.5,0.5,\nc,1e9,10B,3,0.9,0.1,2B\n")
    np.testing.assert_array_equal(table.column("unique_tokens.code"), [1e9, np.nan, 2e9])
    assert table.column("unique_tokens").tolist() == [6e9, 1e10, 1e10]
    np.testing.assert_allclose(table.column("epochs"), [10 / 6, 1, 1])
    assert noted(table, "made unique_tokens from the domains' shares and stocks in 1 rows")
    assert (table.domains, table.loss_columns) == (["web", "code"], ["loss"])


def test_stated_distinct_tokens_stay_beside_stocks_of_domains(tmp_path):
    header = f"{HEADER},mix.web,mix.code,unique_tokens.code,unique_tokens"
    table = read(tmp_path, f"{header}\na,1e9,10B,3,0.5,0.5,1B,6.1B\n")
    assert table.column("unique_tokens").tolist() == [6.1e9]
    plain = read(tmp_path, f"{HEADER},mix.web,mix.code,unique_tokens.code\na,1e9,10B,3,0.5,0.5,8B\n")
    assert not plain.has("unique_tokens"), "nothing runs out, nothing is made"


# one row per run


def test_long_tables_become_one_row_per_run(tmp_path):
    lines = ["b,1e9,2e10,3.1,c4,0.1", "a,2e9,2e10,3.0,c4,0.2", "b,1e9,2e10,3.4,pile,0.3"]
    table = read(tmp_path, f"{HEADER},val_domain,loss_ci\n" + "\n".join(lines) + "\n")
    assert table.loss_columns == ["loss.c4", "loss.pile"]
    assert list(table.frame["run_id"]) == ["b", "a"]
    np.testing.assert_array_equal(table.column("loss.pile"), [3.4, np.nan])
    assert len(table.fit_rows("loss.pile")) == 1
    assert noted(table, "dropped columns that vary with val_domain within a run: loss_ci")
    assert not table.has("val_domain")


def test_long_tables_note_what_disagrees_and_keep_the_worst_status(tmp_path):
    text = f"{HEADER},val_domain,lr,status\na,1e9,2e10,3,c4,1e-3,ok\na,1e9,2e10,3,pile,2e-3,diverged\n"
    table = read(tmp_path, text)
    assert table.column("lr").tolist() == [1e-3]
    assert list(table.frame["status"]) == ["diverged"]
    assert noted(table, "lr differs between rows of one run: kept the first")


def test_long_tables_without_run_ids_group_by_what_describes_the_run(tmp_path):
    table = read(tmp_path, "N,D,loss,val_domain\n1e9,2e10,3,c4\n1e9,2e10,4,pile\n2e9,2e10,2.9,c4\n")
    assert list(table.frame["run_id"]) == ["row-000001", "row-000003"]
    assert table.loss_columns == ["loss.c4", "loss.pile"]


def test_exact_repeats_are_dropped_with_a_note(tmp_path):
    table = read(tmp_path, f"{HEADER}\na,1e9,2e10,3\na,1e9,2e10,3\nb,1e9,2e10,3\n")
    assert len(table) == 2
    assert noted(table, "dropped 1 rows that repeat another row exactly")


# states


@pytest.mark.parametrize(
    ("word", "status"),
    [
        *((word, "ok") for word in ("finished", "FINISHED", "ok", "", "sheet")),
        *((word, "failed") for word in ("crashed", "FAILED", "killed", "running", "oom")),
        *((word, "diverged") for word in ("diverged", "NaN")),
    ],
)
def test_status_words(tmp_path, word, status):
    assert list(read(tmp_path, f"{HEADER},State\na,1e9,2e10,3,{word}\n").frame["status"]) == [status]


def test_lost_runs_are_kept_marked_and_never_fitted(tmp_path):
    lines = ["a,1e9,2e10,3,ok,0", "b,1e9,2e10,9,ok,1", "c,1e9,2e10,,failed,", "d,1e9,2e10,NaN,failed,0"]
    table = read(tmp_path, f"{HEADER},status,diverged\n" + "\n".join(lines) + "\n")
    assert list(table.frame["status"]) == ["ok", "diverged", "failed", "failed"]
    assert list(table.fit_rows("loss").frame["run_id"]) == ["a"]
    assert noted(table, "1 diverged and 2 failed rows are kept and marked")


def test_diverged_or_overfit_is_only_an_extra(tmp_path):
    table = read(tmp_path, f"{HEADER},diverged_or_overfit\na,1e9,2e10,6,1\n")
    assert list(table.frame["status"]) == ["ok"]


# unit slips


@pytest.mark.parametrize(
    ("row", "question"),
    [
        ("a,7,2e10,3,", "line 2, column 'params': 7 is below 10000: are parameters counted in millions or billions"),
        ("a,7e9,300,3,", "are tokens counted in millions or billions"),
        ("a,7e9,2e10,0.05,", "bits per byte, or already normalised"),
        ("a,7e9,2e10,3,1e12", "column 'flops': 1.19e-09 × 6 · params_active · tokens"),
    ],
)
def test_unit_slips_warn(tmp_path, row, question):
    with pytest.warns(DataWarning) as caught:
        read(tmp_path, f"{HEADER},flops\n{row}\nb,7e9,2e10,3,\n")
    assert len(caught) == 1
    assert question in str(caught[0].message)


# the object


@pytest.fixture
def mixed(tmp_path) -> RunTable:
    text = "run_id,params,tokens,loss.web,loss.code,mix.web,mix.code,lr_final,source\n"
    return read(tmp_path, text + "a,1e8,2e10,3,2,0.5,0.5,0,x\nb,1e9,2e10,2.5,,1,0,1e-5,x\nc,1e9,2e10,2.4,1.4,0,1,,y\n")


def test_targets_domains_and_rows_to_fit(mixed):
    assert (mixed.loss_columns, mixed.domains) == (["loss.web", "loss.code"], ["web", "code"])
    assert list(mixed.fit_rows("loss.code").frame["run_id"]) == ["a", "c"]
    with pytest.raises(RunTableError, match=r"no target 'loss'; the targets are loss\.web, loss\.code"):
        mixed.fit_rows("loss")


def test_column_errors_help(mixed):
    with pytest.raises(RunTableError, match=r"no column 'param' \(did you mean 'params'\?\)"):
        mixed.column("param")
    with pytest.raises(RunTableError, match="column 'source' holds text"):
        mixed.column("source")


def test_variation_says_how_much_a_column_varies(mixed):
    assert str(mixed.variation("tokens")) == "column tokens takes one value, 2e+10"
    assert mixed.variation("params").decades == pytest.approx(1)
    assert str(mixed.variation("params")) == "column params takes 2 values, 1e+08 to 1e+09 (1 decades)"
    assert str(mixed.variation("lr_final")) == "column lr_final takes 2 values, 0 to 1e-05"
    assert mixed.varies("params")
    assert not mixed.varies("params", at_least=3)
    assert not mixed.varies("tokens")
    assert not mixed.varies("absent")
    assert not mixed.varies("source")
    assert str(mixed.select([False] * 3).variation("params")) == "column params has no values"


def test_select_takes_only_a_boolean_mask(mixed):
    assert list(mixed.select([True, False, True]).frame["run_id"]) == ["a", "c"]
    for mask in ([0, 1, 1], [True], "abc"):
        with pytest.raises(UsageError, match="expected 3 booleans"):
            mixed.select(mask)


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz", "out.parquet"])
def test_round_trip(tmp_path, mixed, name):
    mixed.write(tmp_path / name)
    again = RunTable.read(tmp_path / name)
    pd.testing.assert_frame_equal(again.frame, mixed.frame)
    assert again.digest() == mixed.digest()


def test_write_refuses_other_types(tmp_path, mixed):
    with pytest.raises(RunTableError, match=r"unknown file type '\.json'"):
        mixed.write(tmp_path / "out.json")


def test_digest_follows_content_and_row_order(mixed):
    assert mixed.digest() == mixed.select([True] * 3).digest()
    assert mixed.digest() != mixed.select([True, True, False]).digest()
    backwards = RunTable.from_frame(mixed.frame.iloc[::-1])
    assert backwards.digest() != mixed.digest()
    changed = mixed.frame.assign(lr=1e-3)
    assert RunTable.from_frame(changed).digest() != mixed.digest()


def test_from_frame_leaves_its_argument_alone():
    frame = pd.DataFrame({"N": ["7B"], "D": ["1.4T"], "ppl": [8.0]}, index=[5])
    before = frame.copy(deep=True)
    RunTable.from_frame(frame)
    pd.testing.assert_frame_equal(frame, before)


# tables of published runs, where a checkout has them


@pytest.mark.parametrize(
    ("name", "rows", "targets", "fit", "domains"),
    [
        ("chinchilla/runs.csv", 245, 1, 245, 0),
        ("datablations/runs.csv", 305, 1, 305, 0),
        ("misfitting/runs.csv", 618, 1, 481, 0),
        ("olmo_ladder/runs.csv", 24, 11, 24, 0),
        ("overtraining/runs.csv", 69, 8, 69, 0),
        ("regmix/train_1m.csv", 512, 13, 512, 17),
        ("regmix/test_1m.csv", 256, 13, 256, 17),
        ("regmix/test_60m.csv", 256, 13, 256, 17),
        ("routing_moe/runs.csv", 195, 1, 195, 0),
        ("steplaw/dense_runs.csv", 1911, 1, 1730, 0),
    ],
)
def test_published_tables(tmp_path, name, rows, targets, fit, domains):
    if not (SHARED / name).is_file():
        pytest.skip(f"no table of published runs at shared/data/{name} beside this checkout")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = RunTable.read(SHARED / name)
    assert (len(table), len(table.loss_columns), len(table.domains)) == (rows, targets, domains)
    assert len(table.fit_rows(table.loss_columns[0])) == fit
    table.write(tmp_path / "again.csv")
    assert RunTable.read(tmp_path / "again.csv").digest() == table.digest()


@pytest.mark.parametrize("name", ["loss_curves/runs.csv", "measured_runs/runs.csv"])
def test_published_tables_of_other_things_are_refused(name):
    if not (SHARED / name).is_file():
        pytest.skip(f"no table of published runs at shared/data/{name} beside this checkout")
    with pytest.raises(RunTableError, match="expected"):
        RunTable.read(SHARED / name)
