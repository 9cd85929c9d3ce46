from __future__ import annotations

import pytest

from diptych.core import UsageError
from diptych.verbs.context import Once, refuse_cluster


class OnCluster(Once):
    on_cluster = True


def test_a_cluster_encodes_whole_photos_alone() -> None:
    refuse_cluster(OnCluster(), "")  # type: ignore[arg-type]
    refuse_cluster(Once(), "regions")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"^Workers of a cluster encode photos, not regions: leave out "):
        refuse_cluster(OnCluster(), "regions")  # type: ignore[arg-type]
