from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from wsol_bench.losses.pseudo_pixels import IGNORE, SeedRule, draw_seeds, eroded, otsu_region
from wsol_bench.maps.otsu import EMPTY, otsu_cuts


def maps(count: int = 6, side: int = 24) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(count, 1, 5, 5, generator=generator)
    smooth = torch.nn.functional.interpolate(noise, (side, side), mode="bicubic")[:, 0]
    low, high = smooth.amin(dim=(1, 2), keepdim=True), smooth.amax(dim=(1, 2), keepdim=True)
    return (smooth - low) / (high - low)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_counts_and_places_without_growing() -> None:
    rule = SeedRule(foreground=5, background=7, foreground_share=0.5, background_share=0.2, dilate=1)
    found, region = maps(), otsu_region(maps())
    seeds = draw_seeds(found, rule, region)
    for one, seed, inside in zip(found, seeds, region, strict=True):
        assert (seed == 1).sum() == 5 and (seed == 0).sum() == 7 and (seed == IGNORE).sum() == 24 * 24 - 12
        assert inside[seed == 1].all()
        assert one[seed == 1].min() >= one[inside].median() - 1e-5, "from the stronger half of the region"
        assert one[seed == 0].max() <= torch.quantile(one.flatten(), 0.2) + 1e-4


def test_draws_are_fresh_and_follow_the_generator() -> None:
    first, second = (draw_seeds(maps(), SeedRule()) for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(0)
    assert torch.equal(draw_seeds(maps(), SeedRule()), first)


def test_growing_and_conflicts() -> None:
    found = torch.zeros(1, 9, 9)
    found[0, 4, 4] = 1.0
    found[0, 4, 5:] = found[0, :, 8] = -0.0
    rule = SeedRule(foreground=1, background=81, foreground_share=1 / 81, background_share=1.0, dilate=3)
    seeds = draw_seeds(found, rule)[0]
    assert (seeds == 1).sum() == 0, "all of the grown foreground is claimed by the background too"
    alone = draw_seeds(found, SeedRule(foreground=1, background=0, foreground_share=1 / 81, dilate=3))[0]
    assert (alone[3:6, 3:6] == 1).all() and (alone == 1).sum() == 9


def test_weighted_draws_follow_the_map() -> None:
    found = torch.tensor([[[0.1, 0.2, 0.3, 1.0]]]).expand(20000, 1, 4)
    rule = SeedRule(foreground=1, background=0, foreground_mode="weighted", dilate=1)
    share = (draw_seeds(found, rule) == 1).float().mean(dim=0)[0]
    torch.testing.assert_close(share, torch.tensor([0.1, 0.2, 0.3, 1.0]) / 1.6, atol=0.02, rtol=0)
    uniform = (draw_seeds(found, SeedRule(foreground=1, background=0, dilate=1)) == 1).float().mean(dim=0)[0]
    torch.testing.assert_close(uniform, torch.full((4,), 0.25), atol=0.02, rtol=0)
    back = SeedRule(foreground=0, background=1, background_share=1.0, background_mode="weighted", dilate=1)
    share = (draw_seeds(found, back) == 0).float().mean(dim=0)[0]
    torch.testing.assert_close(share, torch.tensor([0.9, 0.8, 0.7, 0.0]) / 2.4, atol=0.02, rtol=0)


def test_equal_values_are_drawn_from_everywhere() -> None:
    found = torch.zeros(400, 10, 10)
    found[:, 0, 0] = 1.0
    seeds = draw_seeds(found, SeedRule(foreground=0, background=1, background_share=0.1, dilate=1))
    drawn = (seeds == 0).any(dim=0)
    assert drawn.float().mean() > 0.9, "not only from the first rows"


def test_maps_that_say_nothing_give_no_seeds() -> None:
    found = torch.stack([torch.full((8, 8), 0.3), torch.full((8, 8), torch.nan), maps(1, 8)[0]])
    seeds = draw_seeds(found, SeedRule())
    assert (seeds[:2] == IGNORE).all() and (seeds[2] == 1).any() and (seeds[2] == 0).any()


def test_an_empty_region_gives_no_foreground() -> None:
    seeds = draw_seeds(maps(2), SeedRule(), torch.zeros(2, 24, 24, dtype=torch.bool))
    assert not (seeds == 1).any() and (seeds == 0).any()


def test_background_can_be_kept_out() -> None:
    box = torch.zeros(6, 24, 24, dtype=torch.bool)
    box[:, 4:20, 4:20] = True
    seeds = draw_seeds(maps(), SeedRule(background=50, background_share=0.5, dilate=1), not_background=box)
    assert not (box & (seeds == 0)).any() and (seeds == 0).any()


def test_the_region_is_that_of_the_benchmarks_otsu() -> None:
    found = maps(20)
    found[3] = 0.4
    found[5] = (found[5] > 0.5).float()
    levels = (found.numpy() * 255).astype(np.uint8)
    cuts = otsu_cuts(levels)
    expected = np.stack(
        [one > cut if cut != EMPTY else np.zeros_like(one, bool) for one, cut in zip(levels, cuts, strict=True)]
    )
    assert (otsu_region(found).numpy() == expected).all()


def test_erosion_never_empties_a_region() -> None:
    region = torch.zeros(2, 20, 20, dtype=torch.bool)
    region[0, 3:17, 3:17] = True
    region[1, 5:8, 5:8] = True
    smaller = eroded(region, 5, 2)
    assert smaller[0].sum() == 36 and smaller[0, 7:13, 7:13].all()
    assert torch.equal(smaller[1], region[1])
    touching = torch.zeros(1, 10, 10, dtype=torch.bool)
    touching[0, :, :6] = True
    assert eroded(touching, 3)[0, :, :5].all(), "the border of the image does not erode"
