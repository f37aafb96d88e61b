"""What is wrong with a value of another kind than its key takes, in plain words."""

from __future__ import annotations

import re

from omegaconf.errors import OmegaConfBaseException

from runner.core.errors import suggest


def explain_form(error: OmegaConfBaseException, key: str) -> str:
    """What to do about a list for a mapping, or the reverse; empty if it is something else.

    ``key`` is empty where nothing on the command line can remove it.
    """
    found = re.match(r"Cannot merge (Dict|List)Config with (Dict|List)Config", str(error))
    if not found:
        return ""
    if str(error.ref_type_str).startswith(("List[", "Dict[")):  # no other form is possible there
        now, given = ("mapping", "list") if str(error.ref_type_str)[0] == "D" else ("list", "mapping")
        return f"must be a {now}, not a {given}"
    change = f"; remove it first: ~{key} +{key}=…" if error.full_key and key else ""
    return f"a list cannot replace a mapping, nor a mapping a list{change}"


def explain_kind(said: str) -> str:
    """What is wrong with the kind of a value; empty if it is something else."""
    if found := re.match(r"Merge error: (\w+) is not a subclass of (\w+)Config\. value: (.*)", said):
        return f"must be a mapping of keys, not {found[3]}"
    if re.match(r"Invalid type assigned: dict is not a subclass of MemberConfig", said):
        return "a mapping cannot be put in here; write it one level higher, such as +judge.members={a: {}}"
    if re.search(r"is not Optional$|^Incompatible value 'None'|: NoneType is not a subclass of", said):
        return "is empty; give it a value, or leave the key out"
    if found := re.match(r"Cannot convert '(\w+)Config' to string", said):
        return f"must be text, not a {'list' if found[1] == 'List' else 'mapping'}"
    if found := re.match(r"Cannot assign (\w+) to (Dict|List)", said):
        return f"must be a {'mapping of keys' if found[2] == 'Dict' else 'list'}, not a {found[1]}"
    if found := re.match(r"Invalid value assigned: (\w+) is not a ListConfig", said):
        return f"must be a list, such as [a, b], not {'text' if found[1] == 'str' else found[1]}"
    if found := re.match(
        f"(?:{_BY_REFERENCE})?Value '(.*)' of type '.*' could not be converted to (\\w+)$", said
    ):
        reference = f"{found[1]} gives " if found[1] else ""
        which = ", which" if found[1] else ""
        return f"{reference}{found[2]!r}{which} must be {_KINDS.get(found[3], found[3])}"
    if found := re.match(r"Invalid value '(.*)', expected one of \[(.*)\]", said):
        return f"{found[1]!r} is not possible{suggest(found[1], found[2].split(', '))}"
    return ""


_BY_REFERENCE = r"While dereferencing interpolation '(\$\{.*\})': "
_KINDS = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
"""OmegaConf's names of types in plain words."""
