"""What the recogniser listens for: a JSGF grammar, checked and sampled without the recogniser."""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Iterator
from pathlib import Path

QUESTIONS = Path(__file__).with_name("questions.jsgf")

_RULE = re.compile(r"(?:public\s+)?<(\w+)>\s*=\s*([^;]*);")
_TOKEN = re.compile(r"<\w+>|[()\[\]|]|[\w']+")
_PATTERN = {"(": "(?:", ")": ")", "[": "(?:", "]": ")?", "|": "|"}


class Grammar:
    """The sentences of a JSGF file without recursion, weights, tags or repetition."""

    def __init__(self, path: Path = QUESTIONS, start: str = "question") -> None:
        text = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
        self._rules = {name: _TOKEN.findall(body) for name, body in _RULE.findall(text)}
        self._start = self._rules[start]
        self._pattern = re.compile(self._regex(self._start))
        self.words = {
            token for rule in self._rules.values() for token in rule if token[0].isalpha()
        }

    def accepts(self, sentence: str) -> bool:
        """Whether `sentence`, in lower case and without punctuation, is one of this grammar."""
        return self._pattern.fullmatch(f"{sentence} ") is not None

    def check(self, sentence: str) -> None:
        """Raise `ValueError` unless `sentence` is accepted; it says what to change."""
        for word in sentence.split():
            if word not in self.words:
                near = difflib.get_close_matches(word, sorted(self.words), 1)
                hint = f'; did you mean "{near[0]}"?' if near else ""
                raise ValueError(f'the word "{word}" is not in the vocabulary{hint}')
        if not self.accepts(sentence):
            raise ValueError(
                f'"{sentence}" is not one of the questions; the closest is "{self.closest(sentence)}"'
            )

    def closest(self, sentence: str) -> str:
        """The sentence most like `sentence`, word for word, among some thousands of this grammar."""
        rng = random.Random(0)
        words = sentence.split()
        return max(
            (self.sample(rng) for _ in range(4_000)),
            key=lambda known: difflib.SequenceMatcher(None, words, known.split()).ratio(),
        )

    def sample(self, rng: random.Random) -> str:
        """A random sentence."""
        return " ".join(_Sampler(self._rules, rng).sentence(self._start))

    def _regex(self, tokens: list[str]) -> str:
        parts = []
        for token in tokens:
            if token[0] == "<":
                parts.append(f"(?:{self._regex(self._rules[token[1:-1]])})")
            else:
                parts.append(_PATTERN.get(token) or re.escape(token) + " ")
        return "".join(parts)


class _Sampler:
    """Reads a rule from left to right, and takes one alternative of each choice."""

    def __init__(self, rules: dict[str, list[str]], rng: random.Random) -> None:
        self._rules = rules
        self._rng = rng

    def sentence(self, rule: list[str]) -> list[str]:
        return self._choice(iter(rule))[0]

    def _choice(self, tokens: Iterator[str]) -> tuple[list[str], str]:
        """The words of one of the alternatives up to the closing bracket, and that bracket."""
        alternatives: list[list[str]] = [[]]
        for token in tokens:
            if token in (")", "]"):
                return self._rng.choice(alternatives), token
            if token == "|":
                alternatives.append([])
            elif token in ("(", "["):
                words, bracket = self._choice(tokens)
                if bracket == ")" or self._rng.random() < 0.5:
                    alternatives[-1] += words
            elif token[0] == "<":
                alternatives[-1] += self.sentence(self._rules[token[1:-1]])
            else:
                alternatives[-1].append(token)
        return self._rng.choice(alternatives), ""
