"""Distillation that looks inside, has several teachers, or goes the other way first."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autoopt.errors import ModelError, RefusedError
from autoopt.replay import replay
from autoopt.task import Inputs, make_task
from autoopt.task.form import form_of
from autoopt.task.language import NextTokenLoss
from autoopt.task.loss import IGNORED_CLASS, CrossEntropy
from autoopt.techniques import _training, load_technique
from autoopt.techniques._guide import Guide, Pair, paired
from autoopt.techniques._training import train
from autoopt.techniques.distill import blended, soft_targets
from autoopt.techniques.distill_ensemble import DistillEnsemble, mean_outputs
from autoopt.techniques.distill_inside import (
    Attention,
    DistillAttention,
    DistillFeatures,
    Features,
)
from autoopt.techniques.distill_logits import DistillLogits
from autoopt.techniques.distill_reversed import DistillReversed
from autoopt.techniques.students import WidthStudent
from tests.architectures import digits, table, trained_task, untrained_task
from tests.technique_models import HERE, task_of

INSIDE = (DistillFeatures, DistillAttention)


def half(task: Any) -> nn.Module:
    return replay(task.model, WidthStudent(0.5).edits(task.model, task))


def hooks(network: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


def test_the_blend_weighs_imitation_against_the_labels() -> None:
    task = task_of("residual")
    teacher, outputs = torch.randn(8, 4), torch.randn(8, 4)
    targets, rows = torch.arange(8) % 4, torch.arange(8).flip(0)
    found = blended(task, teacher, F.mse_loss, 0.25)(outputs, targets, rows, ())
    by_hand = 0.25 * F.mse_loss(outputs, teacher.flip(0)) + 0.75 * F.cross_entropy(outputs, targets)
    torch.testing.assert_close(found, by_hand)


@pytest.mark.parametrize("given", [False, True], ids=["ours", "own"])
@pytest.mark.parametrize("divergence", [False, True])
@pytest.mark.parametrize(
    ("loss", "shape"),
    [(NextTokenLoss(1), (3, 6, 5)), (CrossEntropy(1), (3, 5, 6)), (CrossEntropy(-1), (3, 6, 5))],
)
def test_places_whose_target_is_ignored_teach_nothing(
    loss: Any, shape: tuple[int, ...], divergence: bool, given: bool
) -> None:
    # A person's own loss says nothing of what the outputs say: that is known from the targets.
    used = (lambda outputs, targets: loss(outputs, targets)) if given else loss
    task = dataclasses.replace(task_of("residual"), loss=used, form=form_of(loss))
    teacher, outputs = torch.randn(shape), torch.randn(shape)
    targets = torch.arange(18).reshape(3, 6) % 5
    targets[1, 3:] = targets[2, 2:] = IGNORED_CLASS
    shift = getattr(loss, "shift", 0)
    rows = torch.arange(3)
    soft_loss = soft_targets(task, teacher, 2.0, 1.0)
    imitating = soft_loss if divergence else blended(task, teacher, F.mse_loss, 1.0)
    found = imitating(outputs, targets, rows, ())

    counted = F.pad(targets[:, shift:], (0, shift), value=IGNORED_CLASS) != IGNORED_CLASS
    own, theirs = (x.movedim(loss.axis, -1)[counted] for x in (outputs, teacher))
    soft = F.kl_div((own / 2).log_softmax(1), (theirs / 2).softmax(1), reduction="batchmean") * 4
    wanted = soft if divergence else F.mse_loss(own, theirs)
    torch.testing.assert_close(found, wanted)


def test_layers_of_one_name_are_pairs_and_wider_ones_get_a_projection() -> None:
    task = task_of("residual")
    student = half(task)
    found = paired(student, task.model, task, Features())
    assert [pair for pair, _ in found] == [Pair(p.student, p.student) for p, _ in found]
    assert 2 <= len(found) <= 4
    assert all(isinstance(projection, nn.Linear) for _, projection in found)
    assert all("head" not in pair.student for pair, _ in found)
    same = paired(task.model, task.model, task, Features())
    assert all(isinstance(projection, nn.Identity) for _, projection in same)


def test_a_student_of_another_make_is_paired_by_depth() -> None:
    task = trained_task("mlp")
    torch.manual_seed(0)
    student = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 2))
    (found,) = paired(student, task.model, task, Features())
    assert found[0].student == "0"
    assert found[0].teacher in dict(task.model.named_modules())


@pytest.mark.parametrize("kind", INSIDE)
def test_a_network_is_at_no_distance_from_itself(kind: type) -> None:
    task = task_of("residual")
    comparison = Features() if kind is DistillFeatures else Attention(weights=False)
    guide = Guide(task, comparison)
    network = copy.deepcopy(task.model)
    with guide.attached(network) as along:
        assert list(along) == []
        task.forward(network, task.example)
        assert guide.loss().item() == pytest.approx(0, abs=1e-6)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        task.forward(network, task.example)
        assert guide.loss().item() > 1e-3
    assert hooks(network) == 0


def test_the_distance_of_features_is_relative_to_the_originals_scale() -> None:
    student, teacher = torch.randn(4, 5, 6), torch.randn(4, 5, 6)
    found = Features().loss(student, teacher)
    by_hand = ((student - teacher) ** 2).mean() / (teacher**2).mean()
    torch.testing.assert_close(found, by_hand)
    torch.testing.assert_close(Features().loss(student * 100, teacher * 100), found)


def test_a_map_is_the_normed_energy_of_the_channels() -> None:
    layer = nn.Conv2d(1, 3, 1)
    output = torch.randn(2, 3, 4, 5)
    found = Attention(weights=False).read(layer, output)
    energy = output.square().sum(1).flatten(1)
    assert found is not None
    torch.testing.assert_close(found, energy / energy.norm(dim=1, keepdim=True))
    assert Attention(weights=False).read(nn.Linear(3, 4), torch.randn(2, 4)) is None


@pytest.mark.parametrize("name", ["vit", "bert", "gpt2", "llama"])
def test_transformers_show_their_attention_weights_and_are_left_as_they_were(name: str) -> None:
    task = untrained_task(name)
    network: Any = copy.deepcopy(task.model)
    before = network.config._attn_implementation
    guide = Guide(task, Attention(weights=True))
    with guide.attached(network):
        task.forward(network, task.example)
        maps = list(guide._seen.values())
    assert maps
    positions = {tensor.shape[1] ** 0.5 for tensor in maps}
    assert all(value.is_integer() for value in positions)
    assert network.config._attn_implementation == before
    assert hooks(network) == 0


@pytest.mark.parametrize("kind", INSIDE)
def test_projections_are_trained_along_and_thrown_away(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of("residual")
    student = half(task)
    guides: list[Guide] = []
    plain = Guide.attached

    def remembered(guide: Guide, network: nn.Module) -> Any:
        guides.append(guide)
        return plain(guide, network)

    monkeypatch.setattr(Guide, "attached", remembered)
    network = kind(epochs=2).apply(student, task)
    assert set(network.state_dict()) == set(student.state_dict())
    assert hooks(network) == hooks(student) == hooks(task.model) == 0
    projections = list(guides[-1].projections.parameters())
    assert bool(projections) == (kind is DistillFeatures)
    assert all(parameter.grad is not None for parameter in projections)


def test_features_bring_a_student_nearer_inside() -> None:
    task = task_of("residual")
    student = half(task)

    def distance(network: nn.Module) -> float:
        # Projections are fitted anew, by the same short training of nothing else.
        guide = Guide(task, Features())
        frozen = copy.deepcopy(network).requires_grad_(False)
        losses = []

        def loss(outputs: Tensor, targets: Tensor, rows: Tensor, inputs: Inputs) -> Tensor:
            losses.append(guide.loss())
            return losses[-1]

        train(frozen, task, loss, epochs=6, learning_rate=1e-2, guide=guide)
        return losses[-1].item()

    inside = DistillFeatures(epochs=6, beta=10.0, alpha=0.5).apply(student, task)
    outside = load_technique("recovery", "distill")(epochs=6, alpha=0.5).apply(student, task)
    assert distance(inside) < distance(outside)


def test_what_looks_nowhere_is_refused_in_words() -> None:
    reason = DistillAttention().refuse(trained_task("mlp"), HERE)
    assert reason is not None
    assert "over space or time" in reason
    alone = make_task(nn.Linear(30, 2).eval(), table(), threads=1)
    assert "no layer but the last" in str(DistillFeatures().refuse(alone, HERE))
    task = task_of("residual")
    with pytest.raises(RefusedError, match="fits one of the original"):
        DistillAttention().apply(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), task)


def test_an_ensemble_is_the_mean_of_the_original_and_its_snapshots() -> None:
    task = task_of("plain")
    one, two = mean_outputs(task, 1), mean_outputs(task, 2)
    original = task.teacher_outputs()
    assert one.shape == two.shape == original.shape
    # Two snapshots that differ from the original and from each other.
    first = 2 * one - original
    second = 3 * two - 2 * one
    assert not torch.allclose(first, original, atol=1e-3)
    assert not torch.allclose(second, first, atol=1e-3)
    assert mean_outputs(task, 2) is two


def test_teachers_of_the_persons_own_are_in_the_mean() -> None:
    x, y = digits()
    torch.manual_seed(0)
    model, other = (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval() for _ in range(2))
    alone = make_task(model, (x, y), threads=1)
    taught = make_task(model, (x, y), threads=1, teachers=[other])
    inputs = taught.train.inputs()[0]
    with torch.no_grad():
        mean = (model(inputs) + other(inputs)) / 2
    torch.testing.assert_close(taught.teacher_outputs(), mean)
    assert taught.fingerprint != alone.fingerprint
    assert any("the model and 1 more" in note for note in taught.notes)
    with pytest.raises(ModelError, match=r"outputs of the model's shape, \(\d+, 10\), but Linear"):
        make_task(nn.Linear(8, 10).eval(), (x[:, 0, 0], y), threads=1, teachers=[nn.Linear(8, 3)])
    with pytest.raises(ModelError, match="the teacher Conv2d failed on the data"):
        make_task(model, (x, y), threads=1, teachers=[nn.Conv2d(3, 3, 3)])


def test_reversed_distillation_trains_the_student_then_the_original_then_the_student(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = task_of("residual")
    student = half(task)
    starts = []
    module = "autoopt.techniques.distill_reversed.train"

    def counted(model: nn.Module, *args: Any, **options: Any) -> nn.Module:
        starts.append(sum(p.numel() for p in model.parameters()))
        return _training.train(model, *args, **options)

    monkeypatch.setattr(module, counted)
    network = DistillReversed(epochs=1).apply(student, task)
    small, large = (sum(p.numel() for p in n.parameters()) for n in (student, task.model))
    assert starts == [small, large, small]
    assert sum(p.numel() for p in network.parameters()) == small


def test_soft_targets_take_any_teacher() -> None:
    task = task_of("residual")
    teacher = torch.randn(len(task.train), 4)
    rows = torch.arange(8)
    loss = soft_targets(task, teacher, 4.0, 1.0)
    assert float(loss(teacher[rows], torch.zeros(8).long(), rows, ())) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: DistillLogits(alpha=1.5), "`alpha` must be at least 0 and at most 1, but got 1.5"),
        (lambda: DistillLogits(epochs=0), "`epochs` must be at least 1"),
        (lambda: DistillFeatures(beta=0), "`beta` must be above 0 and finite, but got 0"),
        (lambda: DistillAttention(temperature=-1), "`temperature` must be above 0"),
        (lambda: DistillFeatures(temperature=float("inf")), "`temperature` must be above 0"),
        (lambda: DistillEnsemble(members=0), "`members` must be at least 1, but got 0"),
        (lambda: DistillReversed(learning_rate=0), "`learning_rate` must be above 0 and finite"),
    ],
)
def test_settings_outside_their_range_are_named(make: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        make()


def test_settings_are_dimensions() -> None:
    from search_spaces import RECOVERY

    for option, settings in RECOVERY.items():
        cls = load_technique("recovery", option)
        assert set(settings) <= {field.name for field in dataclasses.fields(cls)}
