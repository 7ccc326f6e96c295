from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import nn

from autoopt.errors import ModelError
from autoopt.plan import Assign, Drop, Edit, Factor, Keep, Tie, from_json, to_json
from autoopt.replay import replay
from tests.strategies import cut_plans


def kept(edits: list[Edit], module: nn.Module) -> Any:
    return replay(nn.Sequential(module), edits).get_submodule("0")


def keep(axis: Any, *indices: int) -> Keep:
    return Keep("0", axis, indices)


def test_a_linear_layer_keeps_rows_and_columns_and_says_its_new_widths():
    layer = nn.Linear(4, 3)
    cut = kept([keep("out", 0, 2), keep("in", 1, 3)], layer)
    assert (cut.in_features, cut.out_features) == (2, 2)
    assert torch.equal(cut.weight, layer.weight[[0, 2]][:, [1, 3]])
    assert torch.equal(cut.bias, layer.bias[[0, 2]])


def test_a_convolution_keeps_channels_on_both_axes():
    layer = nn.Conv2d(4, 6, 3)
    cut = kept([keep("out", 1, 5), keep("in", 0, 3)], layer)
    assert (cut.in_channels, cut.out_channels) == (2, 2)
    assert torch.equal(cut.weight, layer.weight[[1, 5]][:, [0, 3]])


def test_a_transposed_convolution_has_its_axes_the_other_way_round():
    layer = nn.ConvTranspose2d(4, 6, 3)
    cut = kept([keep("out", 1, 5), keep("in", 0, 3)], layer)
    assert torch.equal(cut.weight, layer.weight[[0, 3]][:, [1, 5]])
    assert cut(torch.ones(1, 2, 4, 4)).shape[1] == 2


def test_a_depthwise_convolution_loses_whole_groups():
    layer = nn.Conv2d(6, 6, 3, groups=6)
    cut = kept([keep("out", 0, 1, 4)], layer)
    assert (cut.groups, cut.in_channels, cut.out_channels) == (3, 3, 3)
    x = torch.randn(2, 6, 5, 5)
    torch.testing.assert_close(cut(x[:, [0, 1, 4]]), layer(x)[:, [0, 1, 4]])


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_a_grouped_convolution_with_the_other_inputs_at_zero_computes_the_same(kind):
    layer = kind(8, 4, 3, groups=2)
    inputs, outputs = [0, 3, 5, 6], [1, 2]
    cut = kept([keep("in", *inputs), keep("out", *outputs)], layer)
    x = torch.randn(2, 8, 5, 5)
    x[:, [1, 2, 4, 7]] = 0
    torch.testing.assert_close(cut(x[:, inputs]), layer(x)[:, outputs])
    assert (cut.in_channels, cut.out_channels, cut.groups) == (4, 2, 2)


def test_groups_must_keep_equally_many_channels():
    with pytest.raises(ModelError, match=r"'0'.*each of the 2 groups"):
        kept([keep("in", 0, 1, 4)], nn.Conv2d(8, 4, 3, groups=2))
    with pytest.raises(ModelError, match="each of the 2 groups"):
        kept([keep("out", 0, 1, 4)], nn.GroupNorm(2, 8))


def test_a_batch_norm_keeps_its_statistics():
    layer: Any = nn.BatchNorm1d(4).train()
    layer(torch.randn(8, 4))
    cut = kept([keep("out", 1, 2)], layer)
    assert cut.num_features == 2
    assert torch.equal(cut.running_var, layer.running_var[[1, 2]])
    assert cut.num_batches_tracked == 1


@pytest.mark.parametrize(
    ("layer", "attribute", "value", "x"),
    [
        (nn.BatchNorm2d(4, affine=False), "num_features", 2, torch.randn(1, 2, 3, 3)),
        (nn.LayerNorm(4), "normalized_shape", (2,), torch.randn(3, 2)),
        (nn.LayerNorm((3, 4)), "normalized_shape", (3, 2), torch.randn(5, 3, 2)),
        (nn.LayerNorm(4, bias=False), "normalized_shape", (2,), torch.randn(3, 2)),
        (nn.GroupNorm(2, 4), "num_channels", 2, torch.randn(1, 2, 3)),
        (nn.Embedding(5, 4), "embedding_dim", 2, torch.tensor([1])),
        (nn.PReLU(4), "num_parameters", 2, torch.randn(1, 2)),
    ],
)
def test_norms_embeddings_and_prelus_run_at_their_new_width(layer, attribute, value, x):
    cut = kept([keep("out", 1, 2)], layer)
    assert getattr(cut, attribute) == value
    assert cut.eval()(x).isfinite().all()


def test_a_dropped_module_gives_back_what_it_gets():
    network = replay(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), [Drop("0")])
    assert torch.equal(network(torch.tensor([1.0, 2.0, 3.0])), torch.tensor([1.0, 2.0, 3.0]))


def test_what_stands_for_a_block_takes_whatever_the_block_took():
    class Block(nn.Linear):
        def __init__(self):
            super().__init__(2, 2)
            self.kind = "windowed"

    block: Any = replay(nn.ModuleDict({"a": Block()}), [Drop("a")]).get_submodule("a")
    x = torch.ones(2)
    assert block(x, None, mask=torch.zeros(2)) is x
    assert block(hidden=x, mask=None) is x
    assert block.kind == "windowed"
    assert not list(block.parameters())


def test_indices_count_in_the_module_as_earlier_edits_left_it():
    layer = nn.Linear(2, 5)
    cut = kept([keep("out", 1, 2, 4), keep("out", 2)], layer)
    assert torch.equal(cut.weight, layer.weight[[4]])


