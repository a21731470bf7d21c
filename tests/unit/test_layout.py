"""Where a line breaks on a terminal, and which of its numbers are in colour."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from dbt_pendo.output.layout import COUNT, broken, message_in_colour, note_in_colour


def in_colour(text: Text) -> list[tuple[str, str]]:
    spans = [(text.plain[span.start : span.end], str(span.style)) for span in text.spans if span.style]
    return spans or ([(text.plain, str(text.style))] if text.style else [])


@pytest.mark.parametrize(
    ("note", "style", "expected"),
    [
        ("[172 delivered in 0.34s]", "green", [("172 delivered", "green")]),
        ("[1,172 delivered, 14 held in 0.34s]", "green", [("1,172 delivered", "green")]),
        ("[172 delivered, 2 invalid in 0.34s]", "yellow", [("2 invalid", "yellow")]),
        (
            "[ERROR, 9 delivered, 14 missing, 1,000 rejected, 2 held in 1.00s]",
            "red",
            [("ERROR", "red"), ("14 missing", "yellow"), ("1,000 rejected", "red"), ("2 held", "yellow")],
        ),
        ("[13 added, 4 unchanged]", "green", [("13 added", "green")]),
        ("[3 added, 12 changed, 14 held]", "yellow", [("14 held", "yellow")]),
        # Nothing is wrong with the counts themselves, but there is a warning.
        ("[174 added]", "yellow", [("[174 added]", "yellow")]),
        ("[SKIP]", "yellow", [("[SKIP]", "yellow")]),
        ("[RUN]", "", []),
        ("OK=4 WARN=0 ERROR=0 SKIP=0 TOTAL=4", "green", [("OK=4", "green")]),
        ("OK=2 WARN=1 ERROR=0 SKIP=1 TOTAL=4", "yellow", [("WARN=1", "yellow"), ("SKIP=1", "yellow")]),
        ("OK=2 WARN=1 ERROR=10 SKIP=0 TOTAL=4", "red", [("WARN=1", "yellow"), ("ERROR=10", "red")]),
    ],
)
def test_the_counts_of_a_note_that_matter_are_in_colour(note, style, expected):
    assert in_colour(note_in_colour(note, style)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("    14 missing: Pendo does not know this id (14, e.g. a: b)", "    14 missing"),
        ("1,200 of 4,000 rows would be invalid: visitor_id: is null", "1,200 of 4,000 rows would be invalid"),
        ("Completed with warnings.", "Completed with warnings."),
        ("2 of 3 mappings cannot be synced.", "2 of 3 mappings cannot be synced."),
        ("usr-2: 3 drifted: plan", "usr-2: 3 drifted: plan"),
    ],
)
def test_a_message_has_its_count_in_colour_or_is_it_all(text, expected):
    assert in_colour(message_in_colour(text, "yellow")) == [(expected, "yellow")]


def test_a_line_breaks_between_words_and_goes_on_below():
    said = "18:10:55      2 invalid: visitor_id is null (1, e.g. inv-0060), `dbt-pendo show 2fd2d9 --rows` lists them"
    assert broken(Text(said), 50, 14).plain.split("\n") == [
        "18:10:55      2 invalid: visitor_id is null (1,",
        "              e.g. inv-0060),",
        # A command can be copied.
        "              `dbt-pendo show 2fd2d9 --rows` lists",
        "              them",
    ]
    assert broken(Text(said), 120, 14).plain == said
    # What fits exactly does not break.
    assert broken(Text("one two"), 7, 2).plain == "one two"
    assert broken(Text("one two"), 6, 2).plain == "one\n  two"


def test_what_is_too_long_for_a_line_is_not_cut_and_wide_characters_count_as_two():
    path = "/srv/" + "folder/" * 20
    assert broken(Text(f"in {path} is nothing"), 40, 2).plain == f"in\n  {path}\n  is nothing"
    assert broken(Text("株式会社 さくら"), 15, 2).plain == "株式会社 さくら"
    assert broken(Text("株式会社 さくら"), 14, 2).plain == "株式会社\n  さくら"


def test_counts_stay_whole_and_keep_their_colour():
    note = note_in_colour("[1,102 delivered, 14 missing, 4 invalid in 0.13s]", "yellow")
    told = broken(Text("  ").append_text(note), 32, 3, COUNT)
    assert told.plain == "  [1,102 delivered, 14 missing,\n   4 invalid in 0.13s]"
    assert in_colour(told) == [("14 missing", "yellow"), ("4 invalid", "yellow")]


WORDS = st.lists(st.text("ab`,.株é", min_size=1, max_size=30), min_size=1, max_size=30)


@given(WORDS, st.integers(80, 160), st.integers(0, 20))
def test_no_word_is_lost_and_no_line_is_too_long(words, width, indent):
    said = " ".join(words)
    lines = broken(Text(said), width, indent).plain.split("\n")
    assert " ".join(line.strip(" ") for line in lines) == said
    assert all(line.startswith(" " * indent) for line in lines[1:])
    # Backticks may make several words one.
    assert all(cell_len(line) <= width or "`" in line for line in lines)
