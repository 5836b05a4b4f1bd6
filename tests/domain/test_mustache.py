r"""Mustache as its specification has it (https://github.com/mustache/spec, version 1.4).

Interpolation, sections, inverted sections, comments, delimiters and partials. Left out, because a
prompt is no web page and nothing may be missing unnoticed: the three cases that escape HTML, the five
in which a missing name shows as nothing, the partial that is not found, and the recursive one.
"""

import json

import pytest

from domain.errors import InvalidVariablesError
from domain.partials import inline
from domain.template import TemplateError, check_template, render

JOE = {"person": {"name": "Joe"}}
PHIL = {"a": {"b": {"c": {"d": {"e": {"name": "Phil"}}}}}}
DEEP = {"a": {"one": 1}, "b": {"two": 2}, "c": {"three": 3, "d": {"four": 4, "five": 5}}}
TOPS = {"tops": [{"tname": {"upper": "A", "lower": "a"},
                  "middles": [{"mname": "1", "bottoms": [{"bname": "x"}, {"bname": "y"}]}]}]}  # fmt: skip
FORBIDDEN = {"forbidden": '& " < >'}
LIST = {"list": ["&", '"', "<", ">"]}

# fmt: off
CASES = [
    # Interpolation
    ("Hello from {Mustache}!\n", {}, "Hello from {Mustache}!\n"),
    ("Hello, {{subject}}!\n", {"subject": "world"}, "Hello, world!\n"),
    ("plain: {{{forbidden}}}\n", FORBIDDEN, 'plain: & " < >\n'),
    ("plain: {{&forbidden}}\n", FORBIDDEN, 'plain: & " < >\n'),
    ('"{{mph}} miles"', {"mph": 85}, '"85 miles"'),
    ('"{{{mph}}} miles"', {"mph": 85}, '"85 miles"'),
    ('"{{&mph}} miles"', {"mph": 85}, '"85 miles"'),
    ('"{{power}} jiggawatts"', {"power": 1.21}, '"1.21 jiggawatts"'),
    ('"{{{power}}} jiggawatts"', {"power": 1.21}, '"1.21 jiggawatts"'),
    ('"{{&power}} jiggawatts"', {"power": 1.21}, '"1.21 jiggawatts"'),
    ('"{{person.name}}" == "{{#person}}{{name}}{{/person}}"', JOE, '"Joe" == "Joe"'),
    ('"{{{person.name}}}" == "{{#person}}{{{name}}}{{/person}}"', JOE, '"Joe" == "Joe"'),
    ('"{{&person.name}}" == "{{#person}}{{&name}}{{/person}}"', JOE, '"Joe" == "Joe"'),
    ('"{{a.b.c.d.e.name}}"', PHIL, '"Phil"'),
    ('"{{#a}}{{b.c.d.e.name}}{{/a}}"', PHIL | {"b": {"c": {"d": {"e": {"name": "Wrong"}}}}}, '"Phil"'),
    ("| {{string}} |", {"string": "---"}, "| --- |"),
    ("| {{{string}}} |", {"string": "---"}, "| --- |"),
    ("| {{&string}} |", {"string": "---"}, "| --- |"),
    ("  {{string}}\n", {"string": "---"}, "  ---\n"),
    ("  {{{string}}}\n", {"string": "---"}, "  ---\n"),
    ("  {{&string}}\n", {"string": "---"}, "  ---\n"),
    ("|{{ string }}|", {"string": "---"}, "|---|"),
    ("|{{{ string }}}|", {"string": "---"}, "|---|"),
    ("|{{& string }}|", {"string": "---"}, "|---|"),
    # Sections
    ('"{{#boolean}}shown{{/boolean}}"', {"boolean": True}, '"shown"'),
    ('"{{#boolean}}hidden{{/boolean}}"', {"boolean": False}, '""'),
    ('"{{#null}}hidden{{/null}}"', {"null": None}, '""'),
    ('"{{#context}}Hi {{name}}.{{/context}}"', {"context": {"name": "Joe"}}, '"Hi Joe."'),
    ('"{{#sec}}{{a}}, {{b}}, {{c.d}}{{/sec}}"',
     {"a": "foo", "b": "wrong", "sec": {"b": "bar"}, "c": {"d": "baz"}}, '"foo, bar, baz"'),
    ('"{{#foo}}{{.}} is {{foo}}{{/foo}}"', {"foo": "bar"}, '"bar is bar"'),
    ("{{#tops}}{{#middles}}{{tname.lower}}{{mname}}.{{#bottoms}}{{tname.upper}}{{mname}}{{bname}}."
     "{{/bottoms}}{{/middles}}{{/tops}}", TOPS, "a1.A1x.A1y."),
    ("{{#a}}\n{{one}}\n{{#b}}\n{{one}}{{two}}{{one}}\n{{#c}}\n{{three}}\n{{#d}}\n{{four}}\n"
     "{{#five}}\n{{one}}{{five}}\n{{.}}6{{.}}\n{{/five}}\n{{/d}}\n{{/c}}\n{{/b}}\n{{/a}}\n", DEEP,
     "1\n121\n3\n4\n15\n565\n"),
    ('"{{#list}}{{item}}{{/list}}"', {"list": [{"item": 1}, {"item": 2}, {"item": 3}]}, '"123"'),
    ('"{{#list}}Yay lists!{{/list}}"', {"list": []}, '""'),
    ("{{#bool}}\n* first\n{{/bool}}\n* {{two}}\n{{#bool}}\n* third\n{{/bool}}\n",
     {"bool": True, "two": "second"}, "* first\n* second\n* third\n"),
    ("| A {{#bool}}B {{#bool}}C{{/bool}} D{{/bool}} E |", {"bool": True}, "| A B C D E |"),
    ("| A {{#bool}}B {{#bool}}C{{/bool}} D{{/bool}} E |", {"bool": False}, "| A  E |"),
    ("[{{#missing}}Found!{{/missing}}]", {}, "[]"),
    ('"{{#list}}({{.}}){{/list}}"', {"list": ["a", "b"]}, '"(a)(b)"'),
    ('"{{#list}}({{.}}){{/list}}"', {"list": [1, 2, 3]}, '"(1)(2)(3)"'),
    ('"{{#list}}({{.}}){{/list}}"', {"list": [1.1, 2.2]}, '"(1.1)(2.2)"'),
    ('"{{#list}}({{#.}}{{.}}{{/.}}){{/list}}"', {"list": [[1, 2], ["a", "b"]]}, '"(12)(ab)"'),
    ('"{{#list}}({{{.}}}){{/list}}"', LIST, '"(&)(")(<)(>)"'),
    ('"{{#list}}({{&.}}){{/list}}"', LIST, '"(&)(")(<)(>)"'),
    ('"{{#a.b.c}}Here{{/a.b.c}}"', {"a": {"b": {"c": True}}}, '"Here"'),
    ('"{{#a.b.c}}Here{{/a.b.c}}"', {"a": {"b": {"c": False}}}, '""'),
    ('"{{#a.b.c}}Here{{/a.b.c}}"', {"a": {}}, '""'),
    (" | {{#boolean}}\t|\t{{/boolean}} | \n", {"boolean": True}, " | \t|\t | \n"),
    (" | {{#boolean}} {{! Important Whitespace }}\n {{/boolean}} | \n", {"boolean": True},
     " |  \n  | \n"),
    (" {{#boolean}}YES{{/boolean}}\n {{#boolean}}GOOD{{/boolean}}\n", {"boolean": True},
     " YES\n GOOD\n"),
    ("| This Is\n{{#boolean}}\n|\n{{/boolean}}\n| A Line\n", {"boolean": True},
     "| This Is\n|\n| A Line\n"),
    ("| This Is\n  {{#boolean}}\n|\n  {{/boolean}}\n| A Line\n", {"boolean": True},
     "| This Is\n|\n| A Line\n"),
    ("|\r\n{{#boolean}}\r\n{{/boolean}}\r\n|", {"boolean": True}, "|\r\n|"),
    ("  {{#boolean}}\n#{{/boolean}}\n/", {"boolean": True}, "#\n/"),
    ("#{{#boolean}}\n/\n  {{/boolean}}", {"boolean": True}, "#\n/\n"),
    ("|{{# boolean }}={{/ boolean }}|", {"boolean": True}, "|=|"),
    # Inverted sections
    ('"{{^boolean}}shown{{/boolean}}"', {"boolean": False}, '"shown"'),
    ('"{{^boolean}}hidden{{/boolean}}"', {"boolean": True}, '""'),
    ('"{{^context}}Hi {{name}}.{{/context}}"', {"context": {"name": "Joe"}}, '""'),
    ('"{{^list}}{{n}}{{/list}}"', {"list": [{"n": 1}, {"n": 2}]}, '""'),
    ('"{{^list}}Yay lists!{{/list}}"', {"list": []}, '"Yay lists!"'),
    ("{{^bool}}\n* first\n{{/bool}}\n* {{two}}\n{{^bool}}\n* third\n{{/bool}}\n",
     {"bool": False, "two": "second"}, "* first\n* second\n* third\n"),
    ("| A {{^bool}}B {{^bool}}C{{/bool}} D{{/bool}} E |", {"bool": False}, "| A B C D E |"),
    ("| A {{^bool}}B {{^bool}}C{{/bool}} D{{/bool}} E |", {"bool": True}, "| A  E |"),
    ("[{{^missing}}Cannot find key!{{/missing}}]", {}, "[Cannot find key!]"),
    ('"{{^a.b.c}}Not Here{{/a.b.c}}"', {"a": {"b": {"c": True}}}, '""'),
    ('"{{^a.b.c}}Not Here{{/a.b.c}}"', {"a": {"b": {"c": False}}}, '"Not Here"'),
    ('"{{^a.b.c}}Not Here{{/a.b.c}}"', {"a": {}}, '"Not Here"'),
    (" | {{^boolean}}\t|\t{{/boolean}} | \n", {"boolean": False}, " | \t|\t | \n"),
    (" | {{^boolean}} {{! Important Whitespace }}\n {{/boolean}} | \n", {"boolean": False},
     " |  \n  | \n"),
    (" {{^boolean}}NO{{/boolean}}\n {{^boolean}}WAY{{/boolean}}\n", {"boolean": False},
     " NO\n WAY\n"),
    ("| This Is\n{{^boolean}}\n|\n{{/boolean}}\n| A Line\n", {"boolean": False},
     "| This Is\n|\n| A Line\n"),
    ("| This Is\n  {{^boolean}}\n|\n  {{/boolean}}\n| A Line\n", {"boolean": False},
     "| This Is\n|\n| A Line\n"),
    ("|\r\n{{^boolean}}\r\n{{/boolean}}\r\n|", {"boolean": False}, "|\r\n|"),
    ("  {{^boolean}}\n^{{/boolean}}\n/", {"boolean": False}, "^\n/"),
    ("^{{^boolean}}\n/\n  {{/boolean}}", {"boolean": False}, "^\n/\n"),
    ("|{{^ boolean }}={{/ boolean }}|", {"boolean": False}, "|=|"),
    # Comments
    ("12345{{! Comment Block! }}67890", {}, "1234567890"),
    ("12345{{!\n  This is a\n  multi-line comment...\n}}67890\n", {}, "1234567890\n"),
    ("Begin.\n{{! Comment Block! }}\nEnd.\n", {}, "Begin.\nEnd.\n"),
    ("Begin.\n  {{! Indented Comment Block! }}\nEnd.\n", {}, "Begin.\nEnd.\n"),
    ("|\r\n{{! Standalone Comment }}\r\n|", {}, "|\r\n|"),
    ("  {{! Still }}\n!", {}, "!"),
    ("!\n  {{! Still }}", {}, "!\n"),
    ("Begin.\n{{!\nSomething's going on here...\n}}\nEnd.\n", {}, "Begin.\nEnd.\n"),
    ("Begin.\n  {{!\n    Something's going on here...\n  }}\nEnd.\n", {}, "Begin.\nEnd.\n"),
    ("  12 {{! 34 }}\n", {}, "  12 \n"),
    ("12345 {{! Comment Block! }} 67890", {}, "12345  67890"),
    # Delimiters
    ("{{=<% %>=}}(<%text%>)", {"text": "Hey!"}, "(Hey!)"),
    ("({{=[ ]=}}[text])", {"text": "It worked!"}, "(It worked!)"),
    ("[\n{{#section}}\n  {{data}}\n  |data|\n{{/section}}\n\n{{= | | =}}\n|#section|\n  {{data}}\n"
     "  |data|\n|/section|\n]\n", {"section": True, "data": "D"},
     "[\n  D\n  |data|\n\n  {{data}}\n  D\n]\n"),
    ("[\n{{^section}}\n  {{data}}\n  |data|\n{{/section}}\n\n{{= | | =}}\n|^section|\n  {{data}}\n"
     "  |data|\n|/section|\n]\n", {"section": False, "data": "D"},
     "[\n  D\n  |data|\n\n  {{data}}\n  D\n]\n"),
    ("| {{=@ @=}} |", {}, "|  |"),
    (" | {{=@ @=}}\n", {}, " | \n"),
    ("Begin.\n{{=@ @=}}\nEnd.\n", {}, "Begin.\nEnd.\n"),
    ("Begin.\n  {{=@ @=}}\nEnd.\n", {}, "Begin.\nEnd.\n"),
    ("|\r\n{{= @ @ =}}\r\n|", {}, "|\r\n|"),
    ("  {{=@ @=}}\n=", {}, "="),
    ("=\n  {{=@ @=}}", {}, "=\n"),
    ("|{{= @   @ =}}|", {}, "||"),
]
PARTIALS = [
    ('"{{>text}}"', {"text": "from partial"}, {}, '"from partial"'),
    ('"{{>partial}}"', {"partial": "*{{text}}*"}, {"text": "content"}, '"*content*"'),
    ("| {{>partial}} |", {"partial": "\t|\t"}, {}, "| \t|\t |"),
    ("  {{data}}  {{> partial}}\n", {"partial": ">\n>"}, {"data": "|"}, "  |  >\n>\n"),
    ("|\r\n{{>partial}}\r\n|", {"partial": ">"}, {}, "|\r\n>|"),
    ("  {{>partial}}\n>", {"partial": ">\n>"}, {}, "  >\n  >>"),
    (">\n  {{>partial}}", {"partial": ">\n>"}, {}, ">\n  >\n  >"),
    ("\\\n {{>partial}}\n/\n", {"partial": "|\n{{{content}}}\n|\n"}, {"content": "<\n->"},
     "\\\n |\n <\n->\n |\n/\n"),
    ("|{{> partial }}|", {"partial": "[]"}, {}, "|[]|"),
    ("[ {{>include}} ]\n{{= | | =}}\n[ |>include| ]\n", {"include": ".{{value}}."},
     {"value": "yes"}, "[ .yes. ]\n[ .yes. ]\n"),
    ("[ {{>include}} ]\n[ .{{value}}.  .|value|. ]\n",
     {"include": ".{{value}}. {{= | | =}} .|value|."}, {"value": "yes"},
     "[ .yes.  .yes. ]\n[ .yes.  .|value|. ]\n"),
    # What the specification leaves open, said here.
    ("{{= | | =}}\n|>a|\n|>a|", {"a": "{{#x}}\n{{.}}\n{{/x}}\n"}, {"x": ["1"]}, "1\n1\n"),
]
# fmt: on


