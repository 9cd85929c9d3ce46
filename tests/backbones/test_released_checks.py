"""What messages say of tensors that have no place, and how weights are rounded."""

from __future__ import annotations

import pytest
import torch

from diptych.backbones.released_checks import Spelling, UnfitTensors, misfit, refuse_not_finite, rounded

FILE = Spelling(lambda name: f"file.{name}", lambda name: "file.all" if name in "pq" else f"file.{name}", "a.pth")


def test_misfits_are_said_by_the_names_of_the_file() -> None:
    held, wanted = {"x": torch.ones(2), "z": torch.ones(1)}, {"x": torch.ones(3), "y": torch.ones(1)}
    said = misfit(held, wanted, FILE)
    assert said == "1 missing (file.y); 1 unexpected (file.z); 1 of another shape (file.x)"
    parts = {name: torch.ones(1) for name in "pqr"}
    assert misfit({}, parts, FILE) == "2 missing (file.all, file.r)", "two parts of one tensor of the file"
    assert misfit(held, held) == ""
    assert misfit({"a": torch.ones(2).long()}, {"a": torch.ones(2)}) == "1 of whole numbers (a)"
    assert misfit({"a": torch.ones(2).half()}, {"a": torch.ones(2)}) == ""
    assert misfit({"a": torch.ones(2)}, {"a": torch.ones(2).long()}) == "", "a count may lie in a file as a float"
    many = {str(i): torch.ones(1) for i in range(5)}
    assert misfit(many, {}) == "5 unexpected (0, 1, 2, ...)"


def test_what_is_not_finite_is_said_by_the_names_of_the_file() -> None:
    held = {"a": torch.tensor([torch.nan]), "b": torch.ones(1)}
    with pytest.raises(UnfitTensors, match=r"^a\.pt holds .* \(a\): its training") as caught:
        refuse_not_finite(held, "a.pt")
    assert caught.value.say(FILE).startswith("a.pth holds numbers that are not finite (file.a): its training")
    with pytest.raises(UnfitTensors, match=r"^a\.pt holds .* \(file\.a\)"):
        refuse_not_finite(held, "a.pt", FILE)


def test_rounding_leaves_norms_embeddings_and_positions() -> None:
    state = {n: torch.tensor([1 / 3]) for n in ("visual.conv1.weight", "visual.ln_pre.bias", "token_embedding.weight")}
    state["ids"] = torch.tensor([70000])
    out = rounded(state)
    assert out["visual.conv1.weight"] != state["visual.conv1.weight"]
    assert out["visual.conv1.weight"].dtype == torch.float32
    assert all(torch.equal(out[n], state[n]) for n in state if n != "visual.conv1.weight")
