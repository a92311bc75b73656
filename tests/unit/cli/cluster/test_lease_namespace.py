import pytest

from imagejob_cli.cluster.lease_namespace import LeasePlace, choose_place


@pytest.mark.parametrize(
    ("found", "place"),
    [
        ([], LeasePlace("imagejob-system")),
        (["platform"], LeasePlace("platform")),
        (
            ["imagejob-system", "mine"],
            LeasePlace("imagejob-system", "Leases with imagejob's labels are also in mine; choose with --operator-namespace"),
        ),
    ],
)
def test_which_namespace_is_believed(found: list[str], place: LeasePlace) -> None:
    assert choose_place(frozenset(found)) == place
