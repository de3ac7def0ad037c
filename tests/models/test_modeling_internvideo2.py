"""The models against the numbers of the reference implementation, and as citizens of transformers."""

import json
import math

import pytest
import skimage.data
import torch
from safetensors.torch import load_file

from cvqa.models import (
    InternVideo2Config,
    InternVideo2ForVideoQualityAssessment,
    InternVideo2Model,
    modeling_internvideo2,
)
from cvqa.models.convert_internvideo2 import convert_state_dict


VARIANTS = ["base", "sep_pos_embed", "tubelet2", "ratio_1b"]
TINY = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "pooling_num_heads": 4,
    "image_size": 56,
    "num_frames": 4,
    "layer_scale_init_value": 0.1,
}
TOKENS, FEATURES = 2e-5, 5e-6  # absolute tolerances stated with the reference numbers


@pytest.fixture(scope="module")
def tensors(golden):
    return load_file(golden / "internvideo2_tiny.safetensors")


@pytest.fixture(scope="module")
def facts(golden):
    return json.loads((golden / "internvideo2_tiny.json").read_text())


def reference_model(tensors, facts, variant, hidden_act="gelu", attention="sdpa"):
    official = facts["variants"][variant]["config"]
    config = InternVideo2Config(
        hidden_size=official["embed_dim"],
        num_hidden_layers=official["depth"],
        num_attention_heads=official["num_heads"],
        mlp_ratio=official["mlp_ratio"],
        image_size=official["img_size"],
        num_frames=official["num_frames"],
        tubelet_size=official["tubelet_size"],
        pooling_num_heads=official["attn_pool_num_heads"],
        feature_size=official["clip_embed_dim"],
        separate_position_embeddings=official["sep_pos_embed"],
        layer_scale_init_value=official["init_values"],
        hidden_act=hidden_act,
    )
    model = InternVideo2ForVideoQualityAssessment._from_config(config, attn_implementation=attention).eval()
    prefix = facts["variants"][variant]["key_prefix"] + "weights."
    weights = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    model.load_state_dict(convert_state_dict(weights))
    return model


