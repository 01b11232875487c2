"""Tables as pieces of LaTeX: their order, their turn, and their cut into blocks."""

from bench.report.paper.sheet import blocks, rotated, spans, upright, width
from bench.report.tables import make_table
from tests.report.simulated import L2, LINF, STADV, matrix


def _names(sheet):
    return ["".join(piece.latex for piece in head.name) for head in sheet.heads]


def test_columns_stand_by_group_and_threat_model():
    """Whatever order the attacks were run in: standard, seen, unseen, worst cases; one threat model together."""
    table = make_table(matrix(["standard", "at"], ["pgd-20", "apgd-ce"], (LINF, L2, STADV)))

    sheet = upright(table)

    assert [head.group for head in sheet.heads] == ["", *["seen"] * 2, *["unseen"] * 4, *["worst case"] * 3]
    assert _names(sheet) == ["standard", *["pgd-20", "apgd-ce"] * 3, "seen", "unseen", "all"]
    assert [head.threat.latex for head in sheet.heads[1:4]] == [*[r"$\ell_\infty$, $8/255$"] * 2, r"$\ell_2$, $0.5$"]


def test_rotated_it_holds_the_same_cells():
    """Defenses are columns, attacks rows in sections; every value stands once."""
    table = make_table(matrix(["standard", "at", "atop"], ["pgd-20", "apgd-ce"]))

    across, down = upright(table), rotated(table)

    assert len(down.heads) == len(table.rows)
    assert [title.latex for title, _ in down.sections] == [
        "",
        r"\emph{seen}: $\ell_\infty$, $8/255$",
        r"\emph{unseen}: $\ell_2$, $0.5$",
        r"\emph{unseen}: stadv $0.8$",
        r"\emph{worst case}",
    ]
    turned = list(zip(*(line.cells for line in down.lines), strict=True))
    assert turned == [line.cells for line in across.lines]


def test_blocks_fit_and_lose_no_column():
    """As few as fit, about equally wide, in the same order; none where not even one column fits."""
    sheet = upright(make_table(matrix(["at", "trades"], [f"attack-{i}" for i in range(9)])))
    whole = width(sheet, 5, 0.85, 0.8)

    assert blocks(sheet, whole, 5, 0.85, 0.8) == [sheet]
    parts = blocks(sheet, whole / 3, 5, 0.85, 0.8)
    assert [head for part in parts for head in part.heads] == list(sheet.heads)
    assert all(width(part, 5, 0.85, 0.8) <= whole / 3 for part in parts)
    assert max(len(part.heads) for part in parts) - min(len(part.heads) for part in parts) <= 1
    assert blocks(sheet, 50, 5, 0.85, 0.8) is None


def test_spans_are_runs_of_equal_titles():
    assert spans(["a", "a", "", "b", "a"]) == [(0, 2), (2, 3), (3, 4), (4, 5)]
    assert spans([]) == []
