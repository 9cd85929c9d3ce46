from __future__ import annotations

import pytest
import torch

from diptych.core import Evidence, FittedClassifier, Kit, MissingPart, Run, Scores, Subject
from diptych.features.subjects import class_logits, class_scores, embeddings
from diptych.methods.classify.zero_shot import ZeroShot
from tests.support.backbone import SmallBackbone
from tests.support.pictures import Pictures, task


def test_a_backbone_and_its_fitted_classifier_say_the_same() -> None:
    names, _, test = task()
    backbone = SmallBackbone()
    own = Subject.of(backbone)
    fitted = Subject.of({"classifier": ZeroShot().fit(Kit.of(backbone), names, Evidence(), Run())})
    scores = class_scores(own, names, test.items, Run())
    assert scores.kind == "cosine"
    assert float(scores.values.abs().max()) <= 1 + 1e-6
    said = class_scores(fitted, names, test.items, Run())
    assert torch.equal(said.predicted(), scores.predicted())
    scale, bias = backbone.scale()
    torch.testing.assert_close(class_logits(own, scores), (scale * scores.values + bias).detach())
    torch.testing.assert_close(class_logits(fitted, said), class_logits(own, scores))
    norms = embeddings(own, test.items, Run()).norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones(len(test)))
    assert class_scores(own, names, Pictures(()), Run()).values.shape == (0, 3)


def test_a_classifier_without_backbone_gives_logits_but_cosines_need_a_scale() -> None:
    class Alone(FittedClassifier):
        def scores(self, items: object, run: Run) -> Scores:
            raise AssertionError("unused")

    subject = Subject.of({"classifier": Alone()})
    candidates = torch.tensor([[True, False]])
    assert class_logits(subject, Scores(torch.zeros(1, 2), "logit", candidates)).tolist() == [[0.0, float("-inf")]]
    with pytest.raises(MissingPart, match="Backbone"):
        class_logits(subject, Scores(torch.zeros(1, 2), "cosine"))
    with pytest.raises(MissingPart, match="Backbone"):
        embeddings(subject, Pictures(()), Run())
