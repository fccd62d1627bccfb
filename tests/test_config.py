import importlib.util
from pathlib import Path

import pytest

from semcolor_jax.baselines.registry import checked
from semcolor_jax.config import branches, default, validate
from semcolor_jax.errors import UserError

CONFIGS = Path(__file__).parent.parent / "configs"


def load(name, *args):
    spec = importlib.util.spec_from_file_location(name, CONFIGS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(*args)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda path: path.stem)
def test_every_config_is_valid_and_has_every_field(path):
    config = load(path.stem)
    assert checked(config).to_dict() == config.to_dict()


@pytest.mark.parametrize(
    ("arg", "expected"),
    [
        ("regsoft", ("soft", "reg")),
        ("clasregsoft", ("soft", "reg", "scene")),
        ("segclasregsoft", ("soft", "reg", "scene", "seg")),
        ("runlocal", ("soft", "reg", "scene", "seg")),
        ("regsoft,runlocal", ("soft", "reg")),
    ],
)
def test_full_config_switches_the_ablations_of_table_2(arg, expected):
    assert branches(load("full", arg)) == expected


def test_full_config_is_the_papers():
    config = load("full")
    assert config.data.image_size == 224
    assert config.model.width == 64
    assert config.schedule.stage1_rate == 4e-4
    assert (config.schedule.cycle_high, config.schedule.cycle_low, config.schedule.cycle_epochs) == (
        8e-4,
        1e-5,
        8,
    )


def test_unknown_option_lists_what_exists():
    with pytest.raises(UserError, match="regsoft, clasregsoft, segclasregsoft"):
        load("full", "segsoft")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("model.encoder", "resnet", "vgg_like, vgg16"),
        ("data.source", "internet", "embedded, folder"),
        ("data.batch_size", 0, "above 0"),
        ("augment.flip", 1.5, "0..1"),
        ("inference.temperature", 0.0, r"\(0, 1\]"),
        ("inference.temperature", 1e-38, r"\(0, 1\]"),
    ],
)
def test_a_bad_value_names_the_field_and_what_is_allowed(field, value, said):
    config = default()
    section, name = field.split(".")
    config[section][name] = value
    with pytest.raises(UserError, match=f"config.{field} .*{said}"):
        validate(config)


def test_folder_source_needs_a_folder():
    config = default()
    config.data.source = "folder"
    with pytest.raises(UserError, match=r"config\.data\.dir"):
        validate(config)


def test_the_prior_is_measured_on_up_to_20000_photos():
    assert default().data.prior_images == 20_000
