"""Columns that are marked as personal data are not sent unless the mapping says so."""

from harness import PEOPLE, expect_in


def mark(project, column, **marks):
    def change(node):
        node["columns"][column] = {"name": column, **marks}

    project.change_node("model.small.people", change)


def test_a_column_marked_by_its_meta_is_refused_until_the_mapping_allows_it(people, sandbox):
    mark(people, "plan", config={"meta": {"pii": True}})
    said = people.run("check").expect(2).output
    expect_in(said, "people", "`plan` is personal data by `meta.pii`; leave it out, or write `allow_pii: true`")
    # What is only asked sends nothing.
    assert {request.method for request in sandbox.requests} == {"GET"}
    sandbox.forget_requests()
    people.run("sync").expect(2)
    assert sandbox.requests == []
    people.annotate("people", {**PEOPLE, "allow_pii": True}, {})
    mark(people, "plan", config={"meta": {"pii": True}})
    people.sync()


def test_a_column_with_a_tag_that_the_project_refuses(people):
    mark(people, "ID", tags=["gdpr", "pii"])
    people.run("check").expect(0)
    people.settings("vars: {dbt_pendo: {refuse_tags: [gdpr]}}")
    said = people.run("check", "--offline").expect(2).output
    expect_in(said, "`id` is personal data by the tag `gdpr`")
    people.run("check", "--offline", "--vars", "{dbt_pendo: {refuse_tags: [other]}}").expect(0)


def test_a_mark_that_is_false_marks_nothing(people):
    mark(people, "plan", meta={"pii": False}, tags=["fine"])
    people.run("check", "--offline").expect(0)
