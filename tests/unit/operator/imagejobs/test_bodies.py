from imagejob_operator.imagejobs.bodies import SHORT_BYTES, Bodies

SHORT, LONG = b"s" * SHORT_BYTES, b"l" * (SHORT_BYTES + 1)


def test_of_long_bodies_only_those_in_use_are_kept_and_no_more_than_fit() -> None:
    bodies: Bodies[int] = Bodies(long_bytes=3 * len(LONG))
    for number in range(100):
        bodies.put(number, "1", LONG)
        bodies.put(-number, "1", SHORT)
    assert [bodies.get(number, "1") for number in range(1, 100)] == [None] * 99
    assert bodies.get(-50, "1") == SHORT
    for number in (1, 2, 3):
        bodies.put(number, "1", LONG, needed=True)
    assert bodies.get(1, "1") == LONG
    bodies.put(4, "1", LONG, needed=True)
    assert [number for number in range(1, 5) if bodies.get(number, "1")] == [1, 3, 4], "2 was needed longest ago"


def test_a_body_is_of_one_version() -> None:
    bodies: Bodies[str] = Bodies()
    bodies.put("a", "1", LONG, needed=True)
    bodies.put("a", "2", LONG)
    assert (bodies.get("a", "1"), bodies.get("a", "2")) == (None, LONG), "what is in use is kept when it changes"
    bodies.put("a", "3", SHORT)
    assert bodies.get("a", "3") == SHORT
    bodies.forget("a")
    assert bodies.get("a", "3") is None
    assert bodies._used == 0