def assert_close(ours, reference, tolerance):
    torch.testing.assert_close(ours, reference, atol=tolerance, rtol=0)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("hidden_act", ["gelu", "gelu_pytorch_tanh"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_outputs_equal_the_reference(tensors, facts, variant, hidden_act, attention):
    model = reference_model(tensors, facts, variant, hidden_act, attention)
    group = "outputs" if hidden_act == "gelu" else "outputs_gelu_tanh"
    expected = {
        name.removeprefix(prefix): tensor
        for prefix in [f"{facts['variants'][variant]['key_prefix']}{group}."]
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
    pixels = tensors["pixel_values"].transpose(1, 2)  # to (batch, frames, channels, height, width)
    with torch.inference_mode():
        output = model(pixels, output_hidden_states=True)
        backbone = model.internvideo2(pixels)
        patches = model.internvideo2.embeddings.patch_embeddings(pixels).flatten(2, 3)
    if hidden_act == "gelu":
        assert_close(patches, expected["patch_embed"], TOKENS)
        assert_close(output.hidden_states[0], expected["embeddings"], TOKENS)
    for index, states in enumerate(output.hidden_states[1:]):
        assert_close(states, expected[f"block_{index}"], TOKENS)
    assert_close(backbone.last_hidden_state, output.hidden_states[-1], TOKENS)
    assert_close(backbone.pooler_output, expected["clip_projector"], FEATURES)
    assert_close(output.quality_features, expected["fc_norm"], FEATURES)
    assert_close(output.logits, expected["logits"], FEATURES)


def test_parts_of_a_block_equal_the_reference(tensors, facts):
    model = reference_model(tensors, facts, "base")
    layer = model.internvideo2.layers[0]
    parts = {
        "norm1": layer.norm1,
        "attn.q_norm": layer.attention.q_norm,
        "attn.k_norm": layer.attention.k_norm,
        "attn": layer.attention,
        "ls1": layer.layer_scale1,
        "norm2": layer.norm2,
        "mlp": layer.mlp,
        "ls2": layer.layer_scale2,
    }
    seen = {}
    for name, module in parts.items():
        module.register_forward_hook(
            lambda module, args, output, name=name: seen.update({name: output[0] if name == "attn" else output})
        )
    with torch.inference_mode():
        model(tensors["pixel_values"].transpose(1, 2))
    for name in parts:
        assert_close(seen[name], tensors[f"outputs.block_0.{name}"], TOKENS)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_rms_norm_equals_the_reference(tensors, dtype):
    weight = tensors["unit.rmsnorm.weight" + ("_bf16" if dtype == "bf16" else "")]
    norm = modeling_internvideo2.InternVideo2RMSNorm(weight.shape[0], eps=1e-6).to(weight.dtype)
    norm.weight.data.copy_(weight)
    output = norm(tensors[f"unit.rmsnorm.input_{dtype}"])
    assert_close(output, tensors[f"unit.rmsnorm.output_{dtype}"], 0 if dtype == "bf16" else 1e-6)


@pytest.mark.parametrize("gamma", ["bf16", "fp32"])
def test_layer_scale_multiplies_in_float32(tensors, gamma):
    scale = modeling_internvideo2.InternVideo2LayerScale(InternVideo2Config(**TINY))
    scale.gamma = torch.nn.Parameter(tensors[f"unit.layerscale.gamma_{gamma}"])
    output = scale(tensors["unit.rmsnorm.input_bf16"])
    name = "unit.layerscale.output_bf16" + ("" if gamma == "bf16" else "_from_fp32_gamma")
    assert_close(output, tensors[name], 0)


def test_epsilons_of_pooling_and_feature_norm(tensors, facts):
    model = reference_model(tensors, facts, "base")
    with torch.inference_mode():
        pooled = model.internvideo2.pooler(tensors["unit.pool_low_variance.input"])
        normed = model.fc_norm(tensors["unit.fc_norm_low_variance.input"])
    # Values are of order 1 here and a wrong epsilon moves them by 0.8.
    assert_close(pooled, tensors["unit.pool_low_variance.output"], 1e-4)
    assert_close(normed, tensors["unit.fc_norm_low_variance.output"], 1e-4)


def test_position_tables_equal_the_reference(golden):
    tables = load_file(golden / "pos_embed.safetensors")
    facts = json.loads((golden / "pos_embed.json").read_text())
    makers = {
        "sincos1d": lambda t: modeling_internvideo2.get_1d_sincos_position_embeddings(
            t["dim"], torch.arange(t["frames"])
        ),
        "sincos2d": lambda t: modeling_internvideo2.get_2d_sincos_position_embeddings(t["dim"], t["grid"], t["grid"]),
        "sincos3d": lambda t: modeling_internvideo2.get_3d_sincos_position_embeddings(
            t["dim"], t["grid"], t["frames"], t["leading_zero_row_for_cls"]
        ),
    }
    for name, table in facts["tables"].items():
        assert_close(makers[name.split(".")[0]](table), tables[name], 2e-6)


def test_resized_position_tables_equal_the_reference(golden):
    tables = load_file(golden / "pos_embed.safetensors")
    facts = json.loads((golden / "pos_embed.json").read_text())
    checked = 0
    for name, case in facts["interpolation"].items():
        if "from" not in case or "output" not in case:
            continue
        source = (case["from"]["frames"], case["from"]["grid"], case["from"]["grid"])
        target = (case["to"]["tokens_in_time"], case["to"]["grid"], case["to"]["grid"])
        resized = modeling_internvideo2.resize_position_embeddings(tables[case["input"]], source, target)
        torch.testing.assert_close(resized, tables[case["output"]], atol=1e-6, rtol=0, msg=name)
        checked += 1
    assert checked == 7


def test_separate_temporal_table_is_resized_like_the_reference(golden):
    tables = load_file(golden / "pos_embed.safetensors")
    source, expected = (  # of width 24, side by side to a width that a model can have
        tables[f"interp.{name}"].repeat(1, 1, 2) for name in ("input.temporal_t8", "output.temporal_t8_to_t16")
    )
    config = InternVideo2Config(**{**TINY, "num_frames": 8}, separate_position_embeddings=True)
    embeddings = InternVideo2Model(config).embeddings
    embeddings.temporal_position_embeddings.data.copy_(source)
    embeddings.spatial_position_embeddings.data.zero_()
    table = embeddings.get_position_embeddings((16, 4, 4))[:, 1:].unflatten(1, (16, 16))
    assert_close(table[:, :, 0], expected, 1e-6)


def test_a_table_of_another_length_is_refused():
    with pytest.raises(ValueError, match="1025 rows"):
        modeling_internvideo2.resize_position_embeddings(torch.zeros(1, 1025, 16), (8, 16, 16), (8, 16, 16))


@pytest.mark.parametrize("size", ["S", "B", "L", "1B", "6B"])
def test_parameter_counts_equal_the_published_ones(size, fixtures):
    expected = json.loads((fixtures / "params_flops.json").read_text())["models"][size]["parameters"]
    with torch.device("meta"):
        model = InternVideo2ForVideoQualityAssessment(InternVideo2Config.from_size(size))
    assert model.num_parameters() == expected


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("separate", [False, True])
def test_other_frame_counts_and_sizes_run(separate, attention):
    config = InternVideo2Config(**TINY, separate_position_embeddings=separate)
    model = InternVideo2ForVideoQualityAssessment._from_config(config, attn_implementation=attention).eval()
    for frames, height, width in [(4, 56, 56), (8, 56, 84), (2, 112, 70), (1, 14, 14)]:
        with torch.inference_mode():
            output = model(torch.rand(2, frames, 3, height, width), output_hidden_states=True)
        assert output.hidden_states[0].shape == (2, 1 + frames * height * width // 14**2, 48)
        assert output.logits.shape == (2, 1) and output.logits.isfinite().all()


def test_clips_that_do_not_divide_are_refused():
    model = InternVideo2Model(InternVideo2Config(**TINY, tubelet_size=2))
    with pytest.raises(ValueError, match="3 frames of 56x56"):
        model(torch.rand(1, 3, 3, 56, 56))
    with pytest.raises(ValueError, match="4 frames of 57x56"):
        model(torch.rand(1, 4, 3, 57, 56))
    with pytest.raises(ValueError, match=r"batch, frames, channels"):
        model(torch.rand(1, 3, 4, 56, 56))


def test_chosen_hidden_states_and_attentions():
    model = InternVideo2ForVideoQualityAssessment._from_config(InternVideo2Config(**TINY), attn_implementation="eager")
    output = model(torch.rand(1, 4, 3, 56, 56), output_hidden_states=[1], output_attentions=True)
    assert output.hidden_states[1].shape == (1, 65, 48)
    assert all(state is None for layer, state in enumerate(output.hidden_states) if layer != 1)
    assert [weights.shape for weights in output.attentions] == [(1, 4, 65, 65)] * 2
    torch.testing.assert_close(output.attentions[0].sum(-1), torch.ones(1, 4, 65))


def test_activation_checkpointing_gives_the_same_gradients():
    torch.manual_seed(0)
    model = InternVideo2ForVideoQualityAssessment(InternVideo2Config(**TINY)).train()
    clip, labels = torch.rand(2, 4, 3, 56, 56), torch.tensor([0.2, 0.9])
    model(clip, labels=labels).loss.backward()
    plain = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    model.gradient_checkpointing_enable()
    model(clip, labels=labels).loss.backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, plain[name], msg=name)


def test_drop_path_grows_with_depth_and_only_acts_in_training():
    config = InternVideo2Config(**{**TINY, "num_hidden_layers": 3}, drop_path_rate=0.4)
    model = InternVideo2ForVideoQualityAssessment(config)
    assert [layer.drop_path.drop_prob for layer in model.internvideo2.layers] == pytest.approx([0.0, 0.2, 0.4])
    clip = torch.rand(4, 4, 3, 56, 56)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(clip).logits, model(clip).logits)
        assert not torch.equal(model.train()(clip).logits, model(clip).logits)


def test_drop_path_keeps_the_expectation():
    torch.manual_seed(0)
    drop = modeling_internvideo2.InternVideo2DropPath(0.3).train()
    output = drop(torch.ones(20000, 1, 2))
    assert output.mean().item() == pytest.approx(1.0, abs=0.02)
    assert output.unique().tolist() == pytest.approx([0.0, 1 / 0.7])


def test_fresh_weights():
    torch.manual_seed(0)
    config = InternVideo2Config(**{**TINY, "hidden_size": 192, "num_hidden_layers": 4})
    model = InternVideo2ForVideoQualityAssessment(config)
    for index, layer in enumerate(model.internvideo2.layers):
        assert layer.mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert layer.mlp.fc2.weight.std().item() == pytest.approx(0.02 / math.sqrt(2 * (index + 1)), rel=0.05)
        assert layer.layer_scale2.gamma.unique().item() == pytest.approx(0.1)
    table = modeling_internvideo2.get_3d_sincos_position_embeddings(192, 4, 4)
    torch.testing.assert_close(model.internvideo2.embeddings.position_embeddings[0], table)
    with torch.inference_mode():
        logits = model.eval()(torch.randn(8, 4, 3, 56, 56)).logits
    assert logits.mean().item() == pytest.approx(0.5, abs=0.2) and logits.std() > 0


def test_fresh_patch_kernels_show_detail_and_brightness_at_like_strength():
    photograph = torch.from_numpy(skimage.data.astronaut()[:504, :504]).permute(2, 0, 1)[None, None] / 255
    config = InternVideo2Config(**{**TINY, "hidden_size": 192, "num_frames": 1})
    embeddings = InternVideo2Model(config).embeddings.patch_embeddings
    spread = embeddings(2 * photograph - 1)[0].flatten(0, 2).std(dim=0)[:168]  # luma channels, from low to high
    assert spread.max() / spread.min() < 50
    # The same photograph without its finest detail: the channels of high frequencies must see the difference.
    blurred = torch.nn.functional.avg_pool2d(photograph[0], 3, stride=1, padding=1)[None]
    change = spread - embeddings(2 * blurred - 1)[0].flatten(0, 2).std(dim=0)[:168]
    assert (change / spread)[-40:].mean() > 0.5 > (change / spread)[:5].mean()


def test_fresh_patch_kernels_may_be_like_other_weights():
    torch.manual_seed(0)
    kernels = InternVideo2Model(InternVideo2Config(**TINY, patch_initializer="normal")).embeddings.patch_embeddings
    assert kernels.projection.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_save_and_load_keep_every_weight_and_fill_missing_ones(tmp_path):
    torch.manual_seed(0)
    model = InternVideo2ForVideoQualityAssessment(InternVideo2Config(**TINY, score_max=5.0, label_kind="mos")).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(tmp_path / "full")
    again = InternVideo2ForVideoQualityAssessment.from_pretrained(tmp_path / "full").eval()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert again.config.score_max == 5.0

    model.internvideo2.save_pretrained(tmp_path / "backbone")
    fresh, info = InternVideo2ForVideoQualityAssessment.from_pretrained(tmp_path / "backbone", output_loading_info=True)
    assert info["missing_keys"] == {"fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias"}
    assert torch.equal(fresh.fc_norm.weight, torch.ones(768)) and torch.equal(fresh.head.bias, torch.full((1,), 0.5))
    assert torch.equal(fresh.internvideo2.layers[1].mlp.fc2.weight, model.internvideo2.layers[1].mlp.fc2.weight)


@pytest.mark.parametrize(
    ("settings", "logits", "expected"),
    [
        ({}, [0.0, 0.37, 1.0, 1.4], [0.0, 37.0, 100.0, 100.0]),
        ({"higher_is_better": False, "label_kind": "dmos"}, [0.1, 0.9], [90.0, 10.0]),
        ({"score_mapping": {"name": "linear", "parameters": [0.5, 0.25]}}, [0.0, 1.0], [25.0, 75.0]),
        ({"score_mapping": {"name": "logistic4", "parameters": [1.0, 0.0, 0.5, -0.1]}}, [0.5, 5.0], [50.0, 100.0]),
    ],
)
def test_quality_score_is_0_to_100_higher_is_better(settings, logits, expected):
    model = InternVideo2ForVideoQualityAssessment(InternVideo2Config(**TINY, **settings))
    scores = model.quality_score(torch.tensor(logits)[:, None])
    torch.testing.assert_close(scores, torch.tensor(expected))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_on_a_gpu_stays_close(dtype):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.manual_seed(0)
    model = InternVideo2ForVideoQualityAssessment(InternVideo2Config.from_size("S")).eval()
    clip = torch.randn(2, 8, 3, 224, 224)
    with torch.inference_mode():
        full = model.cuda()(clip.cuda()).quality_features
        half = model.to(dtype)(clip.cuda()).quality_features.float()
    assert torch.nn.functional.cosine_similarity(full, half).min() > 0.99
