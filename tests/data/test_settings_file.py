"""Settings in a YAML file: there and back, and what is refused, by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from eventhpe.data.generator import GeneratorConfig
from eventhpe.data.presets import preset_config
from eventhpe.data.settings_file import read_settings, settings_text
from eventhpe.errors import EventHPEError, FormatError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


@pytest.mark.parametrize("preset", ["lab", "wild", "clean", "dhp19", "mmhpsd"])
def test_what_is_written_reads_back(path: Path, preset: str) -> None:
    config = preset_config(preset)
    config = replace(config, supersample=1, wardrobe=replace(config.wardrobe, sleeve=(0.0, 0.2)))
    path.write_text(settings_text(config))
    back = read_settings(path, GeneratorConfig())
    assert back == config and hash(back) == hash(config)
    assert set(yaml.safe_load(path.read_text())) == set(vars(config))


def test_only_what_is_named_changes(path: Path) -> None:
    path.write_text(
        "duration_s: 2\n"  # a whole number where settings have a float
        "ranges: {threshold: [0.2, 0.3], sensor_sizes: [[480, 640]], people: [2, 3]}\n"
        "style: {stay_within_m: null, speed: [1, 1]}\n"
        "wardrobe:\n  hair_weights: [[hat, 1]]\n"
    )
    base = preset_config("wild")
    changed = read_settings(path, base)
    assert changed == replace(
        base,
        duration_s=2.0,
        ranges=replace(base.ranges, threshold=(0.2, 0.3), sensor_sizes=((480, 640),), people=(2, 3)),
        style=replace(base.style, stay_within_m=None, speed=(1.0, 1.0)),
        wardrobe=replace(base.wardrobe, hair_weights=(("hat", 1.0),)),
    )
    assert isinstance(changed.duration_s, float) and isinstance(changed.ranges.people[0], int)
    path.write_text("style: {stay_within_m: 2}\n")
    assert read_settings(path, changed).style.stay_within_m == 2.0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("duration: 2", r"mine\.yaml: unknown setting duration; did you mean duration_s\?"),
        ("ranges: {treshold: [1, 2]}", r"unknown setting ranges\.treshold; did you mean ranges\.threshold\?"),
        ("qqq: 1", r"unknown setting qqq; the fields are duration_s, label_step_us"),
        ("1: 1", r"unknown setting 1;"),
        ("duration_s: fast", r"duration_s must be of the kind of 4\.0; got 'fast'"),
        ("duration_s: true", r"duration_s must be of the kind of 4\.0; got True"),
        ("flow_labels: 1", r"flow_labels must be of the kind of True; got 1"),
        ("supersample: 1.5", r"supersample must be of the kind of 2; got 1\.5"),
        ("ranges: 3", r"ranges must be a mapping of settings; got 3"),
        ("ranges: {threshold: 0.2}", r"ranges\.threshold must be a list such as \[.*\]; got 0\.2"),
        ("ranges: {threshold: [a, b]}", r"ranges\.threshold must be of the kind of 0\.\d+; got 'a'"),
        ("ranges: {people: [1.5, 2]}", r"ranges\.people must be of the kind of 1; got 1\.5"),
        ("style: {stay_within_m: near}", r"style\.stay_within_m must be of the kind of"),
        ("- 1", r"expected a mapping of settings"),
        ("", r"expected a mapping of settings"),
        ("a: [", r"cannot read settings"),
    ],
)
def test_what_is_no_setting_is_refused_by_name(path: Path, text: str, complaint: str) -> None:
    path.write_text(text)
    with pytest.raises(FormatError, match=complaint):
        read_settings(path, GeneratorConfig())


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("ranges: {threshold: [-0.2, 0.4]}", "SceneRanges.threshold"),
        ("ranges: {threshold: [0.5, 0.2]}", "SceneRanges.threshold"),
        ("ranges: {threshold: [0.1, 0.2, 0.3]}", "SceneRanges.threshold"),
        ("ranges: {exposure_dn: [.nan, 100.0]}", "SceneRanges.exposure_dn"),
        ("ranges: {distance_m: [1.0, .inf]}", "SceneRanges.distance_m"),
        ("ranges: {distance_m: [0.2, 3.0]}", "SceneRanges.distance_m"),
        ("ranges: {sensor_sizes: []}", "SceneRanges.sensor_sizes"),
        ("ranges: {people: [0, 1]}", "SceneRanges.people"),
        ("ranges: {shake_share: 1.5}", "SceneRanges.shake_share"),
        ("style: {speed: [0.0, 1.0]}", "StyleRanges.speed"),
        ("wardrobe: {tone: [0.5, 1.5]}", "WardrobeRanges.tone"),
        ("duration_s: -1.0", "GeneratorConfig.duration_s"),
        ("duration_s: .nan", "GeneratorConfig.duration_s"),
        ("duration_s: .inf", "GeneratorConfig.duration_s"),
        ("frame_step_us: 45001", "GeneratorConfig.frame_step_us"),
        ("procedural_share: 2.0", "GeneratorConfig.procedural_share"),
    ],
)
def test_what_settings_refuse_names_its_field(path: Path, text: str, field: str) -> None:
    path.write_text(text)
    with pytest.raises(EventHPEError, match=field.replace(".", r"\.")):
        read_settings(path, GeneratorConfig())


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"nowhere\.yaml: cannot read settings"):
        read_settings(tmp_path / "nowhere.yaml", GeneratorConfig())
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FormatError, match=r"bytes\.yaml: cannot read settings"):
        read_settings(tmp_path / "bytes.yaml", GeneratorConfig())
