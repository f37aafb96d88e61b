"""Known words of doubt: hedges, negations, and what takes an answer back."""

from __future__ import annotations

import re

CONDITION = re.compile(
    r"\b(?:if|unless|whether|suppos\w+|assum\w+|would|could|might|may|claims?|thinks?|believes?)\b",
    re.IGNORECASE,
)
# headings and questions that ask for something else than the answer
OPPOSITE = re.compile(
    r"\b(?:not|no|never|without|except|least|worst|worse|wrong|weaker|weakest|false|incorrect|rule[sd]?\s+out|"
    r"eliminate\w*|reject\w*|exclude\w*|discard\w*|avoid|loser?|bad|unlikely)\b|n['’]t\b",
    re.IGNORECASE,
)
HEDGE = re.compile(
    r"\b(?:maybe|perhaps|possibly|probably|presumably|(?:un)?likely|almost|nearly|partial(?:ly)?|partly|mostly|"
    r"largely|somewhat|barely|hardly|scarcely|sort\s+of|kind\s+of|more\s+or\s+less|in\s+part|aside|apart|except|"
    r"excluding|unless|only|but|however|although|though|yet|otherwise|if|when|provided|assuming|seems?|appears?|"
    r"guess|unsure|not\s+sure|possible|chance|difficult|hard|unclear|debatable|ambiguous|uncertain|insufficient|"
    r"enough|depends?|doubt\w*|would|could|should|might|may|must|wrong|"
    r"false|worse|weaker|reject\w*|avoid|joke|vielleicht|fast|nur|aber|peut-être|presque|mais|"
    r"pero|casi)\b",
    re.IGNORECASE,
)
NOT = re.compile(r"\b(?:not|never|nicht)\b|\b\w+n['’]t\b", re.IGNORECASE)
NEGATIVE = re.compile(r"(?:no|nope|false|nein|non|não|нет|in\w+|un\w+|not\b.*)$", re.IGNORECASE)
DETERMINER = re.compile(r"(?:no|kein)$", re.IGNORECASE)
NEGATION = re.compile(
    r"(?:\b(?:not|no|never|neither|nor|none|without|cannot|nicht|kein\w*|pas|jamais|nunca|non|não|не|hardly|"
    r"barely|almost|nearly|partially|partly|far\s+from)|n['’]t|不|没)\b[^,;:]{0,40}$",
    re.IGNORECASE,
)
RETRACTION = re.compile(
    r"\W*(?:(?:no|nope|nah|nay|not|never|nein|non|nicht|não|нет|не|nej|nie)(?=\W*$|\s*[,.!…—–-]|(?:\s+\S+){1,2}\s*$)|不|"
    r"wait|actually|correction|scratch|sorry|oops|hmm+|on\s+second\s+thought|i\s+me(?:an|ant)|(?:just\s+)?kidding|"
    r"update|edit|revised|disregard|ignore|i\s+lied|i(?:\s+a|['’])m\s+(?:not\s+sure|unsure)|strike\s+that|let\s+me\s+(?:correct|reconsider|re-?check|think|re-?evaluate)|"
    r"i\s+(?:take|was\s+wrong|changed?)|my\s+mistake|upon\s+(?:reflection|reconsideration|further)|"
    r"or|(?:that|this)(?:\s+(?:is|was)|['’]s)\s+(?:not|wrong|false|untrue|incorrect|a\s+(?:lie|joke)))\b",
    re.IGNORECASE,
)
# another answer statement, after which no label was read
RESTATED = re.compile(
    r"\W*(?:(?:my|the|new|final|revised|corrected)\s+)*(?:answer|verdict|choice|decision|rating|score)(?:\s+is\b|\W*:)",
    re.IGNORECASE,
)
CONTRAST = re.compile(
    r"\W*(?:no|not|rather|instead|but|however|although|though|except|yet|still|well|almost|nearly|partial(?:ly)?|partly|mostly|"
    r"maybe|perhaps|probably|possibly|unless|if|only|sort|kind|hardly|barely|wrong|false|incorrect|really|is\s+it|aber|mais|"
    r"pero|fast|presque|casi)\b",
    re.IGNORECASE,
)


def is_doubtful(text: str) -> bool:
    """Whether a text has a word that is known as a hedge or a negation."""
    return HEDGE.search(text) is not None or NOT.search(text) is not None
