import pytest

from cvqa import InternVideo2Config


def test_sizes():
    teacher = InternVideo2Config.from_size("1B")
    assert (teacher.hidden_size, teacher.num_hidden_layers, teacher.intermediate_size) == (1408, 40, 6144)
    assert teacher.hidden_act == "gelu_pytorch_tanh" and teacher.token_grid == (8, 16, 16)
    tiny = InternVideo2Config.from_size("Ti", num_frames=16, tubelet_size=2)
    assert (tiny.hidden_size, tiny.token_grid) == (192, (8, 16, 16))


def test_unknown_size_names_the_known_ones():
    with pytest.raises(ValueError, match="Ti, S, B, L, 1B, 6B"):
        InternVideo2Config.from_size("XL")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"num_attention_heads": 5}, "num_attention_heads"),
        ({"image_size": 225}, "patch_size"),
        ({"num_frames": 7, "tubelet_size": 2}, "tubelet_size"),
        ({"patch_initializer": "noise"}, "choose one of cosine, normal"),
        ({"label_kind": "psnr"}, "label_kind"),
        ({"score_min": 5.0, "score_max": 1.0}, "score_min"),
        ({"score_mapping": {"name": "linear", "parameters": [1.0]}}, "score_mapping"),
        ({"score_mapping": {"name": "spline", "parameters": [1.0]}}, "score_mapping"),
        ({"hidden_size": "wide"}, "hidden_size"),
    ],
)
def test_settings_that_do_not_fit_are_refused(fields, reason):
    with pytest.raises(Exception, match=reason):
        InternVideo2Config(**fields)


def test_round_trip_keeps_what_the_score_means(tmp_path):
    config = InternVideo2Config.from_size(
        "S",
        label_kind="dmos",
        higher_is_better=False,
        score_mapping={"name": "logistic4", "parameters": [1.0, 0.0, 0.5, 0.2]},
    )
    config.save_pretrained(tmp_path)
    again = InternVideo2Config.from_pretrained(tmp_path)
    assert again.to_dict() == config.to_dict()
    assert again.score_mapping["name"] == "logistic4" and not again.higher_is_better
    assert again.num_labels == 1 and again.problem_type == "regression"
