from foretrain.core.reading.config_messages import Origins, description, explain, known_keys, suggestion
from foretrain.core.reading.fields import Frozen
from pydantic import Field, ValidationError


class Room(Frozen):
    area_m2: float = Field(description="Floor area.")
    windows: int = 1


class House(Frozen):
    kitchen: Room | None = None
    rooms: dict[str, Room] = Field(default={})
    shares: dict[str, float] = Field(default={})


def test_keys_of_sections_and_of_mappings_of_sections():
    assert known_keys(House) == ["kitchen", "rooms", "shares"]
    assert known_keys(House, ("kitchen",)) == ["area_m2", "windows"]
    assert known_keys(House, ("rooms",)) is None  # any name
    assert known_keys(House, ("rooms", "attic")) == ["area_m2", "windows"]
    assert known_keys(House, ("rooms", "attic", "windows")) is None
    assert known_keys(House, ("shares",)) is None
    assert known_keys(House, ("shares", "attic")) is None
    assert known_keys(House, ("nothing", "there")) is None


def test_descriptions():
    assert description(House, ("rooms", "attic", "area_m2")) == "Floor area."
    assert description(House, ("kitchen", "area_m2")) == "Floor area."
    assert description(House, ("rooms", "attic")) is None


def test_suggestions():
    assert suggestion(House, ("rooms", "attic", "window")) == "did you mean rooms.attic.windows?"
    assert suggestion(House, ("rooms", "attic", "door")) == "expected one of area_m2, windows"
    assert suggestion(House, ("windows",)) == "did you mean kitchen.windows or rooms.<name>.windows?"


def test_each_problem_has_its_place():
    lines = {("rooms",): 1, ("rooms", "attic"): 2, ("rooms", "attic", "windows"): 3}
    try:
        House.model_validate({"rooms": {"attic": {"windows": "x"}}})
    except ValidationError as error:
        text = explain(error, House, Origins("h.yaml", lines))
    assert text.splitlines() == [
        "h.yaml:2: rooms.attic.area_m2: is missing (Floor area)",
        "h.yaml:3: rooms.attic.windows: got 'x'; Input should be a valid integer, unable to parse string as an integer",
    ]
