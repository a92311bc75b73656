"""What the chart lets the operator do: ``python -m tests.unit.chart.rules`` prints it, in the form of `golden/operator-rules.yaml`."""

import sys
from typing import Final

import yaml

from tests.tools.chart import Json, objects

ACCOUNT: Final = "imagejob-operator"


def operator_rules(values: Json | None = None) -> dict[str, list[Json]]:
    """The rules of every role that the operator is bound to, by the role's kind, its namespace (of a Role) and its name."""
    found = objects(values)
    roles = {(role["kind"], role["metadata"].get("namespace"), role["metadata"]["name"]): role for role in found if "rules" in role}
    rules = {}
    for binding in found:
        if any(subject["name"] == ACCOUNT for subject in binding.get("subjects", ())):
            namespace = binding["metadata"].get("namespace")
            kind, name = binding["roleRef"]["kind"], binding["roleRef"]["name"]
            role = roles[kind, namespace if kind == "Role" else None, name]
            rules[" ".join(filter(None, (kind, namespace, name)))] = role["rules"]
    return rules


if __name__ == "__main__":
    yaml.safe_dump(operator_rules(), sys.stdout, sort_keys=False, default_flow_style=None, width=140)
