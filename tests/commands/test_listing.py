"""`simulate list`: what a plan may name and state, as a table and as JSON with the same facts."""

import json

import pytest
from foretrain import RunConfig
from foretrain.simulator.config.starting.known import KNOWN, known
from foretrain.simulator.config.starting.plan_fields import plan_fields


def test_the_command_lists(run):
    shown, found = run("list", "models"), run("list", "models", "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    names = [one["name"] for one in json.loads(found.stdout)["models"]]
    assert "llama-3-8b" in names
    assert all(f"\n{name} " in shown.stdout for name in names)


@pytest.mark.parametrize("kind", sorted(KNOWN))
def test_each_kind_is_a_table_and_json_with_the_same_names(call, kind):
    shown, found = call("list", kind), json.loads(call("list", kind, "--json").stdout)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert found == json.loads(json.dumps(known(kind)))
    for one in found[kind]:
        assert (one.get("name") or one["path"]) in shown.stdout
        assert kind == "fields" or one["sources"]


def test_prices_are_listed_with_their_day_and_source(call):
    lines = call("list", "prices").stdout.splitlines()
    for one in known("prices")["prices"]:
        (line,) = (line for line in lines if line.startswith(one["name"] + " "))
        assert one["date"] in line
        assert one["sources"][0].partition(":")[0] in line


def test_an_unknown_kind_is_refused(call):
    refused = call("list", "modles")
    assert refused.returncode == 2
    assert "is not one of" in refused.stderr


def test_the_fields_say_what_they_hold():
    fields = {one.path: one for one in plan_fields()}
    assert all(one.description and one.type for one in fields.values())
    needed = {path for path, one in fields.items() if one.required and path.startswith(("model.", "data."))}
    assert {path for path in needed if path.count(".") == 1} == {"data.tokens"}
    assert fields["post_training.method"].required  # of a plan that states the section
    assert fields["optim.lr"].type == "number"
    assert (fields["model.params"].type, fields["model.params"].unit) == ("count", "parameters")
    assert fields["layout.dp"].default == "count / (tp · pp · cp)"
    assert fields["reliability.restart"].type == "duration"
    assert fields["targets.deadline"].type == "duration, or date"
    assert fields["data.mix"].type == "mapping to share"
    assert fields["hardware.accelerator"].type == "text, or mapping"
    assert "data.val_domain" not in fields  # a former name
    assert fields["columns.architecture"].description.startswith("kind of model")


def test_every_field_of_a_plan_is_listed():
    plan = {"model": {"params": "7B"}, "data": {"tokens": "2T"}, "layout": {}}
    listed = {one.path for one in plan_fields()}
    for section, held in RunConfig.from_mapping(plan).to_mapping().items():
        for key in held if isinstance(held, dict) else ():
            path = f"{section}.{key}"
            assert path in listed or path in ("model.architecture", "data.val_domain"), path
        assert isinstance(held, dict) or section in listed
