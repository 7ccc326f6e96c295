from __future__ import annotations

import pytest
import torch

from autoopt.demo.data import digits
from autoopt.demo.model import BasicBlock, DigitsNet, train_model


def test_the_network_has_three_stages_of_two_blocks_and_about_696_thousand_parameters():
    model = DigitsNet().eval()
    assert 690_000 <= sum(parameter.numel() for parameter in model.parameters()) <= 700_000
    blocks = [module for module in model.modules() if isinstance(module, BasicBlock)]
    assert [block.conv2.out_channels for block in blocks] == [32, 32, 64, 64, 128, 128]
    with torch.no_grad():
        assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 10)


def test_the_digits_come_in_three_parts_that_share_no_image():
    parts = digits()
    assert [len(part) for part in parts] == [1078, 359, 360]
    rows = {tuple(image.flatten().tolist()) for part in parts for image in part.tensors[0]}
    assert len(rows) == 1797
    images, targets = parts[0].tensors
    assert images.shape[1:] == (1, 32, 32)
    assert images.mean().abs() < 1e-4
    assert images.std() == pytest.approx(1, abs=1e-3)
    assert targets.dtype == torch.int64
    for part in parts:
        shares = part.tensors[1].bincount() / len(part)
        assert shares.min() > 0.09
        assert shares.max() < 0.11


def test_the_same_seed_gives_the_same_parts_and_another_one_gives_others():
    first, again, other = (digits(seed)[1].tensors[1] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.slow
def test_the_trained_network_is_right_on_99_percent():
    state = torch.get_rng_state()
    model, accuracy = train_model(0)
    assert accuracy >= 0.99
    assert not model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.is_contiguous() for parameter in model.parameters())
