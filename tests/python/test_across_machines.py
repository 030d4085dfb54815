"""The script that `make test-aarch64` compares machines with, on one machine."""

import across_machines


def test_trainings_continue_from_files_to_the_byte(tmp_path):
    expected = list(across_machines.begin(tmp_path))
    assert len(expected) == 3
    assert list(across_machines.go_on(tmp_path)) == expected


def test_a_golden_model_of_each_rank():
    names = across_machines.names("rank")
    assert [name[:6] for name in names] == ["conv1d", "conv2d", "conv3d"]
