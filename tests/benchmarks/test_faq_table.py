"""The table of FAQ figures: a part that is measured alone replaces its own rows only."""

from __future__ import annotations

from benchmarks.faq_table import BEGIN, END, HEAD, Row, recorded


def rows(*names: str, figure: str = "1") -> list[str]:
    return [str(Row(name, "accuracy", "", figure, figure)) for name in names]


def test_named_parts_replace_their_own_rows_and_others_stay_in_their_order() -> None:
    page = recorded(f"Before.\n{BEGIN}{END}\nAfter.", rows("a", "b", "b", "c"), whole=True)
    page = recorded(page, rows("b", "d", figure="2"), whole=False)
    table = "\n".join([HEAD, *rows("a"), *rows("b", figure="2"), *rows("c"), *rows("d", figure="2")])
    assert page == f"Before.\n{BEGIN}\n\n{table}\n\n{END}\nAfter."


def test_all_parts_replace_the_table() -> None:
    page = recorded(f"{BEGIN}{END}", rows("a", "b"), whole=True)
    assert recorded(page, rows("c"), whole=True) == f"{BEGIN}\n\n{HEAD}\n{rows('c')[0]}\n\n{END}"