@pytest.mark.parametrize(("template", "data", "expected"), CASES, ids=lambda v: json.dumps(v)[:40])
def test_a_case_of_the_specification(template: str, data: dict, expected: str) -> None:
    assert render(template, data) == expected
    try:
        assert render(inline(template, str), data) == expected  # composing alone changes nothing
    except TemplateError as refusal:
        assert "outside of tags" in str(refusal) and "{{data}}\n  |data|" in template


@pytest.mark.parametrize(("template", "partials", "data", "expected"), PARTIALS)
def test_a_case_of_partials(template: str, partials: dict, data: dict, expected: str) -> None:
    def text_of(reference: object) -> str:
        return inline(partials[reference.name], text_of)

    assert render(inline(template, text_of), data) == expected


def test_what_cannot_be_told_from_a_tag_is_not_composed() -> None:
    template = "{{= <% %> =}}<%#x%>(<%.%>)<%/x%><%! }} %><%{y}%><%&y%>{{>a}}"
    with pytest.raises(TemplateError, match="outside of tags"):
        inline(template, str)
    assert render(inline(template.replace("{{>a}}", ""), str), {"x": [1], "y": "<"}) == "(1)<<"


@pytest.mark.parametrize(
    "template", ["{{cannot}}", "{{{cannot}}}", "{{&cannot}}", "{{a.b.c}}", "{{#a}}{{b.c}}{{/a}}"]
)
def test_a_missing_name_is_never_nothing(template: str) -> None:
    with pytest.raises(InvalidVariablesError):
        render(template, {"a": {"b": {}}})


@pytest.mark.parametrize("text", ["Hi {{name", "{{{name}}", "a {{ b", "{{=<% %>=}}<%a"])
def test_a_tag_that_is_never_closed_is_refused(text: str) -> None:
    with pytest.raises(TemplateError, match="never closed"):
        check_template(text)
    with pytest.raises(TemplateError, match="never closed"):
        inline(text, lambda _: "")
    assert render("{{x}} {{y", {"x": 1}) == "1 {{y"  # as an older version may hold it
