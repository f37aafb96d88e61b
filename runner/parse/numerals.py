"""What stands around a number: a name, a remark, a formula, the items of a list."""

from __future__ import annotations

import re

from runner.parse.doubt import is_doubtful
from runner.parse.statement import words_of
from runner.parse.words import NOUNS, list_words

_RATINGS = list_words("rating score grade evaluation assessment result")
_OPEN = list_words("in on a of from scale")
_ASPECT = re.compile(
    r"[\s*_#-]*(?:the\s+)?(?:overall\s+)?(?:accuracy|clarity|coherence|completeness|conciseness|confidence|consistency|"
    r"correctness|engagingness|faithfulness|factuality|fluency|groundedness|helpfulness|informativeness|naturalness|"
    r"probability|quality|relevance|similarity|understandability)(?:\s+(?:score|rating))?[\s*_(\[)\]–-]*(?:[:：=]|\bis\b)"
    r"[\s*_]*",
    re.IGNORECASE,
)
_REMARK = re.compile(
    r"[*_`\"')\]}]*(?:,|\s*[-–—]|\s*\()\s*[*_]*(?!(?:of|out|or|to|and|than|in|on)\b)[^\W\d_]{2}[^\d?]*$",
    re.IGNORECASE,
)
_OPERAND = re.compile(
    r"\b(?:minus|plus|less|more|half|times|divided|quarter|third|deduct\w*|bis|oder|ou|à|or|and|to|no|least|most|too)\b",
    re.IGNORECASE,
)
# LaTeX that only shows a number ("\\boxed{5}", "5\\text{ km}"); any other command computes something
_SHOWS = r"(?:boxed|fbox|text\w*|math\w*|displaystyle|left|right|quad|qquad|begin|end|[;,!:\s\\()\[\]$%{}])"
_COMMAND_BEFORE = re.compile(rf"[^\W_]_\{{?$|\\(?!{_SHOWS})[A-Za-z]+\s*(?:\[\w*\])?\s*\{{?\s*$")
_COMMAND_AFTER = re.compile(rf"\s*[}}\]]?\s*\\(?!{_SHOWS})[A-Za-z]+|\s*\}}\s*\{{")
_FUNCTION = re.compile(
    r"(?:\b(?:[A-Za-z]|sin|cos|tan|ln|log|exp|mod|max|min|sqrt|f|abs)(?:\(|\s)|[A-Za-z]_\{?|[A-Za-z]\s*[-+*/×·]\s*)\s*$"
)
_VARIABLE = re.compile(
    r"\s*[-+*/×·]?\s*\b[xyznk]\b|\s*[*/]\s*[A-Za-z]\b|\s+(?:to|more|less)\s+(?:the|than)\b", re.IGNORECASE
)
_PARTS = re.compile(
    r"\\(?:log|ln|lim|sum)|\b(?:half|quarters?|thirds?|plus|minus|times|divided|mod|let['’]?s|let\s+(?:me|us)|(?:i|we)\s+need|unfortunately|sorry|"
    r"two|three|four|five|six|seven|eight|nine|ten)\b",
    re.IGNORECASE,
)
LEADING = re.compile(r"(?:答案是|答案为|答え[は：]|正解は|评分是|评分为|分数是|分数为|得分是|我给|我给它)$")
"""Words of scripts without spaces that lead to an answer."""
_UNSURE = re.compile(r"\b(?:maybe|perhaps|possibly|probably|likely|unlikely|wrong|guess)\b", re.IGNORECASE)
_LIMIT_BEFORE = re.compile(
    r"\b(?:at\s+(?:least|most)|(?:more|less|fewer|greater|other)\s+than|up\s+to|over|under|above|below|within)\s*$",
    re.IGNORECASE,
)
_LIMIT = re.compile(r"(?:\s|\\text\{)+(?:or\s+(?:more|less|fewer|so)|at\s+(?:least|most))\b", re.IGNORECASE)
_LIST = re.compile(r"(?m)(?:^|(?<=[.!?]\s))[\s*_]*(\d{1,2})[.)]\s")


def names_thing(before: str) -> bool:
    """Whether a number is part of a name ("Response 2", "Rating scale: 5") and no rating."""
    words = words_of(before[-60:])
    if not words or set(words) & {"rate", "rated"}:
        return False
    return words[-1] == "scale" or (
        words[-1] in NOUNS - _RATINGS and before.rstrip("*_`\"'([{$ #\n")[-1:].isalnum()
    )


def ends_open(after: str) -> bool:
    """Whether the words after a number stop in the middle ("4 of", "3 on a scale")."""
    words = words_of(after[:60])
    return len(words) <= 3 and words[-1:] != [] and words[-1] in _OPEN and "__" not in after


def starts_text(after: str) -> bool:
    """Whether a number at the start of a reply is followed by a colon and words without a doubt."""
    colon = re.match(r"[*_`\"'\])}]*:[*_]*\s+(?!(?:not?|too|of|out|or|to|and)\b)[^\W\d]", after)
    return colon is not None and not is_doubtful(after)


def is_bare(before: str) -> bool:
    """Whether nothing but marks stands before a number in its sentence."""
    return re.fullmatch(r"[\s*_`\"'(\[{]*", before) is not None


def names_aspect(before: str) -> bool:
    """Whether a number is led by what is usually rated, and nothing else ("Coherence: ")."""
    return _ASPECT.fullmatch(before) is not None


def ends(after: str) -> bool:
    """Whether nothing but marks follows in the sentence."""
    return re.fullmatch(r"[\s*_`\"')\]}.!]*", after) is not None


def is_remarked(after: str) -> bool:
    """Whether words without a doubt follow a number after a comma, a dash or a bracket ("4 - good")."""
    remarked = _REMARK.match(after) is not None and re.search(r"\)\W*\s\w", after) is None
    return remarked and not _OPERAND.search(after) and not is_doubtful(after)


def operates(text: str, start: int, end: int) -> bool:
    """Whether LaTeX around a number computes something with it ("5\\\\pi")."""
    before, after = text[max(0, start - 24) : start], text[end : end + 24]
    return _COMMAND_BEFORE.search(before) is not None or _COMMAND_AFTER.match(after) is not None


def is_limited(text: str, start: int, end: int, sentence: str) -> bool:
    """Whether a number is only a limit ("at least 4"), or its sentence is in doubt."""
    before = text[max(0, start - 20) : start]
    return bool(_UNSURE.search(sentence) or _LIMIT_BEFORE.search(before) or _LIMIT.match(text, end))


def is_calculation(text: str, start: int, end: int) -> bool:
    """Whether the only number of a reply is part of a formula, of a heading or of a number in words."""
    line = text[text.rfind("\n", 0, start) + 1 : start]
    heading = re.match(r"[*_]*:", text[end:]) and words_of(line) != []
    around = line + text[end:].partition("\n")[0]
    return bool(heading or _FUNCTION.search(line) or _VARIABLE.match(text, end) or _PARTS.search(around))


def find_list_items(text: str) -> set[int]:
    """The places of the numbers of a list: 1., 2., … in this order."""
    marks = list(_LIST.finditer(text))
    numbers = [int(mark[1]) for mark in marks]
    if len(marks) < 2 or numbers != list(range(1, len(marks) + 1)):
        return set()
    return {mark.start(1) for mark in marks}
