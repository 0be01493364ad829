"""Generates the demonstration model's conversations: the training text and the held-out evaluation.

    python tools/demo_corpus.py --show 20                      # print some training conversations
    python tools/demo_corpus.py --eval assets/demo/eval.jsonl  # write the held-out set

A conversation is a list of OpenAI-style messages, with an optional list of tools. Every answer is a
function of what came before it, so an exact match with the expected answer is a fair score.

Held out: one value in eight (names, places, words, numbers, pairs of numbers, whole tool calls,
spellings of a question) is chosen by its hash. Training never draws one of those; the evaluation draws
nothing else for the part that it scores.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import demo_data as d
from demo_tools import DONE, TOOLS, Param, Tool, done

Message = dict[str, Any]


def held_out(value: str) -> bool:
    """Whether `value` belongs to the evaluation rather than to training."""
    return zlib.crc32(value.encode()) % 8 == 0


class NotAdmissible(Exception):
    """No value on this side of the split."""


@dataclass
class Conversation:
    """A conversation as far as it has been written."""

    lang: str
    messages: list[Message] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=list)
    category: str = ""  # of the last answer
    name: str | None = None  # the user's name, once it is known
    bot_name: str | None = None  # set by the system prompt
    memory: dict[str, str] = field(default_factory=dict)
    last_joke: bool = False
    # The tools above as (tool, name, parameter names).
    known: list[tuple[Tool, str, tuple[str, ...]]] = field(default_factory=list)

    def say(self, user: str, answer: str, category: str) -> None:
        self.messages.append({"role": "user", "content": user})
        self.answer(answer, category)

    def answer(self, answer: str, category: str) -> None:
        self.messages.append({"role": "assistant", "content": answer})
        self.category = category


class Generator:
    """Draws conversations; `evaluation` chooses which side of the split the drawn values come from."""

    def __init__(self, seed: int, evaluation: bool = False) -> None:
        self.rng = random.Random(seed)
        self.evaluation = evaluation
        # True while writing the part of an evaluation conversation that will be scored.
        self.scored = evaluation

    # ---------------------------------------------------------------- values

    def chance(self, p: float) -> bool:
        return self.rng.random() < p

    def admit(self, value: str) -> bool:
        """Training takes values that are not held out; a scored part takes held-out ones only."""
        return held_out(value) if self.scored else not held_out(value)

    def draw(self, make: Callable[[], str], tag: str) -> str:
        """A value from `make` on the right side of the split."""
        for _ in range(400):
            value = make()
            if self.admit(f"{tag}:{value.lower()}"):
                return value
        raise NotAdmissible(tag)

    def syllables(self) -> str:
        """A made-up word such as `bramito`."""
        rng = self.rng
        onsets = ["b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "y", "z", "br", "ch", "cl", "dr", "fl", "gr", "kr", "ph", "pl", "qu", "sh", "sk", "st", "th", "tr", "", "x"]
        vowels = ["a", "e", "i", "o", "u", "a", "e", "i", "o", "ai", "ee", "ia", "ou", "y", "ea"]
        codas = ["", "", "", "", "n", "r", "s", "l", "m", "x", "ck", "nd", "rt", "ng", "th", "tt"]
        count = rng.choice((1, 2, 2, 2, 3, 3))
        word = "".join(rng.choice(onsets) + rng.choice(vowels) + rng.choice(codas) for _ in range(count))
        return word if len(word) > 2 else self.syllables()

    def foreign(self, lang: str, low: int, high: int) -> str:
        """A made-up word in the script of `lang`."""
        ranges = {"zh": (0x4E00, 0x6FFF), "ja": (0x30A2, 0x30ED), "ko": (0xAC00, 0xD7A3), "ar": (0x0628, 0x063A)}
        first, last = ranges[lang]
        return "".join(chr(self.rng.randint(first, last)) for _ in range(self.rng.randint(low, high)))

    def make_name(self, lang: str) -> str:
        rng = self.rng
        if lang in d.NAME_PARTS:
            if self.chance(0.35):
                return self.foreign(lang, 2, 4)
            first, second = d.NAME_PARTS[lang]
            return rng.choice(first) + rng.choice(second)
        if lang == "ar":
            return rng.choice(d.NAMES["ar"]) if self.chance(0.6) else self.foreign("ar", 3, 5)
        if self.chance(0.35):
            return rng.choice(d.NAMES[lang] if self.chance(0.6) else d.NAMES["en"])
        name = self.syllables().capitalize()
        if self.chance(0.12):
            name += " " + self.syllables().capitalize()
        return name.lower() if self.chance(0.1) else name

    def make_city(self, lang: str) -> str:
        rng = self.rng
        if lang in d.CITIES_LOCAL:
            return rng.choice(d.CITIES_LOCAL[lang]) if self.chance(0.6) else self.foreign(lang, 2, 4)
        if self.chance(0.5):
            city = rng.choice(d.CITIES)
        else:
            city = self.syllables().capitalize() + rng.choice(("", "", "ville", "ton", "burg", "stad", " City", "o", "ford"))
        return city.lower() if self.chance(0.08) else city

    def make_text(self) -> str:
        """One to four words: known ones and made-up ones."""
        rng = self.rng
        common = "buy milk,call mum,the meeting is at noon,see you soon,happy birthday,cheap flights,red shoes,good pizza,rust tutorial,new phones,feed the cat,water the plants,dinner is ready,I am late,come home,cheese cake,train times,gpu prices,best coffee,green tea,old books".split(",")
        if self.chance(0.25):
            return rng.choice(common)
        words = [rng.choice(rng.choice(common).split()) if self.chance(0.5) else self.syllables() for _ in range(rng.randint(1, 4))]
        return " ".join(words)

    def value(self, kind: str, lang: str) -> str | int:
        """A tool argument or response value of the given kind."""
        rng = self.rng
        number_kinds = {"minutes": (1, 120), "amount": (1, 999), "id": (10, 99999), "sides": (2, 100), "percent": (0, 100), "warmth": (14, 90), "degrees": (-15, 40), "count": (2, 9999)}
        if kind in number_kinds:
            low, high = number_kinds[kind]
            if kind == "id":
                return int(self.draw(lambda: str(rng.randint(low, rng.choice((99, 999, 9999, high)))), kind))
            return rng.randint(low, high)
        makers: dict[str, Callable[[], str]] = {
            "city": lambda: self.make_city(lang),
            "name": lambda: self.make_name(lang),
            "text": self.make_text,
            "word": self.syllables,
            "file": lambda: self.syllables() + rng.choice((".txt", ".md", ".rs", ".json", ".log")),
            "symbol": lambda: "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(rng.randint(2, 4))),
        }
        if kind in makers:
            return self.draw(makers[kind], kind)
        choices: dict[str, list[str]] = {
            "component": ["cpu", "gpu", "memory", "disk", "network", "battery"],
            "room": ["kitchen", "bedroom", "bathroom", "living room", "office", "garage", "hall", "garden", "attic", "cellar", "study", "library"],
            "onoff": ["on", "off"],
            "currency": ["USD", "EUR", "GBP", "JPY", "CHF", "CNY", "KRW", "SEK", "CAD", "AUD"],
            "day": d.DAYS,
            "condition": d.CONDITIONS,
            "health": ["ok", "fine", "healthy", "idle", "busy", "hot", "offline", "slow"],
            "shipping": ["shipped", "delivered", "pending", "cancelled", "on its way", "packed", "lost", "returned"],
        }
        if kind in choices:
            return rng.choice(choices[kind])
        if kind == "clock":
            return f"{rng.randint(0, 23):02}:{rng.choice((0, 5, 10, 15, 20, 30, 40, 45, 50, rng.randint(0, 59))):02}"
        if kind == "date":
            return f"{rng.randint(2024, 2029)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
        raise KeyError(kind)

    # ---------------------------------------------------------------- spelling of questions

    def vary(self, text: str, lang: str, ending: bool = True) -> str:
        """The question as people type it: other punctuation, case, a polite frame.

        `ending` allows "please" and the like at the end, where it could be taken for a part of a value.
        """
        rng = self.rng
        if not text.strip("?.!？！"):  # nothing but punctuation
            return text
        if self.chance(0.3):
            text = text.rstrip("?.!？！。؟ ").lstrip("¿")
        if self.chance(0.08):
            text = text.rstrip("!.") + rng.choice(("!", ".", "!!")) if not text.endswith(("?", "？", "؟")) else text + text[-1]
        if lang in ("zh", "ja") and self.chance(0.35):  # typed with half-width punctuation
            text = text.replace("？", "?").replace("！", "!").replace("，", ",")
        if lang == "en":
            if self.chance(0.12):
                text = rng.choice(("Please ", "Hey, ", "So, ", "Ok, ", "Now ", "Well, ", "One question: ", "Quick question: ", "Can you tell me: ", "And now: ")) + text
            if ending and self.chance(0.07):
                frame = rng.choice((" please", ", please", " now", " for me"))
                text = text.rstrip("?.!") + frame + (text[-1] if text[-1] in "?.!" else "")
            if self.chance(0.06):
                text = text.replace("'", "")
        if self.chance(0.22):
            text = text.lower()
        elif self.chance(0.02):
            text = text.upper()
        return text

    def phrase(self, options: list[str], lang: str) -> str:
        """A spelling of one of `options`; scored parts use spellings that training never saw."""
        for _ in range(400):
            plain = self.rng.choice(options)
            text = self.vary(plain, lang)
            if lang == "en" and self.chance(0.04):
                text = self.mistype(text)
            if text == plain and not self.scored:
                return text
            if text != plain and self.admit("phrase:" + text):
                return text
        raise NotAdmissible(options[0])

    def mistype(self, text: str) -> str:
        """`text` with two neighbouring letters exchanged, or one left out, inside of a longer word."""
        places = [i for i in range(1, len(text) - 2) if text[i - 1 : i + 3].isalpha()]
        if not places:
            return text
        i = self.rng.choice(places)
        return text[:i] + (text[i + 1] + text[i] if self.chance(0.5) else text[i + 1]) + text[i + 2 :]

    def fill(self, options: list[str], lang: str, values: dict[str, object]) -> str:
        """One of `options`, its words varied but its values as they are."""
        template = self.rng.choice(options).replace("{", "\x00{").replace("}", "}\x00")
        numbers = all(isinstance(v, int) for v in values.values())
        parts = self.vary(template, lang, ending=numbers).split("\x00")
        return "".join(str(values[p[1:-1].lower()]) if p.startswith("{") else p for p in parts)

    # ---------------------------------------------------------------- segments

    def fixed(self, c: Conversation) -> None:
        """A greeting, small talk, a question about the model or the project."""
        rng, lang = self.rng, c.lang
        entries = d.FIXED[lang]
        phrasings, answer = rng.choice(entries)
        if rng.random() < 0.35:  # more often the questions everyone asks first
            phrasings, answer = entries[rng.choice((0, 0, 1, 2))] if lang != "en" else rng.choice([e for e in entries if e[0][0] in d.ASKED_FIRST])
        if "What time is it?" in phrasings and c.tools:
            return self.fixed(c)
        if "Tell me another joke" in phrasings and not c.last_joke:
            return self.fixed(c)
        if c.bot_name is not None and lang == "en" and phrasings[0] in ("Who are you?", "What is your name?"):
            answer = f"I am {c.bot_name}, a small demonstration model."
        text = self.phrase(phrasings, lang)
        if self.chance(0.15) and not answer.startswith(d.GREETING_ANSWERS[lang][1].strip()) and phrasings[0] not in ("Bye", "Thanks", "Ok", "Yes", "No", "Sorry"):
            mark = {"zh": "！", "ja": "！", "fr": " ! "}.get(lang, rng.choice(("! ", ", ", ". ")))
            text = rng.choice(d.GREETINGS[lang]) + mark + text
            answer = d.GREETING_ANSWERS[lang][1] + answer
        c.say(text, answer, f"fixed-{'en' if lang == 'en' else 'other'}")
        c.last_joke = "joke" in phrasings[0].lower()

    def greet(self, c: Conversation) -> None:
        text = self.rng.choice(d.GREETINGS[c.lang])
        if c.lang == "en" and self.chance(0.15):
            text += self.rng.choice((" friend", " you", " bot", " assistant", " my friend", " computer", " robot"))
        text = text.lower() if self.chance(0.3) else text
        text += {"zh": self.rng.choice(("", "！", "!", "。")), "ja": self.rng.choice(("", "！", "!", "。")), "fr": self.rng.choice(("", " !", "!"))}.get(c.lang, self.rng.choice(("", "!", ".", "!!")))
        c.say(text, d.GREETING_ANSWERS[c.lang][0], "greeting")

    def make_sum(self, lang: str) -> tuple[str, str, str]:
        """A question for a sum or a difference of numbers from 0 to 99, its answer, its category."""
        rng = self.rng
        while True:
            high = rng.choice((10, 20, 99, 99, 99, 99))
            a, b = rng.randint(0, high), rng.randint(0, high)
            plus = self.chance(0.5)
            if not plus and b > a and self.chance(0.6):
                a, b = b, a
            small = max(a, b) <= 12
            if (not self.scored and small) or (not small and self.admit(f"{a}{'+' if plus else '-'}{b}")):
                break
        result = a + b if plus else a - b
        category = "addition" if plus else "subtraction"
        if lang == "en" and small and self.chance(0.25):
            words = d.NUMBER_WORDS
            text = self.fill(d.WORD_ADD if plus else d.WORD_SUB, "en", {"a": words[a], "b": words[b]})
        else:
            text = self.fill((d.ADD if plus else d.SUB)[lang], lang, {"a": a, "b": b})
        return text, f"{a} {'+' if plus else '-'} {b} = {result}.", category

    def sums(self, c: Conversation) -> None:
        c.say(*self.make_sum(c.lang))

    def beyond(self, c: Conversation) -> None:
        """A sum that is too large, or a product."""
        rng = self.rng
        if self.chance(0.5):
            a, b = rng.randint(0, 99), rng.randint(0, 99)
            text = self.fill(d.BEYOND, "en", {"a": a, "b": b})
        else:
            a, b = rng.randint(100, 9999), rng.choice((rng.randint(0, 99), rng.randint(100, 9999)))
            if self.chance(0.4):
                a, b = b, a
            text = self.fill((d.ADD if self.chance(0.5) else d.SUB)["en"], "en", {"a": a, "b": b})
        c.say(text, d.BEYOND_ANSWER, "beyond")

    def name_say(self, c: Conversation) -> None:
        """The user tells their name, sometimes with a question in the same message."""
        name = self.draw(lambda: self.make_name(c.lang), "name")
        text = self.fill(d.NAME_SAY[c.lang], c.lang, {"x": name})
        answer = d.NAME_OK[c.lang].format(x=name)
        c.name = name
        if c.lang == "en" and self.chance(0.2):
            kind = self.rng.random()
            if kind < 0.5:
                question, more, _ = self.make_sum("en")
            elif kind < 0.7:
                question, more = self.phrase(d.NAME_ASK["en"], "en"), d.NAME_IS["en"].format(x=name)
            else:
                phrasings, more = self.rng.choice([e for e in d.FIXED["en"] if e[0][0] in d.ASKED_FIRST])
                question = self.phrase(phrasings, "en")
            text, answer = f"{text.rstrip('.!')}{self.rng.choice(('. ', '! ', ', ', '. '))}{question}", f"{answer} {more}"
        c.say(text, answer, "name")

    def name_ask(self, c: Conversation) -> None:
        text = self.phrase(d.NAME_ASK[c.lang], c.lang)
        if c.name is None:
            c.say(text, d.NAME_UNKNOWN[c.lang], "name-unknown")
        else:
            c.say(text, d.NAME_IS[c.lang].format(x=c.name), "name-recall")

    def memory_value(self, key: str) -> str:
        rng = self.rng
        if key == "city":
            return self.draw(lambda: self.make_city("en"), "city")
        if key in ("dog", "cat"):
            return self.draw(lambda: self.make_name("en"), "name")
        if key == "word":
            return self.draw(self.syllables, "word")
        if key == "food":
            return rng.choice(d.FOODS) if self.chance(0.5) and not self.scored else self.draw(self.syllables, "word")
        if key == "colour":
            return rng.choice(d.COLOURS)
        if key == "age":
            return str(rng.randint(3, 99))
        return self.draw(lambda: str(rng.randint(0, rng.choice((9, 99, 999, 9999)))), "number")

    def memory_say(self, c: Conversation) -> None:
        key = self.rng.choice(list(d.MEMORIES))
        says, fact, _ = d.MEMORIES[key]
        value = self.memory_value(key)
        c.memory[key] = value
        c.say(self.fill(says, "en", {"x": value}), "Got it: " + fact.format(x=value), "memory")

    def memory_ask(self, c: Conversation) -> None:
        known = list(c.memory)
        key = self.rng.choice(known) if known and self.chance(0.9) else self.rng.choice(list(d.MEMORIES))
        _, fact, asks = d.MEMORIES[key]
        text = self.phrase(asks, "en")
        if key in c.memory:
            sentence = fact.format(x=c.memory[key])
            c.say(text, sentence[0].upper() + sentence[1:], "memory-recall")
        else:
            c.say(text, d.MEMORY_UNKNOWN, "memory-unknown")

    def out_of_scope(self, c: Conversation) -> None:
        rng, lang = self.rng, c.lang
        if self.chance(0.25):
            text = self.phrase(d.OOS_SENTENCES[lang], lang)
        else:
            def make() -> str:
                topics = d.OOS_TOPICS[lang]
                topic = rng.choice(topics)
                if lang == "en":
                    if self.chance(0.15):
                        topic = self.syllables()
                    if self.chance(0.08):
                        return rng.choice(("Who is {x}?", "Who was {x}?", "Tell me about {x}", "Do you know {x}?", "When was {x} born?")).format(x=self.make_name("en"))
                    if self.chance(0.08):  # words without sense
                        return " ".join(rng.choice((rng.choice(topics), self.syllables(), rng.choice(list(d.WORDS)))) for _ in range(rng.randint(2, 6)))
                sentence = rng.choice(d.OOS_TEMPLATES[lang]).format(t=topic, u=rng.choice(topics))
                if self.chance(0.1):
                    sentence += ("" if sentence[-1] in "?.!?؟" else ".") + " " + rng.choice(d.OOS_TEMPLATES[lang]).format(t=rng.choice(topics), u=topic)
                return sentence

            text = self.vary(self.draw(make, "oos"), lang)
        c.say(text, d.OUT_OF_SCOPE[lang], "out-of-scope")

    def capital(self, c: Conversation) -> None:
        rng, lang = self.rng, c.lang
        if lang == "en":
            asks = d.CAPITAL_ASK if c.category == "capital" else d.CAPITAL_ASK[:-2]
            if self.chance(0.1):
                place = self.draw(lambda: self.syllables().capitalize() + rng.choice(("ia", "land", "stan", "a")), "country")
                c.say(self.fill(asks[:9], "en", {"x": place}), d.CAPITAL_UNKNOWN.format(x=place), "capital-unknown")
                return
            country, capital = rng.choice(list(d.CAPITALS.items()))
            text = self.phrase([ask.format(x=country) for ask in asks], "en")
            c.say(text, f"The capital of {country} is {capital}{'' if capital.endswith('.') else '.'}", "capital")
        else:
            asks, answer, table = d.CAPITALS_LOCAL[lang]
            country, capital = rng.choice(list(table.items()))
            c.say(self.phrase([ask.format(x=country) for ask in asks], lang), answer.format(x=country, y=capital), "capital")

    def table(self, c: Conversation) -> None:
        """A fact from one of the small tables, or counting; English."""
        rng = self.rng
        kind = rng.choice(("colour", "opposite", "order", "order", "sound", "translate", "translate", "translate", "count", "compare", "next"))
        if kind == "colour":
            thing, colour = rng.choice(list(d.COLOUR_OF.items()))
            text, answer = self.phrase([a.format(x=thing) for a in d.COLOUR_ASK], "en"), f"{thing[0].upper()}{thing[1:]} is {colour}."
        elif kind == "opposite":
            left, right = rng.choice(d.OPPOSITES).split("/")
            if self.chance(0.5):
                left, right = right, left
            text, answer = self.phrase([a.format(x=left) for a in d.OPPOSITE_ASK], "en"), f"The opposite of {left} is {right}."
        elif kind == "order":
            names, unit = (d.DAYS, "day") if self.chance(0.5) else (d.MONTHS, "month")
            i = rng.randrange(len(names))
            if self.chance(0.6):
                text, answer = self.phrase([a.format(x=names[i], k=unit) for a in d.AFTER_ASK], "en"), f"After {names[i]} comes {names[(i + 1) % len(names)]}."
            else:
                text, answer = self.phrase([a.format(x=names[i], k=unit) for a in d.BEFORE_ASK], "en"), f"Before {names[i]} comes {names[i - 1]}."
        elif kind == "sound":
            animal, answer = rng.choice(list(d.SOUNDS.items()))
            text = self.phrase([a.format(x=animal) for a in d.SOUND_ASK], "en")
        elif kind == "translate":
            word, translations = rng.choice(list(d.WORDS.items()))
            i = rng.randrange(7)
            language = list(d.LANGUAGE_NAMES.values())[i]
            shown = rng.choice((word, f'"{word}"'))
            text = self.phrase([a.format(w=shown, l=language) for a in d.TRANSLATE_ASK], "en")
            answer = f"In {language}, {word} is: {translations[i]}"
        elif kind == "count":
            start = 1 if self.chance(0.5) and not self.scored else int(self.draw(lambda: str(rng.randint(0, 90)), "count"))
            end = start + rng.randint(2, 11)
            asks = [f"Count from {start} to {end}", f"Can you count from {start} to {end}?"] + ([f"Count to {end}", f"Can you count to {end}?"] if start == 1 else [])
            text, answer = self.vary(rng.choice(asks), "en"), ", ".join(map(str, range(start, end + 1))) + "."
        elif kind == "compare":
            while True:
                a, b = rng.randint(0, 99), rng.randint(0, 99)
                if a != b and self.admit(f"{a}?{b}"):
                    break
            text = self.vary(rng.choice((f"Which is bigger, {a} or {b}?", f"Which number is bigger, {a} or {b}?", f"What is larger, {a} or {b}?", f"Is {a} or {b} bigger?", f"Which is greater, {a} or {b}?")), "en")
            answer = f"{max(a, b)} is bigger than {min(a, b)}."
        else:
            n = int(self.draw(lambda: str(rng.randint(0, 98)), "next"))
            text = self.vary(rng.choice((f"What comes after {n}?", f"Which number comes after {n}?", f"What number comes after {n}?", f"What is the number after {n}?")), "en")
            answer = f"After {n} comes {n + 1}."
        c.say(text, answer, f"table-{kind}")

    def repeat(self, c: Conversation) -> None:
        text = self.draw(self.make_text, "text")
        c.say(self.fill(d.REPEAT_ASK, "en", {"x": text}), text, "repeat")

    # ---------------------------------------------------------------- tools

    def schema(self, tool: Tool) -> tuple[dict[str, Any], str, tuple[str, ...]]:
        """A schema of `tool` with names drawn from its variants."""
        rng = self.rng
        name = rng.choice(tool.names) if self.chance(0.65) else tool.names[0]
        params = tuple(rng.choice(p.names) if self.chance(0.65) else p.names[0] for p in tool.params)
        with_description, with_required = self.chance(0.25), self.chance(0.8)
        properties: dict[str, Any] = {}
        for param, param_name in zip(tool.params, params):
            properties[param_name] = {"type": param.type}
            if param.kind == "component" and self.chance(0.4):
                properties[param_name]["enum"] = ["cpu", "gpu", "memory", "disk", "network", "battery"]
            elif param.description and with_description:
                properties[param_name]["description"] = param.description
        parameters: dict[str, Any] = {"type": "object", "properties": properties}
        if with_required and params:
            parameters["required"] = list(params)
        function = {"name": name, "description": rng.choice(tool.descriptions), "parameters": parameters}
        return function, name, params

    def made_up_tool(self) -> Tool:
        """A tool that exists in this conversation only, called by its name."""
        rng = self.rng
        name = rng.choice(("", "get_", "set_", "run_", "do_")) + self.syllables() + rng.choice(("", "_" + self.syllables()))
        kinds = rng.sample(("word", "count", "name"), rng.randint(1, 2))
        params = tuple(Param((self.syllables(),), kind, "integer" if kind == "count" else "string") for kind in kinds)
        values = " and ".join(f"{{{i}}}" for i in range(len(params)))
        asks = [f"{verb} {name} {link} {values}" for verb in ("Call", "Use", "Run", "Please call") for link in ("with", "for", "on")]
        described = rng.choice((f"Does the {self.syllables()}", "A tool", f"Handle {self.syllables()}", f"Tool for {self.syllables()}"))
        return Tool("made-up", (name,), (described,), params, {"en": asks}, done(f"{name} is done."))

    def add_tools(self, c: Conversation, wanted: Tool | None) -> None:
        rng = self.rng
        count = rng.choices((1, 2, 3, 4), (0.3, 0.35, 0.25, 0.1))[0]
        chosen = rng.sample(TOOLS, count)
        if wanted is not None and wanted not in chosen:
            chosen[rng.randrange(count)] = wanted
        if c.lang == "en" and self.chance(0.15):
            chosen[rng.randrange(count)] = self.made_up_tool()
        wrapped = self.chance(0.6)
        used: set[str] = set()
        for tool in chosen:
            function, name, params = self.schema(tool)
            if name in used:
                continue
            used.add(name)
            c.tools.append({"type": "function", "function": function} if wrapped else function)
            c.known.append((tool, name, params))

    @staticmethod
    def call_text(name: str, params: tuple[str, ...], values: list[str | int]) -> str:
        arguments = ", ".join(f"{p}={v}" if isinstance(v, int) else f'{p}="{v}"' for p, v in zip(params, values))
        return f"{name}({arguments})"

    def response(self, tool: Tool, values: list[str | int], lang: str) -> tuple[str, str]:
        """A tool's response and the sentence that phrases it."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.1:
            error = rng.choice(d.ERRORS)
            return json.dumps({"error": error}), d.TOOL_ERROR[lang].format(x=error)
        if kind < 0.15 and lang == "en":
            text = self.draw(self.make_text, "text")
            return text, f"The tool says: {text}"
        if kind < 0.22 and lang == "en":
            pairs = {self.syllables(): rng.choice((rng.randint(0, 999), self.syllables())) for _ in range(rng.randint(1, 3))}
            return json.dumps(pairs), "The tool returned " + ", ".join(f"{k}: {v}" for k, v in pairs.items()) + "."
        fields, replies = rng.choice(tool.forms)
        content: dict[str, Any] = {}
        # Often the response repeats an argument.
        if values and self.chance(0.3):
            content[rng.choice(tool.params[0].names)] = values[0]
        shown: list[str] = []
        for kinds in fields:
            field_name = rng.choice(kinds[1:])
            if kinds is DONE:
                value: object = rng.choice(("ok", "done", "success", True))
            elif kinds[0] in ("text", "name"):
                value = self.draw(self.make_text if kinds[0] == "text" else self.syllables, "text")
            else:
                value = self.value(kinds[0], lang)
            content[field_name] = value
            shown.append(str(value))
        names = dict(zip("fg", shown))
        return json.dumps(content, ensure_ascii=False), replies[lang].format(*values, **names)

    def ask_tool(self, tool: Tool, values: list[str | int], lang: str) -> str:
        shown: dict[str, object] = {str(i): v for i, v in enumerate(values)}
        if values and values[0] in ("cpu", "gpu") and self.chance(0.4):
            shown["0"] = str(values[0]).upper()
        return self.fill(tool.asks[lang], lang, shown)

    def use_tool(self, c: Conversation, stop_at_call: bool = False) -> None:
        """A request, the call, the tool's response and the answer that phrases it."""
        rng = self.rng
        tool, name, params = rng.choice(c.known)
        lang = c.lang if c.lang in tool.asks else "en"
        if tool.pairs and lang == "en" and self.chance(0.12):
            return self.use_tool_twice(c, tool, name, params, stop_at_call)
        for _ in range(2000):
            values = [self.value(p.kind, lang) for p in tool.params]
            call = self.call_text(name, params, values)
            # Tools without arguments are held out by the spelling of the request alone.
            if (self.admit(call) or not params) and len(set(values)) == len(values):
                break
        else:
            raise NotAdmissible(name)
        text = self.ask_tool(tool, values, lang)
        c.say(text, f"<|tool_call_start|>[{call}]<|tool_call_end|>", "tool-call")
        if stop_at_call:
            return
        content, reply = self.response(tool, values, lang)
        c.messages.append({"role": "tool", "content": content})
        c.answer(reply, "tool-reply")

    def use_tool_twice(self, c: Conversation, tool: Tool, name: str, params: tuple[str, ...], stop_at_call: bool) -> None:
        """Two calls in one turn, then two responses."""
        for _ in range(2000):
            first, second = ([self.value(tool.params[0].kind, "en")] for _ in range(2))
            calls = f"{self.call_text(name, params, first)}, {self.call_text(name, params, second)}"
            if first != second and self.admit(calls):
                break
        else:
            raise NotAdmissible(name)
        text = self.fill(list(tool.pairs), "en", {"0": first[0], "1": second[0]})
        c.say(text, f"<|tool_call_start|>[{calls}]<|tool_call_end|>", "tool-call")
        if stop_at_call:
            return
        replies = []
        for values in (first, second):
            content, reply = self.response(tool, values, "en")
            c.messages.append({"role": "tool", "content": content})
            replies.append(reply)
        c.answer(" ".join(replies), "tool-reply")

    def no_tool(self, c: Conversation) -> None:
        """A request whose tool is not in the list."""
        here = {tool.key for tool, _, _ in c.known}
        options = [t for t in TOOLS if t.key not in here and c.lang in t.asks and t.params and t.key not in ("stock", "app", "user", "file")]
        tool = self.rng.choice(options)
        values = [self.value(p.kind, c.lang) for p in tool.params]
        c.say(self.ask_tool(tool, values, c.lang), d.NO_TOOL[c.lang], "no-tool")

    # ---------------------------------------------------------------- whole conversations

    def start(self, with_tools: bool, lang: str | None = None) -> Conversation:
        rng = self.rng
        if lang is None:
            lang = "en" if self.chance(0.5) else rng.choice(d.LANGUAGES[1:])
        c = Conversation(lang)
        if self.chance(0.2):
            if self.chance(0.3) and not with_tools:
                c.bot_name = self.draw(lambda: self.make_name("en"), "name")
                prompt = rng.choice(d.SYSTEM_NAME).format(x=c.bot_name)
            else:
                prompt = rng.choice(d.SYSTEM_PROMPTS)
            c.messages.append({"role": "system", "content": prompt})
        if with_tools:
            wanted = rng.choice(TOOLS) if lang == "en" else rng.choice([t for t in TOOLS if lang in t.asks])
            self.add_tools(c, wanted)
        return c

    def segment(self, c: Conversation, kind: str | None = None) -> None:
        """Adds one exchange of the given kind, or of one that fits."""
        rng = self.rng
        if kind is None:
            if c.known and self.chance(0.7):
                kind = "use_tool"
            elif c.lang == "en":
                kinds = {"fixed": 24, "greet": 3, "sums": 22, "beyond": 3, "name_say": 6, "name_ask": 3 + 9 * (c.name is not None), "memory_say": 6, "memory_ask": 1 + 9 * bool(c.memory), "out_of_scope": 12, "capital": 8, "table": 14, "repeat": 3, "no_tool": 4}
                kind = rng.choices(list(kinds), list(kinds.values()))[0]
            else:
                kinds = {"fixed": 26, "greet": 4, "sums": 22, "name_say": 10, "name_ask": 3 + 12 * (c.name is not None), "out_of_scope": 10, "capital": 10, "no_tool": 4}
                kind = rng.choices(list(kinds), list(kinds.values()))[0]
        getattr(self, kind)(c)
        if kind != "fixed":
            c.last_joke = False

    def conversation(self) -> Conversation:
        """A training conversation."""
        rng = self.rng
        with_tools = self.chance(0.33)
        c = self.start(with_tools)
        count = rng.choice((1, 2, 3, 4)) if with_tools else rng.choice((1, 1, 2, 3, 4, 5, 6))
        if self.chance(0.08) and not with_tools:
            self.segment(c, "greet")
        for _ in range(count):
            if not with_tools and self.chance(0.06):
                c.lang = rng.choice(d.LANGUAGES)  # a user may change the language
            self.segment(c)
        return c

    def evaluation_conversation(self, kind: str) -> Conversation:
        """A conversation of up to three turns whose last answer, of the given kind, is scored."""
        rng = self.rng
        lang = "en" if kind in ("memory_ask", "table", "repeat", "beyond") else None
        tools = kind.startswith("tool")
        c = self.start(tools or self.chance(0.08), lang)
        before = rng.choice((0, 0, 0, 1, 1, 2))
        self.scored = False
        for _ in range(before):
            self.segment(c)
        self.scored = True
        if kind == "tool_call":
            self.use_tool(c, stop_at_call=True)
        elif kind == "tool_reply":
            self.use_tool(c)
        else:
            if kind == "name_ask" and self.chance(0.85):
                self.name_say(c)
                self.scored = False
                for _ in range(rng.choice((0, 1, 1, 2))):
                    self.segment(c, rng.choice(("fixed", "sums", "out_of_scope")))
                self.scored = True
            if kind == "memory_ask" and self.chance(0.9):
                self.memory_say(c)
                self.scored = False
                for _ in range(rng.choice((0, 1, 1, 2))):
                    self.segment(c, rng.choice(("fixed", "sums", "name_say", "table")))
                self.scored = True
            self.segment(c, kind)
        return c


