import json
import textwrap

import pytest

from imagejob_api import yamlfile
from imagejob_api.yamlfile import YamlError, read_documents


def only(text: str) -> object:
    (document,) = read_documents(textwrap.dedent(text))
    return document.value


def failure(text: str) -> YamlError:
    with pytest.raises(YamlError) as caught:
        list(read_documents(textwrap.dedent(text)))
    return caught.value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        # booleans and null as YAML 1.1 has them
        *[(word, True) for word in ("y", "Yes", "TRUE", "on")],
        *[(word, False) for word in ("n", "no", "NO", "Off", "false")],
        *[(word, None) for word in ("", "~", "null", "Null")],
        ("yEs", "yEs"),
        ("nULL", "nULL"),
        # numbers as Go reads them
        ("12", 12),
        ("-7", -7),
        ("1_000", 1000),
        ("0x1F", 31),
        ("0b101", 5),
        ("0o17", 15),
        ("017", 15),
        ("08", 8),
        ("1e-6", 1e-6),
        ("1e3", 1000),
        ("1e20", 1e20),
        (".5", 0.5),
        ("32.0", 32),
        # what other YAML readers turn into something else
        ("1:30", "1:30"),
        ("2026-05-04", "2026-05-04"),
        ("1.2.3", "1.2.3"),
        ("=", "="),
        ("_1", "_1"),
        ("1e400", "1e400"),
        ('"no"', "no"),
        ("'12'", "12"),
        ("!!str no", "no"),
        ('!!int "12"', 12),
    ],
)
def test_scalars_are_read_as_kubectl_reads_them(written: str, value: object) -> None:
    read = only(f"a: {written}")
    assert read == {"a": value}
    assert type(read["a"]) is type(value)


def test_documents_keep_their_number_when_empty_ones_stand_between() -> None:
    documents = list(read_documents("---\n---\na: 1\n---\n# nothing\n---\nb: 2\n"))
    assert [(document.index, document.value) for document in documents] == [(2, {"a": 1}), (4, {"b": 2})]


def test_lines_of_values() -> None:
    (document,) = read_documents("a:\n- b: 1\n  c: no\n")
    assert document.line(("a", 0, "c")) == 3
    assert document.line(("a", 0, "missing")) == 2
    assert document.raw(("a", 0, "c")) == "no"
    assert document.raw(("a",)) is None


def test_aliases_and_merges() -> None:
    assert only("base: &b {v: 1, w: 2}\nuse: {<<: *b, w: 3}\nmany: {<<: [{v: 5}, *b]}\nagain: *b") == {
        "base": {"v": 1, "w": 2},
        "use": {"v": 1, "w": 3},
        "many": {"v": 5, "w": 2},
        "again": {"v": 1, "w": 2},
    }


def test_json_with_tabs_and_several_objects() -> None:
    documents = list(read_documents('{\n\t"a": [1, null]}\n{"b": true}\n'))
    assert [document.value for document in documents] == [{"a": [1, None]}, {"b": True}]
    assert documents[0].line(("a",)) is None


def test_a_yaml_flow_mapping_is_not_taken_for_json() -> None:
    assert only("{a: 1}") == {"a": 1}


def test_numbers_as_keys_become_text_as_in_kubectl() -> None:
    assert only("{10: ten}") == {"10": "ten"}


@pytest.mark.parametrize(
    ("text", "line", "message", "fix"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", 4, "the key c stands twice, on lines 3 and 4", "keep one of them"),
        ("yes: 1", 1, "the key yes is read as true, and a key must be text", 'put it in quotes: "yes"'),
        ("a: {{ x }}", 1, "a key must be text, not a mapping or a list", "put {{ … }} templates in quotes"),
        ("a: !!python/object:os.system x", 1, "the tag tag:yaml.org,2002:python/object:os.system means nothing here", "remove it"),
        ("a: {<<: 5}", 1, "<< must be followed by an alias of a mapping", "write << : *name"),
    ],
)
def test_what_has_no_meaning_in_json_is_refused(text: str, line: int, message: str, fix: str) -> None:
    error = failure(text)
    assert (error.line, error.message, error.fix) == (line, message, fix)


def test_a_key_twice_in_json() -> None:
    assert failure('{"a": {"b": 1, "b": 2}}').message == "the key b stands twice in one object"


def test_a_syntax_error_names_line_and_column_and_shows_the_place() -> None:
    error = failure("a: 1\nb: [1, 2\nc: 3\n")
    assert error.line == 3
    assert error.message == (
        "not YAML: while parsing a flow sequence expected ',' or ']', but got ':' (line 3, column 2)\n    c: 3\n     ^"
    )
    assert error.fix == "check the indentation, colons and quotes there and on the line before"


def test_a_tab_is_named() -> None:
    error = failure("a:\n\tb: 1\n")
    assert (error.line, error.fix) == (2, "indent with spaces; YAML allows no tabs")


def test_control_characters_are_refused() -> None:
    assert failure("a: \x00").fix == "save the file as UTF-8 text without control characters"


def test_aliases_that_grow_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yamlfile, "MAX_VALUES", 1000)
    lines = ["a0: &a0 [x, x]", *[f"a{level}: &a{level} [*a{level - 1}, *a{level - 1}]" for level in range(1, 12)]]
    assert failure("\n".join(lines)).message == "more than 1,000 values once aliases are expanded"


def test_an_alias_of_itself_is_refused() -> None:
    assert failure("a: &a [*a]").message == "nested too deeply"


def test_ordinary_json_survives() -> None:
    value = {"a": [1, 2.5, None, True, "no", "1:30", "2026-05-04", {"b": ""}]}
    assert only(json.dumps(value)) == value
