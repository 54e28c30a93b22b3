import torch
import torch.nn.functional as F

from mssts.ops.masks import dynamic_masks, parameter_count, upsample_aligned


def test_an_instance_has_169_numbers_at_eight_channels():
    assert parameter_count(8) == 169


def test_doubling_repeats_the_first_value_and_puts_means_between():
    row = torch.tensor([[1.0, 3.0, 7.0]])
    expected = torch.tensor([[1.0, 1.0, 2.0, 3.0, 5.0, 7.0]]).expand(2, 6)
    assert torch.equal(upsample_aligned(row), expected)


def test_doubling_equals_aligned_interpolation_of_a_padded_map():
    maps = torch.randn(2, 3, 4, 5)
    padded = F.pad(maps, (0, 1, 0, 1), mode="replicate")
    finer = F.interpolate(padded, size=(9, 11), mode="bilinear", align_corners=True)
    expected = F.pad(finer, (1, 0, 1, 0), mode="replicate")[..., :8, :10]
    torch.testing.assert_close(upsample_aligned(maps), expected)


def test_dynamic_masks_equal_three_explicit_convolutions_per_instance_and_frame():
    generator = torch.Generator().manual_seed(0)
    T, C, H, W, n, stride = 2, 3, 4, 5, 2, 8
    features = torch.randn(T, C, H, W, generator=generator)
    centres = torch.rand(T, n, 2, generator=generator) * 30
    parameters = torch.randn(n, parameter_count(C), generator=generator)
    masks = dynamic_masks(features[None], centres.transpose(0, 1)[None], parameters[None], (n,), stride)[0]
    assert masks.shape == (n, T, H, W)
    for i in range(n):
        weights = parameters[i].split([(C + 2) * C, C * C, C, C, C, 1])
        for t in range(T):
            x = centres[t, i, 0] - (torch.arange(W) * stride + stride // 2)
            y = centres[t, i, 1] - (torch.arange(H) * stride + stride // 2)
            inputs = torch.cat([x.expand(H, W)[None], y[:, None].expand(H, W)[None], features[t]])[None]
            hidden = F.relu(F.conv2d(inputs, weights[0].view(C, C + 2, 1, 1), weights[3]))
            hidden = F.relu(F.conv2d(hidden, weights[1].view(C, C, 1, 1), weights[4]))
            expected = F.conv2d(hidden, weights[2].view(1, C, 1, 1), weights[5])[0, 0]
            torch.testing.assert_close(masks[i, t], expected, rtol=1e-4, atol=1e-3)


def test_no_chosen_instance_gives_no_mask():
    masks = dynamic_masks(torch.randn(1, 2, 8, 3, 4), torch.rand(1, 0, 2, 2), torch.randn(1, 0, 169), (0,), 8)
    assert masks.shape == (1, 0, 2, 3, 4)


def test_masks_of_all_clips_and_layers_equal_those_of_each_alone():
    generator = torch.Generator().manual_seed(0)
    counts = (2, 0, 1)
    features = torch.randn(3, 2, 8, 4, 5, generator=generator)
    centres = torch.rand(2, 3, 2, 2, generator=generator) * 30
    parameters = torch.randn(2, 3, 169, generator=generator)
    together = dynamic_masks(features, centres, parameters, counts, 8)
    for layer in range(2):
        for clip, own in ((0, slice(0, 2)), (2, slice(2, 3))):
            inputs = features[clip, None], centres[layer, None, own], parameters[layer, None, own]
            alone = dynamic_masks(*inputs, (counts[clip],), 8)[0]
            torch.testing.assert_close(together[layer, own], alone, rtol=1e-5, atol=1e-4)
