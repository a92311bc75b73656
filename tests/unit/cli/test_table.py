import io
from typing import Any

import pytest
from rich.console import Console

from imagejob_api.pipeline import ImagePipelineSpec
from imagejob_cli.table import LongTable, row_table
from imagejob_runner.rows import Row


def row(identity: str, outputs: dict[str, Any] | None = None, **changes: Any) -> Row:  # noqa: ANN401  fields of the row
    return {
        "id": identity,
        "url": "/x",
        "status": "ok",
        "outputs": outputs or {},
        "error": None,
        "provenance": {},
        "timings": {},
        **changes,
    }


def labels(*names: str) -> list[dict[str, Any]]:
    return [{"label": name, "index": number, "score": 0.95 / (1 + number)} for number, name in enumerate(names)]


def lines(*rows: Row, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, markup=False, emoji=False)
    console.print(row_table(rows))
    assert isinstance(console.file, io.StringIO)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines() if "─" not in line]


def test_a_classification() -> None:
    gone = {"code": "NotFound", "message": "no such file", "attempts": 1, "retryable": False}
    assert lines(
        row("coffee.png", {"tag": {"x": 1}, "classify": labels("espresso", "cup")}),
        row("gone.png", status="failed", error=gone),
    ) == [
        "FILE LABEL SCORE STATUS ERROR",
        "coffee.png espresso 0.95 ok",
        "gone.png failed NotFound: no such file",
    ]


def test_a_class_without_a_name_has_its_number() -> None:
    assert lines(row("a", {"classify": [{"label": None, "index": 7, "score": 1.0}]}))[1] == "a class 7 1.00 ok"


def test_other_outputs_are_cut() -> None:
    table = lines(row("a", {"embed": [0.5] * 100}), row("b", {"count": 3}), width=100)
    assert table[0] == "FILE OUTPUTS STATUS"
    assert table[1].endswith("… ok")
    assert table[2] == 'b {"count": 3} ok'


def test_no_outputs_at_all() -> None:
    assert lines(row("a")) == ["FILE STATUS", "a ok"]


def test_text_of_users_is_printed_as_it_is() -> None:
    found = lines(row("[bold]a\nb\x1b[2J:smile:", {"classify": labels("[red]x[/]")}))
    assert found[1] == "[bold]a\\nb\\x1b[2J:smile: [red]x[/] 0.95 ok"


def test_a_narrow_terminal_loses_nothing() -> None:
    text = "".join("".join(lines(row("abcdefghijklmnopqrstuvwxyz0123456789", {"c": labels("espresso")}), width=40)).split())
    assert "espresso" in text
    for part in ("abcdefghij", "0123456789"[-3:]):
        assert part in text


@pytest.mark.parametrize(
    ("step", "outputs", "head", "line"),
    [
        ({"infer": {"model": {"architecture": "a:b"}}}, labels("cup"), ["LABEL", "SCORE"], ["cup", "0.95"]),
        ({"infer": {"model": {"architecture": "a:b"}, "outputs": {"embedding": "l2"}}}, [0.5], ["OUTPUTS"], ['{"look":', "[0.5]}"]),
        ({"call": {"function": "a:b"}}, {"x": 1}, ["OUTPUTS"], ['{"look":', '{"x":', "1}}"]),
    ],
)
def test_a_long_table_shows_outputs_though_its_first_rows_have_none(
    step: dict[str, Any], outputs: object, head: list[str], line: list[str]
) -> None:
    pipeline = ImagePipelineSpec.model_validate({"steps": [{"name": "download", "download": {}}, {"name": "look", **step}]})
    table = LongTable([row("gone", status="failed")] * 3, pipeline)
    assert table.head.split() == ["FILE", *head, "STATUS", "ERROR"]
    assert table.line(row("a", {"look": outputs})).split() == ["a", *line, "ok"]
