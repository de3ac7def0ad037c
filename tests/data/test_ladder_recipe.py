import json
from collections import Counter

import numpy as np
import pytest

from cvqa.data.ladder_recipe import RECIPES, Kind, draw_variants, load_recipe
from cvqa.video.encoders import COMMON_ENCODERS, ENCODERS


def drawn(recipe, number, contents=1, size=(480, 270), fps=25.0):
    kinds = load_recipe(recipe)
    return [draw_variants(kinds, number, np.random.default_rng(content), size, fps) for content in range(contents)]


def test_levels_of_every_encoder_are_spread_and_differ_between_contents():
    contents = drawn("crf", 16, 30)
    assert drawn("crf", 16, 30) == contents
    for encoder in COMMON_ENCODERS:
        settings = ENCODERS[encoder]
        best, worst = settings.ladder
        levels = np.array([sorted(one.level for one in variants if one.encoder == encoder) for variants in contents])
        assert levels.shape == (30, 4)
        assert levels.min() >= best and levels.max() <= worst
        quarters = best + (worst + 1 - best) * (np.arange(4) + 0.5) / 4
        assert abs(levels.mean(0) - quarters).max() < 2.5
        assert all(len(set(column)) > 3 for column in levels.T)
        assert {one.preset for variants in contents for one in variants if one.encoder == encoder} == {settings.preset}


def test_weights_are_met_over_many_contents():
    recipe = [{"encoder": "x264", "weight": 5}, {"encoder": "vp9", "weight": 1.5}, {"encoder": "x265", "weight": 0.5}]
    contents = drawn(recipe, 10, 200)
    assert {len(variants) for variants in contents} == {10}
    counts = Counter(one.encoder for variants in contents for one in variants)
    assert counts["vp9"] / 200 == pytest.approx(10 * 1.5 / 7, rel=0.1)
    assert counts["x265"] / 200 == pytest.approx(10 * 0.5 / 7, rel=0.15)
    per_content = {sum(one.encoder == "vp9" for one in variants) for variants in contents}
    assert per_content == {2, 3}


def test_the_mixed_recipe_holds_every_way_of_encoding():
    variants = [one for variants in drawn("mixed", 18, 100) for one in variants]
    assert len(variants) == 1800
    for field, least in (("encoder", 4), ("rate_control", 3), ("bit_depth", 2), ("frame_step", 2), ("scaler", 3)):
        assert len({getattr(one, field) for one in variants}) == least
    assert len({one.first_encoder for one in variants}) == 5
    assert len({(one.encoded_width, one.encoded_height) for one in variants}) == 5
    for encoder in COMMON_ENCODERS:
        settings = ENCODERS[encoder]
        assert {one.preset for one in variants if one.encoder == encoder} >= set(settings.usual_presets)
    assert all(one.rate_control in ENCODERS[one.encoder].rate_controls for one in variants)


def test_bit_rates_follow_size_and_frame_rate():
    recipe = [{"encoder": "x264", "rate_control": "bitrate", "quality": [0.5, 0.5]}]
    ((whole,),), ((small,),) = drawn(recipe, 1), drawn(recipe, 1, size=(240, 134))
    assert whole.level == pytest.approx(480 * 270 * 25 * np.sqrt(0.3 * 0.015) / 1000, rel=0.01)
    assert small.level == pytest.approx(whole.level * 240 * 134 / (480 * 270), rel=0.01)
    ((half,),) = drawn([{**recipe[0], "frame_step": 2}], 1)
    assert half.level == pytest.approx(whole.level / 2, rel=0.01)


def test_sizes_are_even_and_what_is_small_already_stays():
    recipe = [{"encoder": "x264", "scale": ["1/2", "1/3"]}]
    for variants in drawn(recipe, 4, 5, size=(450, 254)):
        assert {(one.encoded_width, one.encoded_height) for one in variants} == {(224, 128), (150, 84)}
    for variants in drawn(recipe, 4, 5, size=(160, 90)):
        assert {(one.encoded_width, one.encoded_height, one.scaler) for one in variants} == {(160, 90, None)}


def test_what_came_up_is_not_drawn_again():
    (variants,) = drawn([{"encoder": "x264", "preset": ["fast", "slow"], "quality": [0.5, 0.52]}], 8)
    assert len(variants) == 2


def test_names_tell_the_encodes_of_a_source_apart():
    for variants in drawn("mixed", 60, 10):
        assert len({one.name for one in variants}) == len(variants)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_written_down_is_the_same_recipe(name, tmp_path):
    kinds = load_recipe(name)
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps([kind.as_json() for kind in kinds]))
    assert load_recipe(path) == load_recipe(str(path)) == kinds == load_recipe(kinds)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ({"encoder": "xvid"}, "unknown encoder 'xvid'; known: x264"),
        ({"encoder": []}, "needs an encoder"),
        ({"encoder": "x264", "speed": 3}, "unexpected keyword argument 'speed' .known fields: encoder, weight"),
        ({"encoder": ["x264", "svtav1"], "preset": "fast"}, "svtav1 has no preset 'fast'"),
        ({"encoder": "vp9", "rate_control": "qp"}, "vp9 has no rate control 'qp'"),
        ({"encoder": "x264", "rate_control": "vbv"}, "crf, qp, bitrate, not 'vbv'"),
        ({"encoder": "x264", "quality": [1, 0]}, "the better first"),
        ({"encoder": "x264", "scale": "3/2"}, "at most 1"),
        ({"encoder": "x264", "scale": "half"}, "half"),
        ({"encoder": "x264", "bit_depth": 12}, "x264 has no bit_depth 12"),
        ({"encoder": "x264", "weight": 0}, "above 0"),
        ({"encoder": "x264", "frame_step": 0}, "1 or more"),
        ("x264", "kind 2"),
    ],
)
def test_what_is_no_kind_is_named(kind, reason):
    with pytest.raises(ValueError, match=rf"recipe: kind 2: .*{reason}|{reason}"):
        load_recipe([Kind("x264"), kind])


def test_what_is_no_recipe_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="mixd: neither a file nor one of the recipes crf, mixed"):
        load_recipe("mixd")
    path = tmp_path / "recipe.json"
    for text, reason in (
        ("{", "not JSON"),
        ("[]", "no kinds"),
        ('{"encoder": "x264"}', "must be a list"),
        ("3", "list"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=rf"recipe\.json: .*{reason}"):
            load_recipe(path)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ({"encoder": "vvenc", "bit_depth": 10}, "vvenc has no rate control 'crf'"),
        ({"encoder": "vvenc", "rate_control": "qp"}, "vvenc has no bit_depth 8"),
        ({"encoder": "x264", "first_encoder": "mpeg4"}, "mpeg4 has no CRF"),
    ],
)
def test_what_an_encoder_cannot_do_is_refused(kind, reason):
    with pytest.raises(ValueError, match=reason):
        load_recipe([kind])
