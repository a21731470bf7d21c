"""What a new field may be called."""

from hypothesis import given
from hypothesis import strategies as st

from dbt_pendo.mapping.objects import field_name_spelling, is_field_name


def test_names_get_a_spelling_pendo_takes() -> None:
    spellings = {
        **{"plan (new)": "plan_new", "2fa": "_2fa", "Größe": "Gro_e", "Prénom": "Prenom"},
        **{"": "field", "名前": "field", "plan\n": "plan"},
    }
    assert {name: field_name_spelling(name) for name in spellings} == spellings
    assert not any(map(is_field_name, spellings))


@given(st.text())
def test_every_spelling_is_a_name(name: str) -> None:
    assert is_field_name(field_name_spelling(name))
    assert all(is_field_name(known) for known in ("plan", "_plan", "SFDC_Profile", "a1"))
