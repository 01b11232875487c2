"""What a processor says of itself, in the words of Linux."""

from __future__ import annotations

import pytest

from bench.machine.processor import emulates_bfloat16

# Of an Intel Core of the eighth generation, an AMD EPYC of Zen 4, a Xeon with AMX, and an Arm server, cut.
KABY_LAKE = "processor\t: 0\nflags\t\t: fpu sse sse2 ssse3 fma avx avx2 bmi2\n"
ZEN_4 = "processor\t: 0\nflags\t\t: fpu sse sse2 avx2 avx512f avx512_bf16 avx512_vnni\n"
SAPPHIRE_RAPIDS = "processor\t: 0\nflags\t\t: fpu sse sse2 avx2 avx512f amx_bf16 amx_tile\n"
GRAVITON = "processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n"


@pytest.mark.parametrize(
    ("told", "emulates"),
    [(KABY_LAKE, True), (ZEN_4, False), (SAPPHIRE_RAPIDS, False), (GRAVITON, False), ("", False)],
    ids=["core", "epyc", "xeon", "arm", "empty"],
)
def test_bfloat16_is_emulated_where_no_instruction_multiplies_it(told, emulates, tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text(told)

    assert emulates_bfloat16(file) == emulates


def test_nothing_is_said_where_nothing_is_known(tmp_path):
    assert not emulates_bfloat16(tmp_path / "none")
