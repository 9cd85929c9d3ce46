from __future__ import annotations

from diptych.cli.flags import NO_FLAG, option


def test_the_name_in_the_environment_follows_from_the_first_long_flag() -> None:
    assert option("-b", "--train-batch", "--batch", help="").envvar == "DIPTYCH_TRAIN_BATCH"
    assert option("--draft-decode/--exact-decode", help="").envvar == "DIPTYCH_DRAFT_DECODE"


def test_the_folder_of_data_sets_is_no_flag() -> None:
    assert NO_FLAG == "DIPTYCH_DATA"
    assert option("--data", help="").envvar is None