def test_the_model_and_its_flags_stay_as_they_were():
    model: Any = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3).eval())
    model[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    network: Any = replay(model, [keep("out", 0), Keep("1", "out", (0,))])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model[0].out_features == 3
    assert not network[0].weight.requires_grad
    assert network[0].bias.requires_grad
    assert (network[0].training, network[1].training) == (True, False)


def tied() -> Any:
    model = nn.ModuleDict({"embed": nn.Embedding(7, 4), "head": nn.Linear(4, 7, bias=False)})
    model["head"].weight = model["embed"].weight
    return model


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"bidirectional": True}], ids=str)
def test_a_recurrent_layer_keeps_hidden_units_with_their_gates(kind, options):
    layer = kind(3, 4, batch_first=True, **options)
    cut = kept([keep("out", 0, 2), keep("in", 1, 2)], layer)
    assert (cut.hidden_size, cut.input_size) == (2, 2)
    # Units whose columns are zero are as good as gone.
    with torch.no_grad():
        for name, weight in layer.named_parameters():
            if name.startswith("weight_ih_l0"):
                weight[:, 0] = 0
            elif name.startswith("weight"):
                weight[:, [i for i in range(weight.shape[1]) if i % 4 in (1, 3)]] = 0
        x = torch.randn(2, 5, 3)
        whole, part = layer(x)[0], cut(x[..., 1:])[0]
    wide = [i for i in range(whole.shape[-1]) if i % 4 in (0, 2)]
    torch.testing.assert_close(part, whole[..., wide])


def test_shared_parameters_stay_shared_when_all_of_them_are_cut_alike():
    network: Any = replay(tied(), [Keep("embed", "out", (0, 2)), Keep("head", "in", (0, 2))])
    assert network["embed"].weight is network["head"].weight
    assert network["head"].in_features == network["embed"].embedding_dim == 2


def test_a_shared_parameter_that_is_cut_in_one_place_only_is_refused():
    with pytest.raises(ModelError, match=r"'head\.weight' shares"):
        replay(tied(), [Keep("embed", "out", (0, 2))])


@pytest.mark.parametrize("indices", [(), (0, 9), (1, 0), (0, 0), (-1,)])
def test_indices_that_do_not_fit_are_named(indices):
    with pytest.raises(ModelError, match=r"'0'.*within 0–2, but got \["):
        kept([keep("out", *indices)], nn.Linear(3, 3))


def test_a_module_that_is_absent_or_of_a_strange_kind_is_named():
    with pytest.raises(ModelError, match=r"'body\.conv', which this model does not have"):
        replay(nn.Sequential(), [Drop("body.conv")])
    with pytest.raises(ModelError, match=r"'0': Softmax cannot be cut; known: .*Linear"):
        kept([keep("out", 0)], nn.Softmax(dim=1))
    with pytest.raises(ModelError, match="drops the whole model"):
        replay(nn.Linear(1, 1), [Drop("")])


def test_a_computed_weight_is_refused():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))
    with pytest.raises(ModelError, match=r"'0'.*parametrization"):
        kept([keep("out", 0)], layer)


@settings(max_examples=40, deadline=None)
@given(case=cut_plans())
def test_a_replayed_plan_gives_the_same_network_from_json_too_and_leaves_the_model_alone(case):
    model, plan = case
    before = {name: value.clone() for name, value in model.state_dict().items()}
    network, again = replay(model, plan), replay(model, from_json(json.loads(as_text(plan))))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert str(network) == str(again)
    for name, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    with torch.no_grad():
        assert network(torch.randn(2, 4)).isfinite().all()


def as_text(plan: tuple[Edit, ...]) -> str:
    return json.dumps(to_json(plan))


def test_every_kind_of_edit_survives_json():
    plan = (
        Keep("a", "in", (1, 3)),
        Drop("b"),
        Assign("c", "heads", 2),
        Factor("d", 4, "spatial"),
        Tie(("e", "f")),
    )
    assert from_json(json.loads(as_text(plan))) == plan
    with pytest.raises(ModelError, match=r"holds keep, drop, .*but got \{'cut': 'a'\}"):
        from_json([{"cut": "a"}])


def test_tied_layers_share_the_mean_of_their_weights_and_keep_their_biases():
    model: Any = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2))
    network: Any = replay(model, [Tie(("0", "1"))])
    assert network[0].weight is network[1].weight
    torch.testing.assert_close(network[0].weight, (model[0].weight + model[1].weight) / 2)
    assert torch.equal(network[1].bias, model[1].bias)
    for names in (("0", "2"), ("0",)):
        with pytest.raises(ModelError, match="at least two with weights of one shape, but got"):
            replay(model, [Tie(names)])


def test_a_number_that_a_module_keeps_about_its_shape_is_set():
    model: Any = nn.Sequential(nn.GroupNorm(4, 8))
    assert replay(model, [Assign("0", "num_groups", 2)]).get_submodule("0").num_groups == 2
    with pytest.raises(ModelError, match="`heads` of the module '0', which must be a whole number"):
        replay(model, [Assign("0", "heads", 2)])


def test_an_absent_module_brings_the_nearest_names():
    with pytest.raises(ModelError, match=r"'stage.conv1'.*the nearest are 'stages.conv1'"):
        replay(
            nn.ModuleDict({"stages": nn.ModuleDict({"conv1": nn.Linear(2, 2)})}),
            [Factor("stage.conv1", 1)],
        )


def test_a_plan_survives_json():
    edits = (Keep("0", "out", (0, 2)), Keep("2", "in", (0, 2)), Drop("1"))
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    x = torch.randn(4, 2)
    assert from_json(to_json(edits)) == edits
    assert torch.equal(replay(model, edits)(x), replay(model, from_json(to_json(edits)))(x))
