from rft.errors import near_name


def test_near_name_falls_back_to_the_names_there_are() -> None:
    assert near_name("zzz", {"b", "a"}) == " Known: a, b."
    assert near_name("Tracking", {"tracking"}) == " Did you mean 'tracking'?"
