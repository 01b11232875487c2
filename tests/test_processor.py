"""Which processor this is: what a report of speed says beside its numbers."""

from bench import processor


def test_a_processor_is_told_by_its_name_and_the_extensions_that_formats_gain_from(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text("model name\t: Some CPU\nflags\t\t: fpu avx2 avx512_bf16\n")
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")

    assert processor.describe() == "Some CPU (avx2, avx512_bf16)"
