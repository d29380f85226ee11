from rft.tables import TextTable, plain


def test_plain_table_is_aligned() -> None:
    table = TextTable("Title", ("a", "bb"), (("long cell", "1"), ("x", "2")), "Caption.")
    assert plain(table).splitlines() == [
        "Title",
        "a          bb",
        "---------  --",
        "long cell  1",
        "x          2",
        "Caption.",
    ]
