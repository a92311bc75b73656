"""What the graph of an exported program may say.

Loading a graph is running it in part: symbolic sizes go through `sympy.sympify`, which evaluates Python; guards and names end in source
code that is compiled; a target is looked up by attribute from the torch module, from where `torch.os.system` is one step. So every string
in it is held against an allow-list: operators of torch's own libraries, arithmetic on sizes, and names without punctuation.
"""

import ast
import json
import re
from typing import Final

_TARGET: Final = re.compile(
    r"""
    torch\.ops\.(aten|prims)\.(?!from_file)\w+\.\w+
    | torch\.ops\.higher_order\.(cond|wrap_with_set_grad_enabled|wrap_with_autocast)
    | torch\.sym_\w+
    | _operator\.(add|sub|mul|floordiv|truediv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem)
    | math\.(ceil|floor|trunc|sqrt)
    """,
    re.VERBOSE,
)
_PLAIN: Final = re.compile(r"[\w.:+-]*")
"""No parentheses, quotes, spaces or assignments: harmless wherever it is pasted."""
_INERT: Final = frozenset({"metadata", "as_string", "as_strings"})
"""Stack traces and module names of the exporter, and text given to operators: data, quoted wherever it is written."""
_SPEC_TYPES: Final = frozenset({None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"})
_CALL: Final = re.compile(
    r"""
    Symbol | Integer | Float | Rational | Add | Mul | Pow | Mod | Max | Min | Abs | floor | ceiling
    | PythonMod | FloorDiv | CeilDiv | CleanDiv | IntTrueDiv | FloatTrueDiv | PowByNatural | FloatPow | ModularIndexing | Where | Identity
    | CeilToInt | FloorToInt | TruncToInt | TruncToFloat | RoundToInt | ToFloat
    | Eq | Ne | Lt | Le | Gt | Ge | And | Or | Not
    | Equality | Unequality | StrictLessThan | LessThan | StrictGreaterThan | GreaterThan
    """,
    re.VERBOSE,
)
"""Functions of sympy and torch.utils._sympy that sizes are made of."""
_SYNTAX: Final = (
    *(ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Constant, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp),
    *(ast.operator, ast.unaryop, ast.cmpop, ast.boolop),
)
_LONGEST_EXPRESSION: Final = 4096


class GraphRefusedError(ValueError):
    """The graph holds something that is not on the allow-list; the message says what."""


def check_graph(program: object) -> None:
    """Checks a parsed ``models/model.json``.

    Raises:
        GraphRefusedError: It holds something that torch.export.save does not write for a network of tensors.
    """
    pending: list[tuple[str, object]] = [("", program)]
    while pending:  # a loop, since depth is the file's choice
        key, value = pending.pop()
        if isinstance(value, dict):
            for name in value:
                _check_plain(name, "the key")
            pending.extend((name, item) for name, item in value.items() if name not in _INERT)
        elif isinstance(value, list):
            pending.extend((key, item) for item in value)
        elif isinstance(value, str):
            _check_string(key, value)
        if key == "guards_code" and value:
            raise GraphRefusedError(f"guards, which are Python code: {_shown(value)}")


def _check_string(key: str, value: str) -> None:
    if key in {"target", "as_operator"}:
        if _TARGET.fullmatch(value) is None:
            raise GraphRefusedError(f"the operator {_shown(value)}, which is not one of torch's own")
    elif key == "expr_str":
        _check_expression(value)
    elif key in {"in_spec", "out_spec"}:
        _check_spec(value)
    else:
        _check_plain(value, key)


def _check_plain(value: str, what: str) -> None:
    if _PLAIN.fullmatch(value) is None:
        raise GraphRefusedError(f"{what} {_shown(value)}, which is not a plain name")


def _check_expression(text: str) -> None:
    refused = GraphRefusedError(f"the size {_shown(text)}, which is more than arithmetic")
    if len(text) > _LONGEST_EXPRESSION:
        raise refused
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise refused from None
    for node in nodes:
        if not isinstance(node, _SYNTAX):
            raise refused
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and _CALL.fullmatch(node.func.id)):
            raise refused
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not node.value.isidentifier():
            raise refused


def _check_spec(text: str) -> None:
    if not text:
        return
    pending = [json.loads(text)]
    while pending:
        spec = pending.pop()
        if isinstance(spec, list):
            pending.extend(spec)
        elif isinstance(spec, dict):
            if spec.get("type") not in _SPEC_TYPES or "__enum__" in str(spec.get("context")):
                raise GraphRefusedError(f"an input or output of type {_shown(spec.get('type'))}, which is not a tuple, list or dict")
            pending.append(spec.get("children_spec", []))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"  # noqa: PLR2004  enough to find it