# Kind of the scored answer -> how many in the evaluation.
EVALUATION = {"tool_call": 260, "tool_reply": 160, "sums": 200, "fixed": 160, "name_say": 60, "name_ask": 90, "memory_ask": 60, "out_of_scope": 70, "capital": 50, "table": 80, "repeat": 30, "no_tool": 30, "beyond": 20, "greet": 10}


def evaluation_set(seed: int) -> list[dict[str, Any]]:
    """The held-out conversations as lines of eval.jsonl, without duplicates."""
    generator = Generator(seed, evaluation=True)
    lines: list[dict[str, Any]] = []
    seen: set[str] = set()
    for kind, count in EVALUATION.items():
        taken = 0
        while taken < count:
            try:
                c = generator.evaluation_conversation(kind)
            except NotAdmissible:  # for instance none of a tool's six components
                continue
            line: dict[str, Any] = {"category": c.category, "messages": c.messages[:-1]}
            if c.tools:
                line["tools"] = c.tools
            line["expected"] = c.messages[-1]["content"]
            key = json.dumps(line, ensure_ascii=False)
            if key not in seen:
                seen.add(key)
                lines.append(line)
                taken += 1
    random.Random(seed).shuffle(lines)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", type=int, default=0, help="print this many training conversations")
    parser.add_argument("--eval", type=Path, help="write the held-out conversations to this file")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    generator = Generator(args.seed)
    for _ in range(args.show):
        c = generator.conversation()
        print(f"--- {c.lang} {c.category}")
        if c.tools:
            print("tools:", json.dumps(c.tools, ensure_ascii=False))
        for message in c.messages:
            print(f"{message['role']}: {message['content']}")
    if args.eval:
        lines = evaluation_set(args.seed + 1_000_000)
        args.eval.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
        print(f"{len(lines)} conversations:", dict(Counter(line["category"] for line in lines)), file=sys.stderr)


if __name__ == "__main__":
    main()
