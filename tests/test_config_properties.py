"""Any config: through config.json and back, by the command line, refused in a sentence, and compared on resuming."""

import json

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from semcolor_jax.baselines.registry import checked, default_config, method_names
from semcolor_jax.checkpoints.configs import load_config as read_config
from semcolor_jax.checkpoints.configs import save_config
from semcolor_jax.cli.flags import fields, load_config
from semcolor_jax.errors import UserError
from semcolor_jax.training.resume import FREE, check_same_training, differences

quickly = settings(
    deadline=None, max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12)
VALUES = {
    bool: st.booleans(),
    int: st.integers(-(2**40), 2**40),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: words,
    tuple: st.lists(st.integers(0, 10**6), max_size=3).map(tuple),
}
DEFAULTS = {method: default_config(method).lock() for method in method_names()}


def value_of(config, field):
    for part in field.split("."):
        config = config[part]
    return config


def is_number(text):
    """Python reads other scripts' digits, too, and words such as "inf"."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def one_sentence(error):
    assert len(str(error).splitlines()) == 1
    return str(error)


def refusal_of(check, *arguments):
    """The sentence with which a check refuses its arguments; "" where it does not."""
    try:
        check(*arguments)
    except UserError as error:
        return one_sentence(error)
    return ""


@st.composite
def changes(draw, methods=tuple(DEFAULTS)):
    """A method and values for some fields of its config, all different from the defaults."""
    method = draw(st.sampled_from(methods))
    known = [field for field in fields(DEFAULTS[method]) if field != "model.method"]
    changed = draw(st.lists(st.sampled_from(known), unique=True, max_size=6))
    old = {field: value_of(DEFAULTS[method], field) for field in changed}
    return method, {
        field: draw(VALUES[type(value)].filter(lambda new, value=value: new != value)) for field, value in old.items()
    }


def config_of(method, changed):
    config = DEFAULTS[method].copy_and_resolve_references()
    config.update_from_flattened_dict(changed)
    return config


@quickly
@given(changes())
def test_any_config_comes_back_from_its_file(tmp_path, drawn):
    config = config_of(*drawn)
    save_config(tmp_path, config)
    back = read_config(tmp_path)
    assert differences(config, back) == {}
    assert back.to_dict() == config.to_dict()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(words | st.sampled_from(["model", "data", "method", "width", "loss"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@quickly
@given(anything.map(json.dumps) | st.text(max_size=20))
def test_any_other_file_is_a_config_with_defaults_or_one_sentence(tmp_path, text):
    (tmp_path / "config.json").write_text(text, encoding="utf-8", errors="replace")
    try:
        config = read_config(tmp_path)
    except UserError as error:
        one_sentence(error)
    else:
        assert fields(config) == fields(DEFAULTS[config.model.method])


@quickly
@example(("semcolor", {"data.mix": "folder:/photos="}))
@given(changes(methods=("semcolor",)))
def test_any_values_pass_through_the_command_line(drawn):
    method, changed = drawn
    changed = {field: value for field, value in changed.items() if not isinstance(value, tuple)}
    assume(not any(isinstance(value, str) and "~" in value for value in changed.values()))  # a home folder
    config = load_config(None, [f"--config.{field}={value}" for field, value in changed.items()], program="semcolor")
    assert differences(config_of(method, changed), config) == {}


@quickly
@given(
    st.sampled_from(fields(DEFAULTS["semcolor"])), st.sampled_from("abcdefxyz_"), st.sampled_from(["=1", "", "=", "=a"])
)
def test_a_field_that_does_not_exist_is_named(field, letter, rest):
    with pytest.raises(UserError, match=f"config has no field '{field}{letter}'") as refusal:
        load_config(None, [f"--config.{field}{letter}{rest}"], program="semcolor")
    one_sentence(refusal.value)


@quickly
@given(st.data())
def test_what_is_no_number_is_refused_with_the_field(data):
    numbers = [
        name for name in fields(DEFAULTS["semcolor"]) if type(value_of(DEFAULTS["semcolor"], name)) in (int, float)
    ]
    field, text = data.draw(st.sampled_from(numbers)), data.draw(words)
    assume(not is_number(text))
    with pytest.raises(UserError) as refusal:
        load_config(None, [f"--config.{field}={text}"], program="semcolor")
    assert field.split(".")[-1] in one_sentence(refusal.value)


@quickly
@given(changes())
def test_values_are_valid_or_refused_by_a_name(drawn):
    said = refusal_of(checked, config_of(*drawn))
    assert not said or "config." in said


@quickly
@given(changes())
def test_a_resumed_training_names_every_changed_field_that_makes_its_numbers(tmp_path, drawn):
    method, changed = drawn
    save_config(tmp_path, DEFAULTS[method])
    named = {field for field in changed if not any(f"{field}.".startswith(f"{free}.") for free in FREE)}
    if "data.mix" in named:
        assume("," not in changed["data.mix"] and "=" not in changed["data.mix"])  # its folders are free
    said = refusal_of(check_same_training, config_of(method, changed), tmp_path)
    assert {field for field in fields(DEFAULTS[method]) if f"config.{field} was " in said} == named
