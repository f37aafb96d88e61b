"""The words of which answer statements consist."""

from __future__ import annotations

import re

NO_SPACES = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""A letter of a script without spaces between words: Thai to Myanmar, Khmer, Chinese, Japanese."""


def list_words(words: str) -> frozenset[str]:
    """The words of a text as a set."""
    return frozenset(words.split())


NOUNS = list_words(
    """ans answer article assessment assistant candidate category choice claim class classification
    comment completion conclusion decision email emotion essay evaluation grade intent judgement
    judgment label language letter message model option output polarity post prediction preference rating
    relation relationship
    reply response result review score selection sentence sentiment solution stance statement
    summary system text tone topic translation tweet type verdict winner antwort ergebnis
    lösung respuesta réponse risposta resposta antwoord odpowiedź svar cevap
    jawaban ответ उत्तर الجواب
    คำตอบ 정답
    答案 回答 答案是 答案为 正确答案 正确答案是 答案选 判断 结论 正解 正解は 答え 答えは"""
)
VERBS = list_words("is are was ist lautet es est è é")
CHOOSING = list_words(
    "say choose pick select prefer vote go answer rate judge conclude label give assign award"
)
WORDS = (
    NOUNS
    | VERBS
    | CHOOSING
    | list_words(
        """a an the this that it it's that's my our your i we i'd i'll think believe with for as in
        short so therefore thus hence overall finally indeed clearly definitely certainly
        obviously fully completely entirely perfectly absolutely ok okay sure consider find final
        best better correct right preferred chosen selected superior stronger die der das la le el
        il meine ma mi это
        richtige korrekte bonne correcte correcta correcto correta corretta правильный 选 选择 我选 我选择"""
    )
)
SUBJECTS = NOUNS | list_words("it this that best better correct right preferred one")
PREPOSITIONS = list_words("for with as on at to from of")
INPUTS = list_words("article claim comment email essay message post review sentence statement text tweet")
SOURCES = list_words(
    "with the its this given provided source document context original reference passage premise hypothesis"
)
BOOSTERS = list_words("is was the a my our clearly definitely indeed final")
HEADS = NOUNS | list_words("wins better best correct right preferred superior stronger one overall")
PREDICATE = HEADS | BOOSTERS
RATING_WORDS = list_words(
    """rating ratings score scores scored grade grades mark marks points stars give gives gave
    given out earn earns earned deserve deserves gets receive receives received assign assigns
    award awards rate rates rated it them of on scale from here are value total note wertung
    bewertung punkte nota puntuación оценка 评分 分数 得分 点数 評価 スコア 점수
    我给 我给它 punktzahl one ich gebe"""
)
NO_RATING_WORDS = list_words("best better superior stronger preferred selected chosen winning")
RATING_UNITS = list_words(
    "point points star stars marks overall total in on a scale of from sur von "
    "punkte punkten puntos punti балла баллов 分 点 점"
)
