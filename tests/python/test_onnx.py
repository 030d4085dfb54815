"""The operator cases of the `onnx` package."""

import pytest


def test_onnx_operator_cases(capsys):
    pytest.importorskip("onnx")
    import onnx_cases

    report = onnx_cases.run_all()
    with capsys.disabled():
        print(f"\n{report}")
    assert not report.failed
    assert len(report.passed) >= 105
