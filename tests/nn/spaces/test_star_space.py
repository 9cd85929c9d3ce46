"""The shared space of three modalities of stars."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from diptych.core import DataError, MissingHook
from diptych.data.stars import Star
from diptych.nn.spaces.star_space import LabelNet, StarEncoder, StarInputs, StarSpace, hash_of
from diptych.nn.spaces.star_towers import CurveTower, FactsTower, SpectrumTower, StarModule
from tests.support.stars import GRID, star

INPUTS = StarInputs(24, (GRID[0], GRID[-1], len(GRID)))
FACTS = len(star(0).metadata)  # type: ignore[arg-type]


def space(seed: int = 0) -> StarSpace:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        towers: dict[str, nn.Module] = {
            "photometry": CurveTower(24, 16, 1, 2, 32, 0.0),
            "spectra": SpectrumTower(len(GRID), 0.0),
            "metadata": FactsTower(torch.zeros(FACTS), torch.ones(FACTS), 16, 0.0),
        }
        return StarSpace(StarModule(towers, 8, (("photometry", "spectra"),)), 8, INPUTS)


def encoder(modality: str) -> StarEncoder:
    made = space().encoders[modality]
    assert isinstance(made, StarEncoder)
    return made


@pytest.mark.parametrize(
    ("modality", "size", "name"),
    [
        ("photometry", (24, 6), "light curve"),
        ("spectra", (3, len(GRID)), "spectrum"),
        ("metadata", (FACTS,), "metadata"),
    ],
)
def test_each_modality_reads_its_part_of_a_star(modality: str, size: tuple[int, ...], name: str) -> None:
    own = encoder(modality)
    x = own.inputs([star(0), star(1)])
    assert x.shape == (2, *size)
    assert own.encode(x).shape == (2, 8)
    with pytest.raises(DataError, match=f"A star has no {name}"):
        own.inputs([Star()])


def test_the_fingerprint_is_of_weights_and_inputs() -> None:
    first, module = space(), space().module()
    assert space().fingerprint == first.fingerprint != space(1).fingerprint
    assert StarSpace(module, 8, StarInputs(25, INPUTS.grid)).fingerprint != first.fingerprint
    assert hash_of("a", {"w": torch.zeros(2)}) != hash_of("a", {"v": torch.zeros(2)})


def test_it_is_rebuilt_from_its_own_kind_of_module_alone() -> None:
    given = space()
    assert given.rebuild(given.module(), given.spec).fingerprint == given.fingerprint
    with pytest.raises(MissingHook, match="StarModule"):
        given.rebuild(nn.Identity(), given.spec)


def test_a_classifier_shares_the_tower_with_its_encoder() -> None:
    own = encoder("metadata")
    net, x = LabelNet(own, 3), own.inputs([star(0), star(1)])
    torch.testing.assert_close(net(x), net.head(own.features(x)))
    net(x).sum().backward()
    assert all(p.grad is not None for p in own.module.towers["metadata"].parameters())
